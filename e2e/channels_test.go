//go:build e2e

package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
)

const (
	cellTime      = 60 * time.Second // for a cell, a kernel's start included
	reconnectTime = 30 * time.Second // until a new WebSocket must be there
	unread        = 100_000          // messages that may wait for the test
)

// answered stands among the messages where a ping came and was answered: the gateway may know that all before it arrived.
const answered = "ping answered"

// message is one kernel message in the JSON format, as far as the tests look at it.
type message struct {
	Channel string `json:"channel"`
	Header  header `json:"header"`
	Parent  header `json:"parent_header"`
	// Metadata has the message's place in the journal when the connection asked for it.
	Metadata struct {
		Place place `json:"cellblock"`
	} `json:"metadata"`
	Content struct {
		Text   string `json:"text"`
		State  string `json:"execution_state"`
		Status string `json:"status"`
	} `json:"content"`
}

type header struct {
	ID   string `json:"msg_id"`
	Type string `json:"msg_type"`
}

// channels is one open WebSocket of a kernel.
type channels struct {
	session  string
	conn     *websocket.Conn
	messages chan message
	ended    error // why no more messages come; to be read after messages is closed
}

// connect opens a kernel's WebSocket under a session id; when that fails it tries again for a while.
func (p person) connect(t *testing.T, id, session string) *channels {
	t.Helper()
	var c *channels
	eventually(t, reconnectTime, func() string {
		var err error
		if c, err = p.dial(id, session); err != nil {
			return err.Error()
		}
		return ""
	})
	t.Cleanup(func() { c.conn.Close() })
	return c
}

func (p person) dial(id, session string) (*channels, error) {
	address := strings.Replace(p.url, "http", "ws", 1) + "/api/kernels/" + id + "/channels?session_id=" + session
	conn, response, err := websocket.DefaultDialer.Dial(address, http.Header{"Authorization": {"token " + p.token}})
	if err != nil {
		if response != nil {
			err = fmt.Errorf("%w: %s", err, response.Status)
		}
		return nil, err
	}
	c := &channels{session: session, conn: conn, messages: make(chan message, unread)}
	pong := conn.PingHandler()
	conn.SetPingHandler(func(payload string) error {
		err := pong(payload)
		c.messages <- message{Header: header{Type: answered}}
		return err
	})
	go c.read()
	return c, nil
}

// read passes on messages until the connection ends.
func (c *channels) read() {
	defer close(c.messages)
	for {
		var m message
		if c.ended = c.conn.ReadJSON(&m); c.ended != nil {
			return
		}
		c.messages <- m
	}
}

// send sends one request on a channel and returns its message id.
func (c *channels) send(t *testing.T, channel, kind string, content map[string]any) string {
	t.Helper()
	id, err := c.request(channel, kind, content)
	if err != nil {
		t.Fatalf("send %s: %v", kind, err)
	}
	return id
}

// request is send for other goroutines than the test's own.
func (c *channels) request(channel, kind string, content map[string]any) (id string, err error) {
	id = uuid.NewString()
	return id, c.conn.WriteJSON(map[string]any{
		"channel":       channel,
		"header":        map[string]any{"msg_id": id, "msg_type": kind, "session": c.session, "username": "e2e", "version": "5.3"},
		"parent_header": map[string]any{}, "metadata": map[string]any{}, "content": content,
	})
}

// next returns the next message. It fails the test when none comes before the deadline or the connection ends.
func (c *channels) next(t *testing.T, deadline <-chan time.Time, waiting string) message {
	t.Helper()
	select {
	case m, open := <-c.messages:
		if !open {
			t.Fatalf("waiting for %s: the connection ended: %v", waiting, c.ended)
		}
		return m
	case <-deadline:
		t.Fatalf("waiting for %s: it did not come in time", waiting)
	}
	return message{}
}

// waitStatus reads until iopub says that the kernel is in that state.
func (c *channels) waitStatus(t *testing.T, state string, limit time.Duration) {
	t.Helper()
	deadline := time.After(limit)
	for {
		m := c.next(t, deadline, "status "+state)
		if m.Header.Type == "status" && m.Content.State == state {
			return
		}
	}
}

// drain reads to the connection's end, for a cell too unless it is nil, and returns the code that the other side closed
// it with; 0 when it went without one.
func (c *channels) drain(t *testing.T, limit time.Duration, one *cell) int {
	t.Helper()
	deadline := time.After(limit)
	for {
		select {
		case m, open := <-c.messages:
			if !open {
				return c.closeCode()
			}
			one.take(m)
		case <-deadline:
			t.Fatal("the connection did not end in time")
		}
	}
}

// confirm reads until a ping has been answered, for a cell too.
func (c *channels) confirm(t *testing.T, one *cell) {
	t.Helper()
	deadline := time.After(endTime)
	for {
		m := c.next(t, deadline, "a ping behind the last message")
		if one.take(m); m.Header.Type == answered {
			return
		}
	}
}

// closeCode is the code with which the other side closed an ended connection; 0 when it went without one.
func (c *channels) closeCode() int {
	var closed *websocket.CloseError
	if errors.As(c.ended, &closed) && closed.Code != websocket.CloseAbnormalClosure {
		return closed.Code
	}
	return 0
}

// take gives a cell what has already arrived.
func (c *channels) take(one *cell) {
	for len(c.messages) > 0 {
		one.take(<-c.messages)
	}
}

// cell is one cell that was sent, with what has come of it so far, over however many connections.
type cell struct {
	id     string
	text   strings.Builder
	status string // of its execute_reply
	idle   bool
}

// start sends a cell.
func (c *channels) start(t *testing.T, code string) *cell {
	t.Helper()
	return &cell{id: c.send(t, "shell", "execute_request", map[string]any{
		"code": code, "silent": false, "store_history": true, "allow_stdin": false, "stop_on_error": true,
		"user_expressions": map[string]any{},
	})}
}

// follow reads what comes of a cell until enough says so.
func (c *channels) follow(t *testing.T, one *cell, limit time.Duration, enough func() bool) {
	t.Helper()
	deadline := time.After(limit)
	for !enough() {
		waiting := fmt.Sprintf("a cell (reply %q, idle %v, text ends %q)", one.status, one.idle, end(one.text.String()))
		m := c.next(t, deadline, waiting)
		one.take(m)
	}
}

// finish reads until the cell has its reply and its idle, and returns its text.
func (c *channels) finish(t *testing.T, one *cell, limit time.Duration) string {
	t.Helper()
	c.follow(t, one, limit, func() bool { return one.status != "" && one.idle })
	return one.text.String()
}

// execute runs one cell to its end and returns its text.
func (c *channels) execute(t *testing.T, code string) string {
	t.Helper()
	return c.finish(t, c.start(t, code), cellTime)
}

// take adds what a message says of this cell, if it does. Nothing happens to a nil cell.
func (one *cell) take(m message) {
	if one == nil || m.Parent.ID != one.id {
		return
	}
	switch m.Header.Type {
	case "stream":
		one.text.WriteString(m.Content.Text)
	case "execute_reply":
		one.status = m.Content.Status
	case "status":
		one.idle = one.idle || m.Content.State == "idle"
	}
}

// end is the end of a long text.
func end(text string) string { return text[max(0, len(text)-60):] }
