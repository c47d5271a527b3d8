package kernelstest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"cellblock.io/cellblock/kernels/wire"
)

// HostileKernel is a kernel whose every byte a test can choose: it speaks ZMTP by hand on Unix sockets. Where no hook
// takes over it behaves: it greets, answers kernel_info_request and echoes the code it is to execute.
type HostileKernel struct {
	t       testing.TB
	dir     string
	session string
	signer  *wire.Signer

	// Meet is called with each connection before a byte was exchanged, and takes it over when it returns true.
	Meet func(p *Peer) bool
	// OnRequest is called with each request, from one goroutine per connection; it reports whether it has dealt with it.
	OnRequest func(p *Peer, m wire.Message, h wire.Header) bool

	met      atomic.Int64
	asked    atomic.Int64
	beats    atomic.Int64                              // of the heartbeat
	echo     atomic.Pointer[func(p *Peer, b [][]byte)] // what is done at each instead of an echo
	relented atomic.Bool
	done     chan struct{} // closed when an armed attack's Act has returned
	wg       sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	peers     map[wire.Channel]*Peer // that have greeted, the last of each channel
	conns     map[net.Conn]struct{}
	listeners []net.Listener
}

// NewHostileKernel makes a kernel with its connection file in a directory of its own; Start starts it.
func NewHostileKernel(t testing.TB) *HostileKernel {
	t.Helper()
	dir, err := os.MkdirTemp("", "hk") // t.TempDir is too long for a Unix socket's path
	if err != nil {
		t.Fatal(err)
	}
	key := uuid.NewString()
	k := &HostileKernel{t: t, dir: dir, session: uuid.NewString(), signer: wire.NewSigner(key),
		peers: make(map[wire.Channel]*Peer), conns: make(map[net.Conn]struct{}), done: make(chan struct{})}
	file, err := json.Marshal(map[string]any{
		"transport": "ipc", "ip": filepath.Join(dir, "k"), "key": key, "signature_scheme": "hmac-sha256",
		"kernel_name": "hostile", "shell_port": 1, "iopub_port": 2, "stdin_port": 3, "hb_port": 4, "control_port": 5,
	})
	if err == nil {
		err = os.WriteFile(k.ConnectionFile(), file, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Stop(); os.RemoveAll(dir) })
	return k
}

// ConnectionFile is the path of the kernel's connection file.
func (k *HostileKernel) ConnectionFile() string { return filepath.Join(k.dir, "connection.json") }

// Dir is a directory for the test's own sockets, with a short path.
func (k *HostileKernel) Dir() string { return k.dir }

// Met is how many connections have come so far.
func (k *HostileKernel) Met() int { return int(k.met.Load()) }

// Arm makes the kernel attack, beginning with Start and until Relent. Act follows when a client asks it to execute
// "attack", once.
func (k *HostileKernel) Arm(a Attack) {
	var acted atomic.Bool
	k.Meet = func(p *Peer) bool { return a.Meet != nil && !k.relented.Load() && a.Meet(p) }
	k.OnRequest = func(p *Peer, m wire.Message, h wire.Header) bool {
		k.asked.Add(1)
		if a.Start != nil && !k.relented.Load() && h.MsgType == "kernel_info_request" {
			return a.Start(p, m, h)
		}
		if a.Act == nil || !strings.Contains(string(m.Content), `"attack"`) || acted.Swap(true) {
			return false
		}
		defer close(k.done)
		a.Act(p, m)
		return true
	}
}

// awaitBeats waits until n more beats have come, or the kernel ends.
func (k *HostileKernel) awaitBeats(n int64) {
	for until := k.beats.Load() + n; k.beats.Load() < until; time.Sleep(time.Millisecond) {
		k.mu.Lock()
		closed := k.closed
		k.mu.Unlock()
		if closed {
			return
		}
	}
}

// Relent makes an armed kernel behave from its next connection and request on.
func (k *HostileKernel) Relent() { k.relented.Store(true) }

// Done is closed when an armed attack has been carried out.
func (k *HostileKernel) Done() <-chan struct{} { return k.done }

// Asked is how many requests have come so far to an armed kernel.
func (k *HostileKernel) Asked() int { return int(k.asked.Load()) }

