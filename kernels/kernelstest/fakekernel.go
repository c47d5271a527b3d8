package kernelstest

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-zeromq/zmq4"
	"github.com/go-zeromq/zmq4/security/null"
	"github.com/google/uuid"

	"cellblock.io/cellblock/kernels/wire"
)

// FakeKernel is a kernel in this process for what a real one cannot do on demand: exact timing, hostile bytes, a
// sudden end. It serves one client, over ipc, and answers kernel_info_request and execute_request by itself; OnRequest
// takes over everything else or all of it.
type FakeKernel struct {
	t       testing.TB
	dir     string
	key     string
	session string
	signer  *wire.Signer

	// OnRequest is called for each request, from one goroutine per channel; it reports whether it has dealt with it.
	OnRequest func(k *FakeKernel, m wire.Message, h wire.Header) bool
	// Delay is called before a socket is bound, to keep clients waiting.
	Delay func(ch wire.Channel)

	life      sync.Mutex // held while a process begins or ends
	mu        sync.Mutex
	conns     map[wire.Channel]*zmq4.Conn
	rawOf     map[wire.Channel]net.Conn
	accepted  map[wire.Channel]chan struct{} // closed when the client of a channel is there
	raw       []net.Conn
	listeners []net.Listener
	closed    bool
	wg        sync.WaitGroup
}

var ports = map[wire.Channel]int{wire.Shell: 1, wire.IOPub: 2, wire.Stdin: 3, heartbeat: 4, wire.Control: 5}

// heartbeat is the socket on which a kernel echoes what comes.
const heartbeat wire.Channel = "hb"

// NewFakeKernel makes a kernel with its connection file in a directory of its own; Start starts it.
func NewFakeKernel(t testing.TB) *FakeKernel {
	t.Helper()
	dir, err := os.MkdirTemp("", "fk") // t.TempDir is too long for a Unix socket's path
	if err != nil {
		t.Fatal(err)
	}
	k := &FakeKernel{t: t, dir: dir, key: uuid.NewString()}
	k.signer = wire.NewSigner(k.key)
	file, err := json.Marshal(map[string]any{
		"transport": "ipc", "ip": filepath.Join(dir, "k"), "key": k.key, "signature_scheme": "hmac-sha256",
		"kernel_name": "fake", "shell_port": 1, "iopub_port": 2, "stdin_port": 3, "hb_port": 4, "control_port": 5,
	})
	if err == nil {
		err = os.WriteFile(k.ConnectionFile(), file, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Kill(); os.RemoveAll(dir) })
	return k
}

// ConnectionFile is the path of the kernel's connection file.
func (k *FakeKernel) ConnectionFile() string { return filepath.Join(k.dir, "connection.json") }

// Dir is a directory for the test's own sockets, with a short path.
func (k *FakeKernel) Dir() string { return k.dir }

// Start begins a new process: new session, same addresses.
func (k *FakeKernel) Start() {
	k.life.Lock()
	defer k.life.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = false
	k.session = uuid.NewString()
	k.conns = make(map[wire.Channel]*zmq4.Conn)
	k.rawOf = make(map[wire.Channel]net.Conn)
	k.accepted = make(map[wire.Channel]chan struct{})
	for ch := range ports {
		k.accepted[ch] = make(chan struct{})
		k.wg.Add(1)
		go k.serve(ch, k.accepted[ch])
	}
}

// Kill ends the process at once: every connection and listener is closed, the socket files stay.
func (k *FakeKernel) Kill() {
	k.life.Lock()
	defer k.life.Unlock()
	k.mu.Lock()
	k.closed = true
	for _, l := range k.listeners {
		l.Close()
	}
	for _, c := range k.raw {
		c.Close()
	}
	k.listeners, k.raw = nil, nil
	k.mu.Unlock()
	k.wg.Wait()
}

// Session is the present process's session id.
func (k *FakeKernel) Session() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.session
}

