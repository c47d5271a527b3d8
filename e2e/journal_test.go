//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// page is an answer of a kernel's journal (docs/journal.md).
type page struct {
	Journal  string `json:"journal"`
	Next     uint64 `json:"next"`
	More     bool   `json:"more"`
	Missed   int    `json:"missed"`
	Messages []struct {
		place
		message
	} `json:"messages"`
}

// place is where in a journal a message is.
type place struct {
	Journal string `json:"journal"`
	Seq     uint64 `json:"seq"`
	CellID  string `json:"cell_id"`
	Open    *bool  `json:"open"`
}

// notebook is a person's page that reads a kernel's journal, under one session or another.
type notebook struct {
	person
	kernel  string
	journal string
	seq     uint64 // of the last message that it has
	wrong   []string
}

// have takes note of a message's place: numbers go up, none comes twice, and what belongs to a cell says so.
func (n *notebook) have(p place, m message, one *cell) {
	if p.Seq <= n.seq {
		n.wrong = append(n.wrong, fmt.Sprintf("%s has number %d behind %d", m.Header.Type, p.Seq, n.seq))
	}
	n.seq = p.Seq
	if want := map[bool]string{true: "cell-" + one.id}[m.Parent.ID == one.id]; p.CellID != want {
		n.wrong = append(n.wrong, fmt.Sprintf("%s belongs to cell %q, not %q", m.Header.Type, p.CellID, want))
	}
	one.take(m)
}

// read reads the journal to its end, in small pages.
func (n *notebook) read(t *testing.T, one *cell) {
	t.Helper()
	for more := true; more; {
		got := n.call(t, "GET", fmt.Sprintf("/api/kernels/%s/journal?since=%d&journal=%s&limit=20", n.kernel, n.seq, n.journal), "")
		var p page
		if err := json.Unmarshal([]byte(got.body), &p); err != nil || got.status != http.StatusOK {
			t.Fatalf("journal: %d %v %.300s", got.status, err, got.body)
		}
		if p.Missed != 0 || n.journal != "" && p.Journal != n.journal {
			t.Errorf("%d messages are missing; journal %s, was %s", p.Missed, p.Journal, n.journal)
		}
		for _, m := range p.Messages {
			n.have(m.place, m.message, one)
		}
		n.journal, n.seq, more = p.Journal, p.Next, p.More
	}
}

// resume opens a WebSocket under a new session where the notebook is.
func (n *notebook) resume(t *testing.T) *channels {
	t.Helper()
	session := randomHex(t, 16)
	c := n.connect(t, n.kernel, fmt.Sprintf("%s&since=%d&journal=%s&seq=1", session, n.seq, n.journal))
	c.session = session
	return c
}

// startIn sends a cell as JupyterLab does, with the id of the cell in the notebook.
func (c *channels) startIn(t *testing.T, code string) *cell {
	t.Helper()
	id := uuid.NewString()
	err := c.conn.WriteJSON(map[string]any{
		"channel":       "shell",
		"header":        map[string]any{"msg_id": id, "msg_type": "execute_request", "session": c.session, "username": "e2e", "version": "5.3"},
		"parent_header": map[string]any{}, "metadata": map[string]any{"cellId": "cell-" + id, "trusted": true},
		"content": map[string]any{"code": code, "allow_stdin": true, "stop_on_error": true},
	})
	if err != nil {
		t.Fatalf("send a cell: %v", err)
	}
	return &cell{id: id}
}

