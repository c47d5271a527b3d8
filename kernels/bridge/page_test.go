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

// Pages that nobody takes are few, and of large ones there is one: they hold what the journal may have given up.
func TestPagesUnderWayAreBounded(t *testing.T) {
	r := startedRig(t)
	r.print(strings.Repeat("x", 20<<20))
	for range 10 {
		r.print(strings.Repeat("y", 500<<10)) // more than sockets hold
	}
	r.printed(12)
	ask := func(query string) (conn net.Conn, status string) {
		conn, err := r.dial(context.Background())
		if err == nil {
			err = conn.SetDeadline(time.Now().Add(patience))
		}
		if err == nil {
			_, err = fmt.Fprintf(conn, "GET /api/kernels/a-b-c-d-e/journal?%s HTTP/1.1\r\nHost: bridge\r\n\r\n", query)
		}
		head := make([]byte, len("HTTP/1.1 200"))
		if err == nil {
			_, err = io.ReadFull(conn, head)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn, string(head[9:])
	}
	large, status := ask("since=0")
	if status != "200" {
		t.Fatal(status)
	}
	if _, status := ask("since=0"); status != "503" {
		t.Errorf("a second large page: %s", status)
	}
	for range 3 {
		if _, status := ask("since=2"); status != "200" {
			t.Errorf("a page: %s", status)
		}
	}
	if _, status := ask("since=2"); status != "503" {
		t.Errorf("a fifth page: %s", status)
	}
	large.Close()
	r.until("its place is free", func() bool { _, status := ask("since=12"); return status == "200" })
}