func (k *FakeKernel) serve(ch wire.Channel, accepted chan struct{}) {
	defer k.wg.Done()
	if k.Delay != nil {
		k.Delay(ch)
	}
	path := fmt.Sprintf("%s-%d", filepath.Join(k.dir, "k"), ports[ch])
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		k.t.Error(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		k.t.Error(err)
		return
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if !k.keep(l, nil) {
		return
	}
	for {
		c, err := l.Accept()
		if err != nil || !k.keep(nil, c) {
			return
		}
		kind := zmq4.Router
		if ch == wire.IOPub {
			kind = zmq4.Pub
		}
		conn, err := zmq4.Open(c, null.Security(), kind, nil, true, nil)
		if err != nil {
			continue // the client went away in the handshake
		}
		if ch == wire.IOPub { // wait for the subscription
			if _, err := conn.RecvMsg(); err != nil {
				continue
			}
		}
		k.mu.Lock()
		k.conns[ch], k.rawOf[ch] = conn, c
		k.mu.Unlock()
		offerClose(accepted)
		k.read(ch, conn)
	}
}

func offerClose(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

// keep remembers what Kill must close, and closes it at once when Kill was first.
func (k *FakeKernel) keep(l net.Listener, c net.Conn) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l != nil {
		k.listeners = append(k.listeners, l)
	}
	if c != nil {
		k.raw = append(k.raw, c)
	}
	if !k.closed {
		return true
	}
	if l != nil {
		l.Close()
	}
	if c != nil {
		c.Close()
	}
	return false
}

func (k *FakeKernel) read(ch wire.Channel, conn *zmq4.Conn) {
	for {
		raw, err := conn.RecvMsg()
		if err != nil {
			return
		}
		if ch == heartbeat {
			if conn.SendMsg(zmq4.NewMsgFrom(raw.Frames...)) != nil {
				return
			}
			continue
		}
		m, err := k.signer.DecodeFrames(ch, raw.Frames)
		if err != nil {
			k.t.Errorf("fake kernel got a bad message on %s: %v", ch, err)
			continue
		}
		h, err := wire.ParseHeader(m.Header)
		if err != nil {
			k.t.Errorf("fake kernel got a bad header on %s: %v", ch, err)
			continue
		}
		if k.OnRequest == nil || !k.OnRequest(k, m, h) {
			k.answer(m, h)
		}
	}
}

// answer does what every kernel does.
func (k *FakeKernel) answer(m wire.Message, h wire.Header) {
	switch h.MsgType {
	case "kernel_info_request":
		k.Publish("status", m.Header, map[string]any{"execution_state": "busy"})
		k.Reply(m.Channel, "kernel_info_reply", m.Header, map[string]any{"status": "ok", "implementation": "fake"})
		k.Publish("status", m.Header, map[string]any{"execution_state": "idle"})
	case "execute_request":
		var content struct {
			Code string `json:"code"`
		}
		if err := json.Unmarshal(m.Content, &content); err != nil {
			k.t.Error(err)
		}
		k.Publish("status", m.Header, map[string]any{"execution_state": "busy"})
		k.Publish("stream", m.Header, map[string]any{"name": "stdout", "text": content.Code})
		k.Reply(m.Channel, "execute_reply", m.Header, map[string]any{"status": "ok"})
		k.Publish("status", m.Header, map[string]any{"execution_state": "idle"})
	case "interrupt_request":
		k.Reply(m.Channel, "interrupt_reply", m.Header, map[string]any{"status": "ok"})
	case "shutdown_request":
		k.Reply(m.Channel, "shutdown_reply", m.Header, map[string]any{"status": "ok"})
		go k.Kill()
	}
}

// Message makes one of this kernel's messages; parent is the header of the request it belongs to, or nil.
func (k *FakeKernel) Message(ch wire.Channel, msgType string, parent []byte, content any) wire.Message {
	header, err := json.Marshal(map[string]string{
		"msg_id": uuid.NewString(), "msg_type": msgType, "session": k.Session(), "username": "kernel",
		"date": time.Now().UTC().Format(time.RFC3339Nano), "version": "5.3",
	})
	body, err2 := json.Marshal(content)
	if err := errors.Join(err, err2); err != nil {
		k.t.Error(err)
	}
	return wire.Message{Channel: ch, Header: header, Parent: parent, Metadata: []byte("{}"), Content: body}
}

// Publish sends a message on iopub.
func (k *FakeKernel) Publish(msgType string, parent []byte, content any) {
	if parent == nil {
		parent = []byte("{}")
	}
	m := k.Message(wire.IOPub, msgType, parent, content)
	k.Send(wire.IOPub, k.signer.Frames(&m))
}

// Reply sends a message on a request's channel, or on stdin.
func (k *FakeKernel) Reply(ch wire.Channel, msgType string, parent []byte, content any) {
	m := k.Message(ch, msgType, parent, content)
	k.Send(ch, k.signer.Frames(&m))
}

// Frames signs m.
func (k *FakeKernel) Frames(m wire.Message) [][]byte { return k.signer.Frames(&m) }

// Encode returns frames as one ZeroMQ message in the bytes of ZMTP 3.0 (RFC 23).
func Encode(frames [][]byte) []byte {
	var b []byte
	for i, f := range frames {
		var flags byte
		if i < len(frames)-1 {
			flags = 1
		}
		if len(f) < 256 {
			b = append(b, flags, byte(len(f)))
		} else {
			b = binary.BigEndian.AppendUint64(append(b, flags|2), uint64(len(f)))
		}
		b = append(b, f...)
	}
	return b
}

// met waits for the channel's client. It reports false, and fails the test, when none comes.
func (k *FakeKernel) met(ch wire.Channel) bool {
	k.mu.Lock()
	accepted := k.accepted[ch]
	k.mu.Unlock()
	select {
	case <-accepted:
		return true
	case <-time.After(10 * time.Second):
		k.t.Errorf("fake kernel: nobody came on %s", ch)
		return false
	}
}

// Raw returns the connection of a channel's client, once that client is there: what is written to it comes between
// two messages, and may be anything.
func (k *FakeKernel) Raw(ch wire.Channel) net.Conn {
	if !k.met(ch) {
		k.t.FailNow()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.rawOf[ch]
}

// Send sends frames as they are, waiting until the channel's client is there.
func (k *FakeKernel) Send(ch wire.Channel, frames [][]byte) {
	if !k.met(ch) {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return
	}
	err := k.conns[ch].SendMsg(zmq4.NewMsgFrom(frames...))
	if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.EOF) && !errors.Is(err, zmq4.ErrClosedConn) {
		k.t.Logf("fake kernel: send on %s: %v", ch, err)
	}
}
