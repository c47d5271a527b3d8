package bridge_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"

	"cellblock.io/cellblock/kernels/kernelstest"
	"cellblock.io/cellblock/kernels/receipt"
	"cellblock.io/cellblock/kernels/wire"
)

// connectAsking connects with a new session that asks for more than others.
func (r *rig) connectAsking(query string, opts ...func(*websocket.Dialer, http.Header)) *conn {
	r.Helper()
	return r.connect("new"+fmt.Sprint(time.Now().UnixNano())+query, opts...)
}

// sendWith is send with the parts that others leave empty.
func (c *conn) sendWith(parent, metadata string, m wire.Message, msgType string) string {
	c.Helper()
	id := uuid.NewString()
	m.Header = fmt.Appendf(nil, `{"msg_id":%q,"msg_type":%q,"session":"client","version":"5.3"}`, id, msgType)
	m.Parent, m.Metadata = []byte(parent), []byte(metadata)
	frame, _ := wire.AppendLegacy(nil, &m, wire.Header{MsgID: id, MsgType: msgType})
	if err := c.ws.WriteMessage(websocket.TextMessage, frame); err != nil {
		c.Fatal(err)
	}
	return id
}

// Whoever goes on from a number gets what comes behind it, once, in order, and then what is said from now on.
func TestResumeByNumber(t *testing.T) {
	r := startedRig(t)
	for i := range 1000 {
		r.print(fmt.Sprint(i))
	}
	r.printed(1001)
	id := r.page("limit=1").Journal
	for name, opts := range map[string][]func(*websocket.Dialer, http.Header){"legacy": nil, "v1": {v1}} {
		t.Run(name, func(t *testing.T) {
			c := r.connectAsking("&seq=1&since=501&journal="+id, opts...)
			last := r.page("limit=1").Last
			r.print("live " + name)
			for seq := uint64(502); seq <= last+1; seq++ {
				m := c.receive()
				var told struct{ Cellblock place }
				if err := json.Unmarshal(m.Metadata, &told); err != nil {
					t.Fatal(err)
				}
				want := fmt.Sprint("iopub.stream ", seq-2)
				if seq == last+1 {
					want = "iopub.stream live " + name
				}
				if p := told.Cellblock; p.Seq != seq || p.Journal != id || p.Generation != 1 || seq <= 1001 && m.short() != want {
					t.Fatalf("%s at %+v, want %s", m.short(), p, want)
				}
			}
		})
	}
}

// A session that resumed goes on like every other one when its connection was cut.
func TestResumedSessionComesBack(t *testing.T) {
	r := startedRig(t)
	r.print("0")
	r.printed(2)
	c := r.connect("a&since=1")
	c.expect("iopub.stream 0")
	c.raw.Close()
	r.until("gone", func() bool { return r.status().Connections == 0 })
	r.print("1")
	r.printed(3)
	if got := r.connect("a").receive().short(); got != "iopub.stream 1" {
		t.Errorf("it continues with %s", got)
	}
	again := r.connect("a&since=0") // which says so itself
	if before := again.expect("iopub.stream 1"); !reflect.DeepEqual(before, []string{"iopub.status idle", "iopub.stream 0"}) {
		t.Errorf("before that came %q", before)
	}
}

// Who does not ask for numbers gets the kernel's bytes.
func TestOthersGetMessagesAsTheyAre(t *testing.T) {
	r := startedRig(t)
	plain, binary, asking := r.connect("a"), r.connect("b", v1), r.connect("c&seq=1")
	m := r.kernel.Message(wire.IOPub, "stream", []byte(`{"msg_id": "p"}`), map[string]string{"text": "x"})
	m.Metadata = []byte("{ \"a\" : 1 }")
	r.kernel.Send(wire.IOPub, r.kernel.Frames(m))
	h, err := wire.ParseHeader(m.Header)
	if err != nil {
		t.Fatal(err)
	}
	legacy, _ := wire.AppendLegacy(nil, &m, h)
	for c, want := range map[*conn][]byte{plain: legacy, binary: wire.AppendV1(nil, &m)} {
		if _, got, err := c.ws.ReadMessage(); err != nil || !bytes.Equal(got, want) {
			t.Errorf("got %q, %v\nwant %q", got, err, want)
		}
	}
	if got := string(asking.receive().Metadata); !strings.HasPrefix(got, `{ "a" : 1,"cellblock":{"journal":"`) {
		t.Errorf("metadata %s", got)
	}
}

// waitingRig has a kernel that runs cells until it is told to go on: "input" asks for input.
func waitingRig(t *testing.T) (r *rig, goOn chan string) {
	r = newRig(t)
	goOn = make(chan string)
	var cell wire.Message
	finish := func(k *kernelstest.FakeKernel, status string) {
		k.Reply(wire.Shell, "execute_reply", cell.Header, map[string]string{"status": status})
		k.Publish("status", cell.Header, map[string]string{"execution_state": "idle"})
	}
	r.kernel.OnRequest = func(k *kernelstest.FakeKernel, m wire.Message, h wire.Header) bool {
		switch h.MsgType {
		case "execute_request":
			cell = m
			k.Publish("status", m.Header, map[string]string{"execution_state": "busy"})
			if strings.Contains(string(m.Content), "input") {
				k.Reply(wire.Stdin, "input_request", m.Header, map[string]string{"text": "name?"})
				return true
			}
			go func() { <-goOn; finish(k, "ok") }()
		case "input_reply":
			finish(k, "ok")
		case "interrupt_request":
			k.Reply(m.Channel, "interrupt_reply", m.Header, map[string]string{"status": "ok"})
			finish(k, "aborted")
		default:
			return false
		}
		return true
	}
	r.kernel.Start()
	r.ready(0)
	return r, goOn
}

