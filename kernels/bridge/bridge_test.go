package bridge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/kernels/bridge"
	"cellblock.io/cellblock/kernels/kernelstest"
	"cellblock.io/cellblock/kernels/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// rig is a bridge with a fake kernel behind it.
type rig struct {
	*testing.T
	kernel *kernelstest.FakeKernel
	socket string
	stop   func()
	api    *bridge.Client
}

// newRig starts a bridge; the kernel is not started yet.
func newRig(t *testing.T, change ...func(*bridge.Config)) *rig {
	t.Helper()
	r := &rig{T: t, kernel: kernelstest.NewFakeKernel(t)}
	r.socket = filepath.Join(r.kernel.Dir(), "b")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	cfg := bridge.Config{ConnectionFile: r.kernel.ConnectionFile(), Listen: "unix:" + r.socket,
		KernelID: "a-b-c-d-e", Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	for _, c := range change {
		c(&cfg)
	}
	go func() { done <- bridge.Run(ctx, cfg) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("bridge: %v", err)
		}
		done <- nil
	}
	t.Cleanup(r.stop)
	r.api = bridge.NewClient(r.dial)
	r.until("bridge listens", func() bool {
		_, err := r.api.Status(context.Background())
		return err == nil
	})
	return r
}

// startedRig also waits for the kernel.
func startedRig(t *testing.T, change ...func(*bridge.Config)) *rig {
	t.Helper()
	r := newRig(t, change...)
	r.kernel.Start()
	r.ready(0)
	return r
}

func (r *rig) dial(ctx context.Context) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", r.socket)
}

func (r *rig) ready(after int) int {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	generation, err := r.api.Ready(ctx, after)
	if err != nil {
		r.Fatal(err)
	}
	return generation
}

