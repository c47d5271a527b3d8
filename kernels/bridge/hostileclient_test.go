package bridge_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"

	"cellblock.io/cellblock/kernels/kernelstest"
	"cellblock.io/cellblock/kernels/wire"
)

// rawConn is a WebSocket connection whose bytes the test writes.
type rawConn struct {
	net.Conn
	in   *bufio.Reader
	head *http.Response
}

// rawConnect upgrades by hand, with more header lines if wanted.
func (r *rig) rawConnect(session string, lines ...string) *rawConn {
	r.Helper()
	c, err := net.Dial("unix", r.socket)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		r.Fatal(err)
	}
	head := "GET /api/kernels/a-b-c-d-e/channels?session_id=" + session + " HTTP/1.1\r\nHost: bridge\r\nUpgrade: websocket\r\n" +
		"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
	for _, l := range lines {
		head += l + "\r\n"
	}
	if _, err := io.WriteString(c, head+"\r\n"); err != nil {
		r.Fatal(err)
	}
	raw := &rawConn{Conn: c, in: bufio.NewReader(c)}
	if raw.head, err = http.ReadResponse(raw.in, nil); err != nil || raw.head.StatusCode != http.StatusSwitchingProtocols {
		r.Fatalf("upgrade: %v %v", raw.head, err)
	}
	return raw
}

// code reads frames until a close frame, and returns its code; 0 when the connection ends without one.
func (c *rawConn) code() int {
	for {
		first, body, err := c.frame()
		if err != nil {
			return 0
		}
		if first == 0x88 && len(body) >= 2 {
			return int(binary.BigEndian.Uint16(body))
		}
	}
}

// frame reads one: its first byte and its payload.
func (c *rawConn) frame() (first byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return 0, nil, err
	}
	size := uint64(head[1])
	if extra := map[uint64]int{126: 2, 127: 8}[size]; extra > 0 {
		var long [8]byte
		if _, err := io.ReadFull(c.in, long[8-extra:]); err != nil {
			return 0, nil, err
		}
		size = binary.BigEndian.Uint64(long[:])
	}
	payload = make([]byte, size)
	_, err = io.ReadFull(c.in, payload)
	return head[0], payload, err
}

// Whatever a client's frames are, its connection ends with a code that says why, and nobody else notices.
func TestHostileFrames(t *testing.T) {
	r := startedRig(t)
	good := r.connect("good")
	for name, row := range map[string]struct {
		bytes []byte
		codes []int
	}{
		"unmasked":                       {[]byte("\x81\x02{}"), []int{1002}},
		"reserved bit 1":                 {kernelstest.Masked(0xc1, "{}"), []int{1002}},
		"reserved bit 2":                 {kernelstest.Masked(0xa1, "{}"), []int{1002}},
		"reserved bit 3":                 {kernelstest.Masked(0x91, "{}"), []int{1002}},
		"opcode 3":                       {kernelstest.Masked(0x83, "{}"), []int{1002}},
		"opcode 11":                      {kernelstest.Masked(0x8b, "{}"), []int{1002}},
		"ping in fragments":              {kernelstest.Masked(0x09, "x"), []int{1002}},
		"close in fragments":             {kernelstest.Masked(0x08, ""), []int{1002}},
		"ping of 126 bytes":              {kernelstest.Masked(0x89, strings.Repeat("x", 126)), []int{1002}},
		"continuation of nothing":        {kernelstest.Masked(0x80, "x"), []int{1002}},
		"message in a message":           {append(kernelstest.Masked(0x01, "{"), kernelstest.Masked(0x81, "{}")...), []int{1002}},
		"close with half a code":         {kernelstest.Masked(0x88, "x"), []int{0}},
		"close with a code nobody sends": {kernelstest.Masked(0x88, "\x03\xed"), []int{1002}},
		"close with broken UTF-8":        {kernelstest.Masked(0x88, "\x03\xe8\xff"), []int{1002}},
		"length 64 MiB and one":          {kernelstest.Declaring(64<<20 + 1), []int{1009}},
		"length 2^63-1":                  {kernelstest.Declaring(1<<63 - 1), []int{1009}},
		"length 2^63":                    {kernelstest.Declaring(1 << 63), []int{1009, 1002, 1012}},
		"length -1":                      {kernelstest.Declaring(1<<64 - 1), []int{1009, 1002, 1012}},
		"fragments of more than 64 MiB": {append(append(kernelstest.Masked(0x01, "x"), 0x00, 0x80|127),
			append(binary.BigEndian.AppendUint64(nil, 64<<20), 0, 0, 0, 0)...), []int{1009}},
		"101 malformed messages": {bytes.Repeat(kernelstest.Masked(0x81, "{"), 101), []int{1008}},
	} {
		c := r.rawConnect("bad")
		before := heap()
		if _, err := c.Write(row.bytes); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := c.code(); !slices.Contains(row.codes, got) {
			t.Errorf("%s: closed with %d, want %d", name, got, row.codes)
		}
		if grown := heap() - before; grown > 32<<20 {
			t.Errorf("%s: took %d bytes", name, grown)
		}
		c.Close()
		good.run(name)
	}
}

