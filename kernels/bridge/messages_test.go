package bridge_test

import (
	"bytes"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/kernels/kernelstest"
	"cellblock.io/cellblock/kernels/wire"
)

func TestExecuteInBothFormats(t *testing.T) {
	r := startedRig(t)
	for name, opt := range map[string]func(*websocket.Dialer, http.Header){"legacy": tornado, "v1": v1} {
		t.Run(name, func(t *testing.T) {
			c := r.connect(name, opt)
			id := c.execute("hello " + name)
			var got []string
			reply := false
			for range 4 {
				m := c.receive()
				if m.Parent.MsgID != id || m.MsgID == "" {
					t.Errorf("message %+v", m)
				}
				if m.MsgType == "execute_reply" {
					reply = m.Channel == "shell"
					continue
				}
				got = append(got, m.short())
			}
			want := []string{"iopub.status busy", "iopub.stream hello " + name, "iopub.status idle"}
			if !reflect.DeepEqual(got, want) || !reply {
				t.Errorf("iopub %q, reply %v", got, reply)
			}
			c.ws.Close()
			r.until("client gone", func() bool { return r.status().Connections == 0 })
		})
	}
}

// A client that connects and asks before the kernel exists loses nothing, and nothing is sent twice.
func TestFirstOutputIsNeverLost(t *testing.T) {
	r := newRig(t)
	if got := r.status(); got.State != kernels.Starting || got.Generation != 0 {
		t.Errorf("status %+v", got)
	}
	c := r.connect("a")
	for i := range 20 {
		c.execute(fmt.Sprint(i))
	}
	release := make(chan struct{})
	r.kernel.Delay = func(ch wire.Channel) {
		if ch == wire.IOPub { // the outputs' socket comes last
			<-release
		}
	}
	r.kernel.Start()
	close(release)
	for i := range 20 {
		c.expect("iopub.stream " + fmt.Sprint(i))
	}
	c.execute("end")
	if before := c.expect("iopub.stream end"); strings.Contains(fmt.Sprint(before), "stream") {
		t.Errorf("sent twice: %v", before)
	}
}

func TestReturningSessionGetsWhatItMissedOnceInOrder(t *testing.T) {
	r := startedRig(t)
	c := r.connect("a")
	other := r.connect("b")
	c.run("first")
	other.expect("iopub.status idle")
	c.raw.Close() // no close frame
	r.until("gone", func() bool { return r.status().Connections == 1 })

	for i := range 500 {
		r.kernel.Publish("stream", nil, map[string]string{"name": "stdout", "text": fmt.Sprint(i)})
	}
	other.expect("iopub.stream 499")
	c = r.connect("a")
	for i := range 500 {
		if got := c.receive().short(); got != fmt.Sprintf("iopub.stream %d", i) {
			t.Fatalf("message %d is %s", i, got)
		}
	}
	fresh := r.connect("c")
	r.kernel.Publish("stream", nil, map[string]string{"text": "live"})
	if got := fresh.receive().short(); got != "iopub.stream live" {
		t.Errorf("a new session begins with %s", got)
	}
	if got := c.receive().short(); got != "iopub.stream live" {
		t.Errorf("after the replay comes %s", got)
	}
}