// A person who comes back with a new session gets the end of the cell that the old one started, and can put it back into
// its cell.
func TestNewSessionGetsTheOldOnesReplies(t *testing.T) {
	r, goOn := waitingRig(t)
	old := r.connect("old")
	id := old.sendWith("{}", `{"cellId":"cell-7"}`, wire.Message{Channel: wire.Shell, Content: []byte(`{"code":"x"}`)}, "execute_request")
	old.expect("iopub.status busy")
	old.ws.Close()
	p := r.page("")
	resumed, fresh := r.connect(fmt.Sprint("new&seq=1&since=", p.Next, "&journal=", p.Journal)), r.connect("fresh")
	close(goOn)
	var reply message
	for reply.MsgType != "execute_reply" {
		reply = resumed.receive()
	}
	if reply.Parent.MsgID != id || !strings.Contains(string(reply.Metadata), `"cell_id":"cell-7"`) {
		t.Errorf("%+v %s", reply, reply.Metadata)
	}
	if before := fresh.expect("iopub.status idle"); len(before) != 0 {
		t.Errorf("who did not ask got %q", before)
	}
	all := r.page("")
	if got := fmt.Sprint(all.shorts()); !strings.Contains(got, "shell.execute_reply ok") || all.Messages[1].CellID != "cell-7" || all.Messages[0].CellID != "" {
		t.Errorf("%s %+v", got, all.Messages)
	}
}

func TestOpenInputRequestComesAgain(t *testing.T) {
	r, _ := waitingRig(t)
	c := r.connect("a")
	c.execute("input()")
	c.receive() // the busy and the request, in either order
	c.receive()
	p := r.page("")
	asked := p.inputRequest()
	if asked.Open == nil || !*asked.Open {
		t.Errorf("not told as open: %+v", asked)
	}
	c.ws.Close()
	r.until("gone", func() bool { return r.status().Connections == 0 })
	r.print("meanwhile")
	r.printed(p.Last + 1)

	fresh := r.connect("fresh")
	resumed := r.connect(fmt.Sprint("new&since=", p.Next))
	c = r.connect("a")
	if got := []string{resumed.receive().short(), resumed.receive().short()}; !reflect.DeepEqual(got, []string{"stdin.input_request name?", "iopub.stream meanwhile"}) {
		t.Errorf("by number begins with %q", got)
	}
	if got := c.receive().short(); got != "iopub.stream meanwhile" { // it shows the question still
		t.Errorf("the same session continues with %q", got)
	}
	resumed.send(wire.Stdin, "input_reply", map[string]string{"value": "x"})
	c.expect("iopub.status idle")
	if before := fresh.expect("iopub.status idle"); len(before) != 0 {
		t.Errorf("another session got %q", before)
	}
	if asked = r.page("").inputRequest(); asked.Open == nil || *asked.Open {
		t.Errorf("told as open: %+v", asked)
	}
}

// An input_request that was answered by somebody else, interrupted, or whose kernel has died is not shown to those who
// come back.
func TestClosedInputRequestDoesNotComeAgain(t *testing.T) {
	ends := map[string]func(*rig){
		"answered": func(r *rig) {
			m := r.page("").inputRequest()
			other := r.connect("other")
			other.sendWith(string(m.Header), "{}", wire.Message{Channel: wire.Stdin, Content: []byte(`{"value":"x"}`)}, "input_reply")
			other.expect("iopub.status idle")
		},
		"interrupted": func(r *rig) {
			if err := r.api.Interrupt(r.Context()); err != nil {
				r.Fatal(err)
			}
		},
		"died": func(r *rig) {
			r.kernel.Kill()
			r.kernel.Start()
			r.ready(1)
		},
	}
	for name, end := range ends {
		for _, seen := range []bool{true, false} {
			t.Run(fmt.Sprint(name, " seen ", seen), func(t *testing.T) {
				r, _ := waitingRig(t)
				c := r.connect("a")
				c.execute("input()")
				if seen {
					c.receive() // the busy and the request, in either order
					c.receive()
				}
				c.ws.Close()
				r.until("gone and asked", func() bool { return r.status().Connections == 0 && len(r.page("").Messages) >= 3 })
				end(&rig{T: t, kernel: r.kernel, socket: r.socket, api: r.api})
				r.until("closed", func() bool { return !*r.page("").inputRequest().Open })
				r.print("next")
				for who, back := range map[string]*conn{"a": r.connect("a"), "by number": r.connect("new&since=1")} {
					if before := fmt.Sprint(back.expect("iopub.stream next")); strings.Contains(before, "input_request") {
						t.Errorf("%s got %s", who, before)
					}
				}
			})
		}
	}
}

// What comes again does not take a session back to where it was said first.
func TestSessionStaysWhereItWasBehindWhatComesAgain(t *testing.T) {
	r, _ := waitingRig(t)
	c := r.connect("a")
	c.execute("input()")
	r.until("asked", func() bool { return len(r.page("").Messages) == 3 })
	r.print("x")
	c.expect("iopub.stream x")
	c.ws.Close()
	r.until("gone", func() bool { return r.status().Connections == 0 })
	g := r.through(fmt.Sprint("a&since=", r.page("").Last))
	g.messages(1) // never gets any further
	g.slip.Write(receipt.Receipt{Last: true})
	g.raw.Close()
	r.until("gone", func() bool { return r.status().Connections == 0 })
	g = r.through("a") // so it is asked again
	g.slip.Write(receipt.Receipt{Handed: int64(g.messages(1)), Last: true})
	g.raw.Close()
	r.until("gone", func() bool { return r.status().Connections == 0 })
	c = r.connect("a")
	r.print("y")
	if before := c.expect("iopub.stream y"); len(before) != 0 {
		t.Errorf("the session continues with %q", before)
	}
}