// Start listens on all channels and returns. The hooks must be set before.
func (k *HostileKernel) Start() {
	k.t.Helper()
	for ch, port := range ports {
		l, err := net.Listen("unix", fmt.Sprintf("%s-%d", filepath.Join(k.dir, "k"), port))
		if err != nil {
			k.t.Fatal(err)
		}
		k.listeners = append(k.listeners, l)
		k.wg.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				k.wg.Go(func() { k.serve(ch, c) })
			}
		})
	}
}

// Stop closes everything and waits until it has ended.
func (k *HostileKernel) Stop() {
	k.mu.Lock()
	k.closed = true
	for _, l := range k.listeners {
		l.Close()
	}
	for c := range k.conns {
		c.Close()
	}
	k.mu.Unlock()
	k.wg.Wait()
}

// On returns the connection of a channel that greeted last, or nil.
func (k *HostileKernel) On(ch wire.Channel) *Peer {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.peers[ch]
}

func (k *HostileKernel) serve(ch wire.Channel, c net.Conn) {
	defer c.Close()
	k.mu.Lock()
	closed := k.closed
	k.conns[c] = struct{}{}
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.conns, c)
	}()
	if closed {
		return
	}
	k.met.Add(1)
	p := &Peer{Conn: c, Kernel: k, Channel: ch, in: bufio.NewReader(c)}
	if k.Meet != nil && k.Meet(p) || p.Greet() != nil {
		return
	}
	p.Serve()
}

// Serve answers requests until the connection ends. The handshake must be over.
func (p *Peer) Serve() {
	k := p.Kernel
	k.mu.Lock()
	k.peers[p.Channel] = p
	k.mu.Unlock()
	for {
		frames, err := p.Receive()
		if err != nil {
			return
		}
		if p.Channel == heartbeat {
			k.beats.Add(1)
			if echo := k.echo.Load(); echo == nil {
				_ = p.Send(frames) // the bridge may have gone
			} else {
				(*echo)(p, frames)
			}
			continue
		}
		m, err := k.signer.DecodeFrames(p.Channel, frames)
		if err != nil {
			k.t.Errorf("kernel got a bad message on %s: %v", p.Channel, err)
			continue
		}
		h, err := wire.ParseHeader(m.Header)
		if err != nil {
			k.t.Errorf("kernel got a bad header on %s: %v", p.Channel, err)
			continue
		}
		if k.OnRequest == nil || !k.OnRequest(p, m, h) {
			p.Answer(m, h)
		}
	}
}

// Answer does what every kernel does.
func (p *Peer) Answer(m wire.Message, h wire.Header) {
	k := p.Kernel
	ok := map[string]string{"status": "ok"}
	switch h.MsgType {
	case "kernel_info_request", "execute_request":
		k.Publish("status", m.Header, map[string]string{"execution_state": "busy"})
		var content struct {
			Code string `json:"code"`
		}
		if err := json.Unmarshal(m.Content, &content); err != nil {
			k.t.Error(err)
		}
		reply := "kernel_info_reply"
		if h.MsgType == "execute_request" {
			k.Publish("stream", m.Header, map[string]string{"name": "stdout", "text": content.Code})
			reply = "execute_reply"
		}
		_ = p.Send(k.Sign(k.Message(reply, m.Header, ok))) // the bridge may have gone
		k.Publish("status", m.Header, map[string]string{"execution_state": "idle"})
	case "interrupt_request":
		_ = p.Send(k.Sign(k.Message("interrupt_reply", m.Header, ok)))
	}
}

// Message makes one of this kernel's messages; parent is the header of the request it belongs to, or nil.
func (k *HostileKernel) Message(msgType string, parent []byte, content any) wire.Message {
	header, err := json.Marshal(map[string]string{"msg_id": uuid.NewString(), "msg_type": msgType, "session": k.session, "version": "5.3"})
	body, err2 := json.Marshal(content)
	if err := errors.Join(err, err2); err != nil {
		k.t.Error(err)
	}
	if parent == nil {
		parent = []byte("{}")
	}
	return wire.Message{Header: header, Parent: parent, Metadata: []byte("{}"), Content: body}
}

// Sign returns m's frames, from the delimiter on, with the right signature.
func (k *HostileKernel) Sign(m wire.Message) [][]byte { return k.signer.Frames(&m) }

// Publish sends a message on iopub, to nobody when nobody is there.
func (k *HostileKernel) Publish(msgType string, parent []byte, content any) {
	if p := k.On(wire.IOPub); p != nil {
		_ = p.Send(k.Sign(k.Message(msgType, parent, content))) // the bridge may have gone
	}
}