// What was written to a connection that had gone silent is sent again; what was confirmed is not.
func TestSilentConnectionIsReplayedFromTheLastConfirmation(t *testing.T) {
	r := startedRig(t)
	c := r.connect("a")
	publish := func(text string) { r.kernel.Publish("stream", nil, map[string]string{"text": text}) }
	pings := make(chan string, 10)
	answered := 0
	c.ws.SetPingHandler(func(payload string) error {
		pings <- payload
		if answered++; answered > 1 {
			return nil // from the second ping on the client is silent
		}
		return c.ws.WriteControl(websocket.PongMessage, []byte(payload), time.Now().Add(patience))
	})
	read := make(chan struct{})
	go func() {
		defer close(read)
		for {
			if _, _, err := c.ws.ReadMessage(); err != nil {
				return
			}
		}
	}()
	publish("confirmed")
	<-pings
	publish("x")
	<-pings // the second comes only after the first was answered
	for i := range 10 {
		publish(fmt.Sprint(i))
	}
	<-time.After(silence)
	again := r.connect("a")
	for _, want := range []string{"x", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9"} {
		if got := again.receive().short(); got != "iopub.stream "+want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	<-read
}

func TestAnswersGoOnlyToTheirAsker(t *testing.T) {
	r := newRig(t)
	replies := make(chan string, 1)
	r.kernel.OnRequest = func(k *kernelstest.FakeKernel, m wire.Message, h wire.Header) bool {
		switch h.MsgType {
		case "execute_request":
			k.Reply(wire.Stdin, "input_request", m.Header, map[string]string{"text": "name?"})
		case "input_reply":
			replies <- string(m.Content)
		default:
			return false
		}
		return true
	}
	r.kernel.Start()
	r.ready(0)
	asker, other := r.connect("a"), r.connect("b", v1)
	asker.execute("input()")
	asker.expect("stdin.input_request name?")
	asker.send(wire.Stdin, "input_reply", map[string]string{"value": "x"})
	if got := <-replies; got != `{"value":"x"}` {
		t.Errorf("kernel got %s", got)
	}
	r.kernel.Reply(wire.Shell, "execute_reply", []byte(`{"msg_id":"nobody's"}`), map[string]string{"status": "forged"})
	r.kernel.Publish("stream", nil, map[string]string{"text": "for all"})
	if before := other.expect("iopub.stream for all"); len(before) != 0 {
		t.Errorf("the other client got %v", before)
	}
	if before := asker.expect("iopub.stream for all"); len(before) != 0 {
		t.Errorf("the asker got %v", before)
	}
}

func TestBuffersBothWays(t *testing.T) {
	r := newRig(t)
	got := make(chan [][]byte, 2)
	r.kernel.OnRequest = func(k *kernelstest.FakeKernel, m wire.Message, h wire.Header) bool {
		if h.MsgType != "comm_msg" {
			return false
		}
		got <- m.Buffers
		back := k.Message(wire.IOPub, "comm_msg", m.Header, map[string]string{"comm_id": "c"})
		back.Buffers = m.Buffers
		k.Send(wire.IOPub, k.Frames(back))
		return true
	}
	r.kernel.Start()
	r.ready(0)
	sent := [][]byte{{0xff, 0x00, 0xfe}, {}, bytes.Repeat([]byte{7}, 100_000)}
	for _, c := range []*conn{r.connect("a", v1), r.connect("b")} {
		c.send(wire.Shell, "comm_msg", map[string]string{"comm_id": "c"}, sent...)
		for i, b := range <-got {
			if !bytes.Equal(b, sent[i]) {
				t.Errorf("buffer %d arrived as %.20q", i, b)
			}
		}
	}
	c := r.connect("c", v1)
	c.send(wire.Shell, "comm_msg", map[string]string{"comm_id": "c"}, sent...)
	for i, b := range c.receive().Buffers {
		if !bytes.Equal(b, sent[i]) {
			t.Errorf("buffer %d came back as %.20q", i, b)
		}
	}
}

// jupyter_server's gateway client decodes binary frames as text and drops connections over 10 MiB: it gets a notice.
func TestJupyterServerGetsANoticeForWhatItCannotReceive(t *testing.T) {
	r := startedRig(t)
	c := r.connect("a", tornado)
	withBuffers := r.kernel.Message(wire.IOPub, "comm_msg", []byte("{}"), map[string]string{})
	withBuffers.Buffers = [][]byte{{1}}
	r.kernel.Send(wire.IOPub, r.kernel.Frames(withBuffers))
	r.kernel.Publish("display_data", nil, map[string]string{"text": strings.Repeat("x", 12<<20)})
	r.kernel.Publish("stream", nil, map[string]string{"text": strings.Repeat("y", 9<<20)})
	for _, want := range []string{"comm_msg", "12.6 MB"} {
		m := c.receive()
		if m.MsgType != "stream" || m.Content.Name != "stderr" || !strings.Contains(m.Content.Text, want) {
			t.Errorf("%.300s", m.short())
		}
	}
	if m := c.receive(); len(m.Content.Text) != 9<<20 {
		t.Errorf("9 MiB arrived as %d bytes", len(m.Content.Text))
	}
}

func TestMalformedMessagesCostOnlyThemselves(t *testing.T) {
	r := startedRig(t)
	c := r.connect("a")
	bad := r.kernel.Message(wire.IOPub, "stream", []byte("{}"), map[string]string{"text": "?"})
	bad.Content = []byte(`{},"channel":"shell","x":{}`)
	r.kernel.Send(wire.IOPub, r.kernel.Frames(bad))
	forged := r.kernel.Frames(r.kernel.Message(wire.IOPub, "stream", []byte("{}"), map[string]string{"text": "?"}))
	forged[1] = bytes.Repeat([]byte("0"), 64)
	r.kernel.Send(wire.IOPub, forged)
	r.kernel.Send(wire.IOPub, [][]byte{[]byte("no delimiter")})
	r.kernel.Publish("stream", nil, map[string]string{"text": "goes on"})
	before := c.expect("iopub.stream goes on")
	if len(before) != 3 || !strings.Contains(before[2], "not valid") {
		t.Errorf("notices: %q", before)
	}

	for _, frame := range []string{"", "{", "[]", `{"header":{}}`, "\x00\x00\x00\x02"} {
		if err := c.ws.WriteMessage(websocket.TextMessage, []byte(frame)); err != nil {
			t.Fatal(err)
		}
	}
	c.execute("still here")
	c.expect("iopub.stream still here")
}

func TestTextFrameOnV1IsRefused(t *testing.T) {
	r := startedRig(t)
	c := r.connect("a", v1)
	if err := c.ws.WriteMessage(websocket.TextMessage, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if code, _ := c.closed(); code != websocket.CloseUnsupportedData {
		t.Errorf("close code %d", code)
	}
}
