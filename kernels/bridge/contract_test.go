package bridge_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/kernels/kernelstest"
	"cellblock.io/cellblock/kernels/wire"
)

// TestContract has the parts of what existing clients insist on that need a kernel whose bytes and timing are the
// test's. The numbers are those of the test of the same name in e2e, where a real kernel shows the rest.
func TestContract(t *testing.T) {
	t.Run("04_golden_vectors_from_the_kernel", goldenFromKernel)
	t.Run("04_golden_vectors_from_a_client", goldenFromClient)
	t.Run("06_one_client_too_many_is_closed_with_1013", oneClientTooMany)
	t.Run("07_nothing_is_sent_before_outputs_are_seen", slowKernel)
	t.Run("07_the_first_client_reads_what_was_said_before", saidBefore)
	t.Run("11_others_are_told_of_a_restart", othersAreTold)
	t.Run("12_shutdown_sent_to_a_kernel_that_starts", shutdownBeforeStart)
	t.Run("13_own_messages_have_the_session_of_the_kernel", ownMessages)
	t.Run("18_subshell_ids_and_busy_by_parent", subshells)
	t.Run("20_connections_leak_nothing", connectionsLeakNothing)
	t.Run("20_restarts_leak_nothing", restartsLeakNothing)
}

// vector is one of the frames that jupyter_server itself wrote.
func vector(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("../wire/testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// goldenParts are the parts of the vectors' message.
func goldenParts(channel wire.Channel, buffers ...[]byte) wire.Message {
	return wire.Message{
		Channel:  channel,
		Header:   []byte(`{"msg_id":"m1","msg_type":"comm_msg","username":"u","session":"s1","date":"2026-01-02T03:04:05.123456Z","version":"5.3"}`),
		Parent:   []byte("{}"),
		Metadata: []byte("{}"),
		Content:  []byte(`{"comm_id":"c1","data":{}}`),
		Buffers:  buffers,
	}
}

func (c *conn) frame() (kind int, frame []byte) {
	c.Helper()
	if err := c.ws.SetReadDeadline(time.Now().Add(patience)); err != nil {
		c.Fatal(err)
	}
	kind, frame, err := c.ws.ReadMessage()
	if err != nil {
		c.Fatal(err)
	}
	return kind, frame
}

func goldenFromKernel(t *testing.T) {
	r := startedRig(t)
	binary, legacy := r.connect("a", v1), r.connect("b")
	r.kernel.Send(wire.IOPub, r.kernel.Frames(goldenParts(wire.IOPub, []byte{1, 2, 3}, nil, []byte("AB"))))
	if kind, got := binary.frame(); kind != websocket.BinaryMessage || !bytes.Equal(got, vector(t, "v1_3buf.bin")) {
		t.Errorf("v1: %q", got)
	}
	// jupyter_server writes blanks between the members and has another order: what they are must be the same.
	kind, got := legacy.frame()
	want := vector(t, "legacy_3buf.bin")
	if kind != websocket.BinaryMessage || !reflect.DeepEqual(legacyBuffers(got), legacyBuffers(want)) {
		t.Errorf("legacy buffers: %q", got)
	}
	if got, want := objectOf(t, got[20:]), objectOf(t, want[20:]); !reflect.DeepEqual(got, want) {
		t.Errorf("legacy envelope %v instead of %v", got, want)
	}
}

// legacyBuffers cuts three buffers out of a binary frame of the JSON format.
func legacyBuffers(frame []byte) (buffers [3][]byte) {
	at := func(i int) int { return int(frame[4*i+2])<<8 | int(frame[4*i+3]) }
	for i := range buffers {
		end := len(frame)
		if i < 2 {
			end = at(i + 3)
		}
		buffers[i] = append([]byte{}, frame[at(i+2):end]...)
	}
	return buffers
}

// objectOf reads one JSON object at the begin of b.
func objectOf(t *testing.T, b []byte) (object map[string]any) {
	t.Helper()
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(&object); err != nil {
		t.Fatal(err)
	}
	return object
}

func goldenFromClient(t *testing.T) {
	r := newRig(t)
	got := make(chan wire.Message, 1)
	r.kernel.OnRequest = func(k *kernelstest.FakeKernel, m wire.Message, h wire.Header) bool {
		if h.MsgID == "m1" {
			got <- m
			k.Publish("status", m.Header, map[string]string{"execution_state": "idle"})
		}
		return h.MsgID == "m1"
	}
	r.kernel.Start()
	r.ready(0)
	toShell := func(frame []byte) []byte { return bytes.Replace(frame, []byte("iopub"), []byte("shell"), 1) }
	spaced := func(b []byte) []byte {
		return bytes.ReplaceAll(bytes.ReplaceAll(b, []byte(`":"`), []byte(`": "`)), []byte(`","`), []byte(`", "`))
	}
	buffers := [][]byte{{1, 2, 3}, {}, []byte("AB")}
	for i, row := range []struct {
		name  string
		v1    bool
		kind  int
		frame []byte
		want  wire.Message
	}{
		{"v1 without buffers", true, websocket.BinaryMessage, vector(t, "v1_0buf.bin"), goldenParts(wire.Shell)},
		{"v1", true, websocket.BinaryMessage, toShell(vector(t, "v1_3buf.bin")), goldenParts(wire.Shell, buffers...)},
		{"legacy", false, websocket.BinaryMessage, toShell(vector(t, "legacy_3buf.bin")), goldenParts(wire.Shell, buffers...)},
		{"legacy as text", false, websocket.TextMessage, toShell(vector(t, "legacy_3buf.bin")), goldenParts(wire.Shell, buffers...)},
	} {
		var c *conn
		if row.v1 {
			c = r.connect(fmt.Sprint(i), v1)
		} else {
			c = r.connect(fmt.Sprint(i))
			row.want.Header = spaced(row.want.Header)
		}
		if err := c.ws.WriteMessage(row.kind, row.frame); err != nil {
			t.Fatal(err)
		}
		select {
		case m := <-got:
			if m.Channel != wire.Shell || !bytes.Equal(m.Header, row.want.Header) || len(m.Buffers) != len(row.want.Buffers) {
				t.Errorf("%s: %s %s with %d buffers", row.name, m.Channel, m.Header, len(m.Buffers))
				continue
			}
			for i, b := range m.Buffers {
				if !bytes.Equal(b, row.want.Buffers[i]) {
					t.Errorf("%s: buffer %d is %q", row.name, i, b)
				}
			}
		case <-time.After(patience):
			t.Fatalf("%s: the kernel got nothing", row.name)
		}
		c.expect("iopub.status idle") // the id may be used again
	}
}

func oneClientTooMany(t *testing.T) {
	r := startedRig(t)
	var last *conn
	for i := range 257 {
		last = r.connect(fmt.Sprint("session", i))
		r.until("counted", func() bool { return r.status().Connections == min(i+1, 256) }) // the answer to an upgrade comes before
	}
	if code, _ := last.closed(); code != websocket.CloseTryAgainLater {
		t.Errorf("close code %d", code)
	}
	if s := r.status(); s.Connections != 256 {
		t.Errorf("%d connections", s.Connections)
	}
}

// slowKernel answers kernel_info at once, but what it publishes is lost for a while: the subscription is on its way.
func slowKernel(t *testing.T) {
	r := newRig(t)
	asked, seen := make(chan struct{}, 100), make(chan struct{})
	early := make(chan string, 10)
	r.kernel.OnRequest = func(k *kernelstest.FakeKernel, m wire.Message, h wire.Header) bool {
		select {
		case <-seen:
			return false // as every kernel does
		default:
		}
		if h.MsgType == "kernel_info_request" && m.Channel == wire.Control {
			k.Reply(m.Channel, "kernel_info_reply", m.Header, map[string]string{"status": "ok"})
			asked <- struct{}{}
			return true
		}
		early <- h.MsgType
		return false
	}
	c := r.connect("a") // accepted at once, before there is a kernel
	info := c.send(wire.Shell, "kernel_info_request", map[string]string{})
	cell := c.execute("first")
	r.kernel.Start()
	for range 3 {
		select {
		case <-asked:
		case kind := <-early:
			t.Fatalf("%s was sent while outputs were lost", kind)
		case <-time.After(patience):
			t.Fatal("the kernel was not asked again")
		}
	}
	close(seen)
	var got []string
	for replies := 0; replies < 2 || len(got) < 5; {
		m := c.receive()
		switch {
		case m.MsgType == "kernel_info_reply" && m.Parent.MsgID == info, m.MsgType == "execute_reply" && m.Parent.MsgID == cell:
			replies++
		case m.Parent.MsgID == info || m.Parent.MsgID == cell:
			got = append(got, m.short())
		}
	}
	want := []string{"iopub.status busy", "iopub.status idle", "iopub.status busy", "iopub.stream first", "iopub.status idle"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the first requests gave %q", got)
	}
	select {
	case kind := <-early:
		t.Errorf("%s was sent while outputs were lost", kind)
	default:
	}
}

// saidBefore has the kernel speak before anybody listens: a start-up file of the person's, say.
func saidBefore(t *testing.T) {
	r := newRig(t)
	r.kernel.Start()
	r.kernel.Publish("status", nil, map[string]string{"execution_state": "starting"})
	r.kernel.Publish("stream", nil, map[string]string{"text": "hello from start-up"})
	r.ready(0)
	first := r.connect("a")
	if got := first.receive().short(); got != "iopub.stream hello from start-up" {
		t.Errorf("the first client begins with %s", got)
	}
	second := r.connect("b")
	first.run("x")
	if got := second.receive().short(); got != "iopub.status busy" {
		t.Errorf("the second client begins with %s", got)
	}
}

// restartable is a rig for restart: its kernel leaves its end to the test.
func restartable(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	r.kernel.OnRequest = func(k *kernelstest.FakeKernel, m wire.Message, h wire.Header) bool {
		if h.MsgType == "shutdown_request" {
			k.Reply(m.Channel, "shutdown_reply", m.Header, map[string]string{"status": "ok"})
		}
		return h.MsgType == "shutdown_request"
	}
	r.kernel.Start()
	r.ready(0)
	return r
}

// restart restarts the kernel as the gateway does with a real one.
func (r *rig) restart(generation int) {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.api.Shutdown(ctx, true); err != nil {
		r.Fatal(err)
	}
	r.kernel.Kill()
	r.kernel.Start()
	r.ready(generation)
}

func othersAreTold(t *testing.T) {
	r := restartable(t)
	silent, asking, returning := r.connect("silent"), r.connect("asking"), r.connect("returning")
	for _, c := range []*conn{silent, asking, returning} {
		c.run("before")
	}
	r.restart(1)
	asking.run("after")
	returning = r.connect("returning")
	before := silent.expect("iopub.status restarting")
	if len(before) == 0 || before[len(before)-1] != "iopub.status idle" {
		t.Errorf("before the news came %q", before)
	}
	if got := silent.receive().short(); got != "iopub.status idle" {
		t.Errorf("behind the news comes %s", got)
	}
	r.kernel.Publish("stream", nil, map[string]string{"text": "to all"})
	for name, c := range map[string]*conn{"asked": asking, "came back": returning} {
		for _, got := range c.expect("iopub.stream to all") {
			if got == "iopub.status restarting" {
				t.Errorf("who %s is told of a restart that it knows of", name)
			}
		}
	}
}

func shutdownBeforeStart(t *testing.T) {
	r := newRig(t)
	asked := make(chan string, 1)
	r.kernel.OnRequest = func(_ *kernelstest.FakeKernel, m wire.Message, h wire.Header) bool {
		if h.MsgType == "shutdown_request" {
			asked <- string(m.Content)
		}
		return false
	}
	c := r.connect("a")
	c.send(wire.Control, "shutdown_request", map[string]bool{"restart": false})
	r.until("the request waits", func() bool { return r.status().Connections == 1 })
	r.kernel.Start()
	if got := <-asked; got != `{"restart":false}` {
		t.Errorf("the kernel was asked %s", got)
	}
	r.until("the end is known as meant", func() bool { return r.status().ShutdownRequested })
}

// ownMessages looks at the session in the headers of what the bridge itself says. Clients throw away what waits of
// another session than the last, so it is the kernel's, and another one only when that has gone.
func ownMessages(t *testing.T) {
	r := startedRig(t)
	c := r.connect("a", tornado)
	session := func() string {
		var h struct{ Session string }
		if err := json.Unmarshal(c.receive().Header, &h); err != nil {
			t.Fatal(err)
		}
		return h.Session
	}
	large := r.kernel.Message(wire.IOPub, "comm_msg", []byte("{}"), map[string]string{})
	large.Buffers = [][]byte{{1}}
	r.kernel.Send(wire.IOPub, r.kernel.Frames(large))
	if got := session(); got != r.kernel.Session() {
		t.Errorf("a notice has the session %q", got)
	}
	r.kernel.Kill()
	old := r.kernel.Session()
	for c.receive().Content.State != "restarting" {
	}
	r.kernel.Start()
	if got := session(); got == old || got != r.kernel.Session() {
		t.Errorf("idle after a death has the session %q", got)
	}
	if err := r.api.Tell(context.Background(), kernels.Over, "done"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the reason, and dead
		if got := session(); got != r.kernel.Session() {
			t.Errorf("the end has the session %q", got)
		}
	}
}

func subshells(t *testing.T) {
	r := newRig(t)
	got, finish := make(chan []byte, 1), make(chan []byte, 2)
	r.kernel.OnRequest = func(k *kernelstest.FakeKernel, m wire.Message, h wire.Header) bool {
		if h.MsgType == "execute_request" {
			k.Publish("status", m.Header, map[string]string{"execution_state": "busy"})
			finish <- m.Header
		}
		if bytes.Contains(m.Header, []byte("subshell_id")) {
			got <- m.Header
		}
		return h.MsgType == "execute_request"
	}
	r.kernel.Start()
	r.ready(0)
	c := r.connect("a", v1)
	c.execute("main")
	header := []byte(`{"msg_id":"s","msg_type":"execute_request","session":"client","version":"5.5", "subshell_id":"é-1"}`)
	m := wire.Message{Channel: wire.Shell, Header: header, Parent: []byte("{}"), Metadata: []byte("{}"), Content: []byte(`{"code":"sub"}`)}
	if err := c.ws.WriteMessage(websocket.BinaryMessage, wire.AppendV1(nil, &m)); err != nil {
		t.Fatal(err)
	}
	if h := <-got; !bytes.Equal(h, header) {
		t.Errorf("the kernel got the header %s", h)
	}
	for _, state := range []string{"busy", "idle"} {
		r.kernel.Publish("status", <-finish, map[string]string{"execution_state": "idle"})
		c.expect("iopub.status idle")
		if s := r.status(); string(s.State) != state {
			t.Errorf("state %s instead of %s", s.State, state)
		}
	}
}
