package bridge_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"

	"cellblock.io/cellblock/kernels/kernelstest"
	"cellblock.io/cellblock/kernels/wire"
)

// place is what a message says of its place in the journal.
type place struct {
	Journal    string `json:"journal"`
	Seq        uint64 `json:"seq"`
	Generation int    `json:"generation"`
	CellID     string `json:"cell_id"`
	Missed     int    `json:"missed"`
	Open       *bool  `json:"open"`
}

// page is a bridge's answer about its journal.
type page struct {
	Journal           string
	Since, Next, Last uint64
	More              bool
	Missed            int
	Messages          []pageMessage
}

type pageMessage struct {
	place
	message
	Buffers [][]byte `json:"buffers"`
}

// get asks the bridge over HTTP.
func (r *rig) get(path string) (status int, body []byte) {
	r.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return r.dial(ctx) }}
	answer, err := (&http.Client{Transport: transport, Timeout: patience}).Get("http://bridge" + path)
	if err != nil {
		r.Fatal(err)
	}
	defer answer.Body.Close()
	if body, err = io.ReadAll(answer.Body); err != nil {
		r.Fatal(err)
	}
	if int64(len(body)) != answer.ContentLength {
		r.Errorf("%d bytes, announced %d", len(body), answer.ContentLength)
	}
	return answer.StatusCode, body
}

// page reads one page of the journal.
func (r *rig) page(query string) page {
	r.Helper()
	status, body := r.get("/api/kernels/a-b-c-d-e/journal?" + query)
	var p page
	if err := json.Unmarshal(body, &p); err != nil || status != http.StatusOK {
		r.Fatalf("%d %v in %.300s", status, err, body)
	}
	return p
}

// shorts are the page's messages in a word each.
func (p page) shorts() (all []string) {
	for _, m := range p.Messages {
		all = append(all, m.short())
	}
	return all
}

// inputRequest is the page's only one.
func (p page) inputRequest() pageMessage {
	for _, m := range p.Messages {
		if m.MsgType == "input_request" {
			return m
		}
	}
	return pageMessage{}
}

func (r *rig) print(text string) {
	r.kernel.Publish("stream", nil, map[string]string{"name": "stdout", "text": text})
}

// printed waits until the bridge has n messages in its journal.
func (r *rig) printed(n uint64) {
	r.Helper()
	r.until("in the journal", func() bool { return r.page("limit=1").Last >= n })
}

func TestJournalInPages(t *testing.T) {
	r := startedRig(t) // says idle
	for i := range 25 {
		r.print(fmt.Sprint(i))
	}
	r.printed(26)
	var lines []string
	var p page
	for since := uint64(0); ; since = p.Next {
		if p = r.page(fmt.Sprintf("since=%d&limit=10", since)); p.Since != since || p.Last != 26 || p.Missed != 0 || p.Journal == "" {
			t.Errorf("page %+v", p)
		}
		for i, m := range p.Messages {
			if m.Seq != since+uint64(i)+1 || m.Generation != 1 || m.MsgID == "" || m.Open != nil {
				t.Errorf("message %+v", m)
			}
			lines = append(lines, m.short())
		}
		if !p.More {
			break
		}
	}
	want := []string{"iopub.status idle"}
	for i := range 25 {
		want = append(want, fmt.Sprint("iopub.stream ", i))
	}
	if !reflect.DeepEqual(lines, want) || p.Next != 26 {
		t.Errorf("%q, next %d", lines, p.Next)
	}
	if p = r.page("since=26&journal=" + p.Journal); len(p.Messages) != 0 || p.More || p.Next != 26 {
		t.Errorf("behind the end: %+v", p)
	}
}

// A number of another journal means nothing here, and all that is here is new.
func TestJournalOfAnotherBridgeBeginsAnew(t *testing.T) {
	r := startedRig(t)
	r.print("x")
	r.printed(2)
	for _, query := range []string{"since=1&journal=another", "since=3", "since=18446744073709551615"} {
		if p := r.page(query); p.Since != 0 || len(p.Messages) != 2 {
			t.Errorf("%s: %+v", query, p)
		}
		c := r.connectAsking("&seq=1&" + query)
		if got := c.receive().short(); got != "iopub.status idle" {
			t.Errorf("%s begins with %s", query, got)
		}
	}
}

func TestJournalRefuses(t *testing.T) {
	r := startedRig(t)
	for query, word := range map[string]string{
		"since=": "since", "since=-1": "since", "since=1.5": "since", "since=18446744073709551616": "since", "since=x": "since",
		"limit=0": "limit", "limit=1001": "limit", "limit=": "limit", "limit=all": "limit", "seq=2": "seq",
	} {
		status, body := r.get("/api/kernels/a-b-c-d-e/journal?" + query)
		var refusal struct{ Message, Reason string }
		if err := json.Unmarshal(body, &refusal); err != nil || status != 400 || !strings.HasPrefix(refusal.Message, word+" must be") {
			t.Errorf("%s: %d %s %v", query, status, body, err)
		}
	}
	if status, _ := r.get("/api/kernels/b-b-c-d-e/journal?since=0"); status != 404 {
		t.Errorf("another kernel's: %d", status)
	}
}

// What a kernel says goes into pages as it is, buffers too, and one message that is larger than a page has one.
func TestJournalOfLargeAndBinaryMessages(t *testing.T) {
	r := startedRig(t)
	m := r.kernel.Message(wire.IOPub, "comm_msg", []byte(`{"msg_id":"p"}`), map[string]string{"text": "</script>\u2028"})
	m.Metadata = []byte(` {"seq": "forged", "cellblock": {"seq": 7}} `)
	m.Buffers = [][]byte{{0xff, 0}, {}, bytes.Repeat([]byte{7}, 100_000)}
	r.kernel.Send(wire.IOPub, r.kernel.Frames(m))
	large := strings.Repeat("x", 5<<20)
	for range 2 {
		r.print(large)
	}
	r.printed(4)
	p := r.page("since=1")
	if len(p.Messages) != 2 || !p.More || p.Next != 3 {
		t.Fatalf("%d messages, next %d", len(p.Messages), p.Next)
	}
	got := p.Messages[0]
	if got.Seq != 2 || !reflect.DeepEqual(got.Buffers, m.Buffers) || got.message.Parent.MsgID != "p" || got.Content.Text != "</script>\u2028" {
		t.Errorf("%+v", got.place)
	}
	if p = r.page("since=3"); len(p.Messages) != 1 || p.Messages[0].Content.Text != large || p.More {
		t.Errorf("%d messages", len(p.Messages))
	}
}

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
	for name, back := range map[string]*conn{"same session": c, "by number": resumed} {
		if got := []string{back.receive().short(), back.receive().short()}; !reflect.DeepEqual(got, []string{"stdin.input_request name?", "iopub.stream meanwhile"}) {
			t.Errorf("%s begins with %q", name, got)
		}
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