func (r *rig) until(what string, ok func() bool) {
	r.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			r.Fatalf("never: %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

// conn is a client of the bridge.
type conn struct {
	*testing.T
	ws  *websocket.Conn
	raw net.Conn
	v1  bool
}

// message is what a client looks at.
type message struct {
	Channel string          `json:"channel"`
	MsgID   string          `json:"msg_id"`
	MsgType string          `json:"msg_type"`
	Header  json.RawMessage `json:"header"`
	// Metadata is that of the message.
	Metadata json.RawMessage `json:"metadata"`
	Parent   struct {
		MsgID string `json:"msg_id"`
	} `json:"parent_header"`
	Content struct {
		State  string `json:"execution_state"`
		Text   string `json:"text"`
		Name   string `json:"name"`
		Status string `json:"status"`
	} `json:"content"`
	Buffers [][]byte `json:"-"`
}

// short is a message in a word: channel.type and the telling part of the content.
func (m message) short() string {
	return m.Channel + "." + m.MsgType + " " + m.Content.State + m.Content.Text + m.Content.Status
}

func (r *rig) connect(session string, opts ...func(*websocket.Dialer, http.Header)) *conn {
	r.Helper()
	c := &conn{T: r.T}
	d := &websocket.Dialer{HandshakeTimeout: patience}
	d.NetDialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		raw, err := r.dial(ctx)
		c.raw = raw
		return raw, err
	}
	header := http.Header{}
	for _, o := range opts {
		o(d, header)
	}
	ws, _, err := d.Dial("ws://bridge/api/kernels/a-b-c-d-e/channels?session_id="+session, header)
	if err != nil {
		r.Fatal(err)
	}
	c.ws, c.v1 = ws, ws.Subprotocol() != ""
	r.Cleanup(func() { ws.Close() })
	return c
}

func v1(d *websocket.Dialer, _ http.Header) { d.Subprotocols = []string{wire.SubprotocolV1} }

func tornado(_ *websocket.Dialer, h http.Header) { h.Set("User-Agent", "Tornado/6.6.1") }

// send sends a request and returns its msg_id.
func (c *conn) send(ch wire.Channel, msgType string, content any, buffers ...[]byte) string {
	c.Helper()
	id := uuid.NewString()
	header, _ := json.Marshal(map[string]string{"msg_id": id, "msg_type": msgType, "session": "client", "version": "5.3"})
	body, _ := json.Marshal(content)
	m := wire.Message{Channel: ch, Header: header, Parent: []byte("{}"), Metadata: []byte("{}"), Content: body, Buffers: buffers}
	frame, isBinary := wire.AppendLegacy(nil, &m, wire.Header{MsgID: id, MsgType: msgType})
	if c.v1 {
		frame, isBinary = wire.AppendV1(nil, &m), true
	}
	kind := websocket.TextMessage
	if isBinary {
		kind = websocket.BinaryMessage
	}
	if err := c.ws.WriteMessage(kind, frame); err != nil {
		c.Fatal(err)
	}
	return id
}

func (c *conn) execute(code string) string {
	return c.send(wire.Shell, "execute_request", map[string]any{"code": code})
}

// run executes code and reads until its reply and its idle have come, in whichever order.
func (c *conn) run(code string) {
	c.Helper()
	id := c.execute(code)
	for reply, idle := false, false; !reply || !idle; {
		m := c.receive()
		reply = reply || m.MsgType == "execute_reply" && m.Parent.MsgID == id
		idle = idle || m.Content.State == "idle" && m.Parent.MsgID == id
	}
}

// receive returns the next message.
func (c *conn) receive() message {
	c.Helper()
	if err := c.ws.SetReadDeadline(time.Now().Add(patience)); err != nil {
		c.Fatal(err)
	}
	_, frame, err := c.ws.ReadMessage()
	if err != nil {
		c.Fatalf("receive: %v", err)
	}
	var m message
	if c.v1 {
		m = fromV1(c.T, frame)
	} else if err := json.Unmarshal(frame, &m); err != nil {
		c.Fatalf("%v in %.200q", err, frame)
	}
	return m
}

// fromV1 reads a frame from the bridge, which unlike a client may send on iopub.
func fromV1(t *testing.T, frame []byte) message {
	t.Helper()
	offset := func(i int) uint64 {
		return uint64(frame[8*(i+1)]) | uint64(frame[8*(i+1)+1])<<8 | uint64(frame[8*(i+1)+2])<<16
	}
	part := func(i int) []byte { return frame[offset(i):offset(i+1)] }
	var m message
	joined := fmt.Sprintf(`{"channel":%q,"header":%s,"parent_header":%s,"metadata":%s,"content":%s}`,
		part(0), part(1), part(2), part(3), part(4))
	if err := json.Unmarshal([]byte(joined), &m); err != nil {
		t.Fatalf("%v in %s", err, joined)
	}
	var h struct {
		MsgID   string `json:"msg_id"`
		MsgType string `json:"msg_type"`
	}
	if err := json.Unmarshal(part(1), &h); err != nil {
		t.Fatal(err)
	}
	m.MsgID, m.MsgType = h.MsgID, h.MsgType
	for i := 5; i < int(frame[0])-1; i++ {
		m.Buffers = append(m.Buffers, part(i))
	}
	return m
}

// expect reads until a message of that short form has come, and returns what came before it.
func (c *conn) expect(short string) []string {
	c.Helper()
	var before []string
	for {
		got := c.receive().short()
		if got == short {
			return before
		}
		before = append(before, got)
	}
}

// closed reads until the connection ends and returns the close code.
func (c *conn) closed() (code int, before []string) {
	c.Helper()
	for {
		if err := c.ws.SetReadDeadline(time.Now().Add(patience)); err != nil {
			c.Fatal(err)
		}
		_, frame, err := c.ws.ReadMessage()
		if e, ok := err.(*websocket.CloseError); ok {
			return e.Code, before
		} else if err != nil {
			c.Fatalf("no close frame: %v", err)
		}
		var m message
		if err := json.Unmarshal(frame, &m); err != nil {
			c.Fatal(err)
		}
		before = append(before, m.short())
	}
}

func (r *rig) status() kernels.BridgeStatus {
	r.Helper()
	s, err := r.api.Status(context.Background())
	if err != nil {
		r.Fatal(err)
	}
	return s
}