// What is odd and does no harm is taken: lengths in too long a form, a hundred malformed messages, empty fragments.
func TestOddFramesAreTaken(t *testing.T) {
	r := startedRig(t)
	request := `{"header":{"msg_id":"x","msg_type":"execute_request"},"content":{"code":"taken"}}`
	for name, frames := range map[string][]byte{
		"length in 8 bytes":       append(kernelstest.Declaring(uint64(len(request))), request...),
		"a hundred malformed":     append(bytes.Repeat(kernelstest.Masked(0x81, "{"), 100), kernelstest.Masked(0x81, request)...),
		"empty fragments":         append(append(kernelstest.Masked(0x01, ""), bytes.Repeat(kernelstest.Masked(0x00, ""), 1000)...), kernelstest.Masked(0x80, request)...),
		"pings between fragments": append(append(kernelstest.Masked(0x01, request[:9]), kernelstest.Masked(0x89, "x")...), kernelstest.Masked(0x80, request[9:])...),
		"pongs nobody asked for":  append(bytes.Repeat(kernelstest.Masked(0x8a, "18446744073709551615"), 1000), kernelstest.Masked(0x81, request)...),
		"binary instead of text":  kernelstest.Masked(0x82, request),
	} {
		listener := r.connect(uuid.NewString())
		c := r.rawConnect("odd")
		if _, err := c.Write(frames); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		listener.expect("iopub.stream taken")
		c.Close()
		listener.ws.Close()
	}
}

func TestHandshakesNegotiateNothingNew(t *testing.T) {
	r := startedRig(t)
	many := strings.Repeat("base64.bearer.token.c2VjcmV0, ", 50)
	for name, row := range map[string]struct{ line, protocol string }{
		"deflate":             {"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-webkit-deflate-frame", ""},
		"deflate, odd":        {"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99999999999", ""},
		"50 protocols":        {"Sec-WebSocket-Protocol: " + many + wire.SubprotocolV1, wire.SubprotocolV1},
		"protocols unknown":   {"Sec-WebSocket-Protocol: " + many + "v2.kernel.websocket.jupyter.org", ""},
		"protocol in capital": {"Sec-WebSocket-Protocol: V1.KERNEL.WEBSOCKET.JUPYTER.ORG", ""},
	} {
		h := r.rawConnect("x", row.line).head.Header
		if h.Get("Sec-Websocket-Extensions") != "" || h.Get("Sec-Websocket-Protocol") != row.protocol {
			t.Errorf("%s: %v", name, h)
		}
	}
}

// What a client says of itself is data: it decides neither who gets an answer nor on which channel a message goes, and
// what two parsers could read in two ways is dropped.
func TestForgedRequests(t *testing.T) {
	r := newRig(t)
	var mu sync.Mutex
	var got []string
	r.kernel.OnRequest = func(_ *kernelstest.FakeKernel, m wire.Message, h wire.Header) bool {
		mu.Lock()
		defer mu.Unlock()
		if h.MsgType == "execute_request" {
			got = append(got, string(m.Channel)+" "+h.MsgID)
		}
		return false
	}
	r.kernel.Start()
	r.ready(0)
	c, other := r.connect("a"), r.connect("b")
	header := func(more string) string { return `"header":{"msg_id":"x","msg_type":"execute_request"` + more + `}` }
	const rest = `"parent_header":{},"metadata":{},"content":{"code":""}`
	for _, text := range []string{
		`{"channel":"iopub",` + header("") + `,` + rest + `}`,
		`{"channel":"hb",` + header("") + `,` + rest + `}`,
		`{"channel":"../x",` + header("") + `,` + rest + `}`,
		`{"channel":["shell"],` + header("") + `,` + rest + `}`,
		`{"channel":"shell","channel":"control",` + header("") + `,` + rest + `}`,
		`{"channel":"shell","ch\u0061nnel":"control",` + header("") + `,` + rest + `}`,
		`{"channel":"shell",` + header(`,"msg_type":"shutdown_request"`) + `,` + rest + `}`,
		`{"channel":"shell",` + header(`,"msg\u005ftype":"shutdown_request"`) + `,` + rest + `}`,
		`{"channel":"shell",` + header("") + `,` + header("") + `,` + rest + `}`,
		`{"channel":"shell",` + header(`,"x":NaN`) + `,` + rest + `}`,
		`{"channel":"shell",` + header(`,"x":`+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)) + `,` + rest + `}`,
		`{"channel":"shell",` + header(`,"x":"`+strings.Repeat("x", wire.MaxHeader)+`"`) + `,` + rest + `}`,
		`{"channel":"shell",` + header("") + `,` + rest + `} {}`,
		`{"channel":"shell",` + rest + `}`,
	} {
		if err := c.ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	spoofed := `{"Channel":"control","channel":"shell",` + header(`,"username":"root","session":"b","date":"x","Msg_Id":"y"`) + `,` + rest + `}`
	if err := c.ws.WriteMessage(websocket.TextMessage, []byte(spoofed)); err != nil {
		t.Fatal(err)
	}
	c.expect("shell.execute_reply ok") // though it called itself b
	c.run("end")
	other.run("end")
	mu.Lock()
	defer mu.Unlock()
	if len(got) != 3 || got[0] != "shell x" {
		t.Errorf("the kernel got %q", got)
	}
}