// A page is closed while a cell prints. Whoever opens it again, with a new session, reads what the kernel said from its
// journal and goes on live where that ends: every line once, in order, and the end of the cell. A gateway that is killed
// meanwhile changes nothing.
func TestJournal(t *testing.T) {
	g := startGateway(t, "")
	alice := person{g.url, g.user(t, "alice")}
	n := &notebook{person: alice, kernel: alice.newKernel(t)}

	c := n.connect(t, n.kernel, randomHex(t, 16))
	one := c.startIn(t, counting(600)) // 12 s
	there := &cell{id: one.id}
	c.follow(t, there, cellTime, there.has(50))
	c.conn.Close()
	again := &cell{id: one.id}
	eventually(t, countTime, func() string {
		if n.read(t, again); !again.has(150)() {
			return "the cell has not come to 150"
		}
		return ""
	})
	g.kill(t)
	g.start(t)
	n.read(t, again)
	c = n.resume(t)
	deadline := time.After(countTime)
	for again.status == "" || !again.idle {
		if m := c.next(t, deadline, "the end of the cell"); m.Header.Type != answered {
			n.have(m.Metadata.Place, m, again)
		}
	}
	checkCounted(t, again, 600)
	for _, w := range n.wrong {
		t.Error(w)
	}
	whole := &cell{id: one.id} // from the beginning, all of it from pages
	(&notebook{person: alice, kernel: n.kernel}).read(t, whole)
	checkCounted(t, whole, 600)

	c.conn.Close()
	asksAgain(t, n)
	bob := person{g.url, g.user(t, "bob")}
	bobs := bob.newKernel(t)
	foreign, none := "/api/kernels/%s/journal?since=0", uuid.NewString()
	same(t, alice.call(t, "GET", fill(foreign, bobs), ""), alice.call(t, "GET", fill(foreign, none), ""), bobs, none)
}

// asksAgain lets a cell ask for input, closes its page, and answers from another one.
func asksAgain(t *testing.T, n *notebook) {
	n.read(t, &cell{})
	c := n.resume(t)
	one := c.startIn(t, "print('hello', input('name? '))")
	asked := n.request(t, c)
	c.conn.Close()
	c = n.resume(t) // behind the request, which comes again all the same
	if again := n.request(t, c); again.Header.ID != asked.Header.ID {
		t.Errorf("another request: %+v, was %+v", again.Header, asked.Header)
	}
	err := c.conn.WriteJSON(map[string]any{
		"channel":       "stdin",
		"header":        map[string]any{"msg_id": uuid.NewString(), "msg_type": "input_reply", "session": c.session, "username": "e2e", "version": "5.3"},
		"parent_header": map[string]any{"msg_id": asked.Header.ID, "msg_type": "input_request"}, "metadata": map[string]any{},
		"content": map[string]any{"value": "alice"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.finish(t, one, cellTime); got != "hello alice\n" || one.status != "ok" {
		t.Errorf("the cell says %q and ends with %q", got, one.status)
	}
	other := n.resume(t)
	if got := other.execute(t, "print(1)"); got != "1\n" {
		t.Errorf("the next cell says %q", got)
	}
}

// request reads until the kernel asks for input.
func (n *notebook) request(t *testing.T, c *channels) message {
	t.Helper()
	for deadline := time.After(cellTime); ; {
		m := c.next(t, deadline, "a request for input")
		n.seq = max(n.seq, m.Metadata.Place.Seq)
		if m.Header.Type == "input_request" {
			if p := m.Metadata.Place; p.Open == nil || !*p.Open || p.CellID == "" {
				t.Errorf("the request is at %+v", p)
			}
			return m
		}
	}
}

// The configuration's limits on output reach a kernel's bridge: what exceeds them is left out and counted aloud, and the
// journal keeps no more than it may and says so too.
func TestOutputLimits(t *testing.T) {
	g := startGateway(t, "output: {iopub_msg_rate_limit: 50, rate_limit_window: 1s, journal_messages: 150}")
	alice := person{g.url, g.user(t, "alice")}
	id := alice.newKernel(t)
	c := alice.connect(t, id, randomHex(t, 16))
	got := c.execute(t, "for i in range(300): display(i)")
	var left int
	at := strings.Index(got, "\n[") // behind the notice of the beginning
	if at < 0 {
		t.Fatalf("no notices: %q", got)
	}
	if _, err := fmt.Sscanf(got[at+1:], "[%d messages of output", &left); err != nil || left < 200 || left > 250 || !strings.Contains(got, "iopub_msg_rate_limit") {
		t.Errorf("%d messages of 300 left out by the notice %q (%v)", left, got, err)
	}
	page := alice.expect(t, http.StatusOK, "GET", "/api/kernels/"+id+"/journal", "")
	messages, _ := page["messages"].([]any)
	if missed, _ := page["missed"].(float64); len(messages) != 150 || missed < 150 {
		t.Errorf("a journal of 150 messages has %d, and misses %v", len(messages), missed)
	}
}