// Nobody gets another's answer by asking with the same msg_id, which everybody reads on iopub.
func TestMsgIDIsNotTakenOver(t *testing.T) {
	r := newRig(t)
	asked, answer := make(chan string, 2), make(chan struct{})
	release := sync.OnceFunc(func() { close(answer) })
	t.Cleanup(release) // the kernel does not end before
	r.kernel.OnRequest = func(_ *kernelstest.FakeKernel, _ wire.Message, h wire.Header) bool {
		if h.MsgType == "execute_request" {
			asked <- h.MsgID
			<-answer
		}
		return false
	}
	r.kernel.Start()
	r.ready(0)
	c, thief := r.connect("a"), r.connect("thief")
	id := c.execute("secret")
	<-asked
	request := fmt.Sprintf(`{"channel":"shell","header":{"msg_id":%q,"msg_type":"execute_request"},"content":{}}`, id)
	if err := thief.ws.WriteMessage(websocket.TextMessage, []byte(request)); err != nil {
		t.Fatal(err)
	}
	if m := thief.receive(); !strings.Contains(m.Content.Text, "same id") {
		t.Errorf("thief reads %s", m.short())
	}
	release()
	c.expect("shell.execute_reply ok")
}

// One client that floods is told, then closed; others' requests come to the kernel behind a thousand of its own at most.
func TestFloodOfRequests(t *testing.T) {
	for _, msgType := range []string{"comm_open", "execute_request"} {
		r := newRig(t)
		gate, before := make(chan struct{}), make(chan int, 1)
		open := sync.OnceFunc(func() { close(gate) })
		t.Cleanup(open) // the kernel does not end before
		count := 0
		r.kernel.OnRequest = func(_ *kernelstest.FakeKernel, m wire.Message, h wire.Header) bool {
			if m.Channel != wire.Shell {
				return false
			}
			<-gate
			if strings.Contains(string(m.Content), "honest") {
				before <- count
				return false
			}
			count++
			return true
		}
		r.kernel.Start()
		r.ready(0)
		honest, flood := r.connect("honest"), r.rawConnect("flood")
		go func() {
			for i := range 50_000 {
				header, _ := json.Marshal(map[string]string{"msg_id": fmt.Sprint(i), "msg_type": msgType})
				if _, err := flood.Write(kernelstest.Masked(0x81, fmt.Sprintf(`{"channel":"shell","header":%s,"content":{}}`, header))); err != nil {
					return // it was closed
				}
			}
		}()
		if code := flood.code(); code != websocket.ClosePolicyViolation {
			t.Errorf("flood of %s closed with %d", msgType, code)
		}
		id := honest.execute("honest")
		open()
		select {
		case n := <-before:
			if n > 1000 {
				t.Errorf("%d %s were before another's request", n, msgType)
			}
		case <-time.After(patience):
			t.Fatalf("another's request never came, for all the %s", msgType)
		}
		for honest.receive().Parent.MsgID != id {
			continue
		}
	}
}

// A herd that comes back at once, as after a gateway's restart, is let in; who is there already does not suffer.
func TestHerdOfReconnects(t *testing.T) {
	r := startedRig(t)
	good := r.connect("good")
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			for range 50 {
				d := &websocket.Dialer{HandshakeTimeout: patience, NetDial: func(string, string) (net.Conn, error) { return net.Dial("unix", r.socket) }}
				ws, _, err := d.Dial(fmt.Sprint("ws://bridge/api/kernels/a-b-c-d-e/channels?session_id=", i), nil)
				if err != nil {
					t.Error(err)
					return
				}
				ws.Close()
			}
		})
	}
	for range 20 {
		good.run("x")
	}
	all.Wait()
	r.until("all gone", func() bool { return r.status().Connections == 1 })
	good.run("y")
}

// Sessions that are connected are bounded; the one too many is told to come later.
func TestTooManySessions(t *testing.T) {
	r := startedRig(t)
	for i := range 256 {
		r.connect(fmt.Sprint(i))
	}
	r.until("all there", func() bool { return r.status().Connections == 256 })
	if code, _ := r.connect("one-too-many").closed(); code != websocket.CloseTryAgainLater {
		t.Errorf("closed with %d", code)
	}
	r.connect("0").run("x")
}
