//go:build e2e

package e2e_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
)

const subprotocolV1 = "v1.kernel.websocket.jupyter.org"

// peer is a client that sees whole messages, buffers included, in either format. It reads only when it is asked to.
type peer struct {
	*testing.T
	conn    *websocket.Conn
	session string
	v1      bool
	binary  int // binary frames that came
}

// parts is one kernel message with its parts as they came.
type parts struct {
	Channel   string          `json:"channel"`
	ID        string          `json:"msg_id"`   // the JSON format's own, beside the header's
	Type      string          `json:"msg_type"` // the same
	RawHeader json.RawMessage `json:"header"`
	Parent    header          `json:"parent_header"`
	Content   json.RawMessage `json:"content"`
	Header    fullHeader      `json:"-"`
	Buffers   [][]byte        `json:"-"`
}

// fullHeader has all that clients read of a message's header.
type fullHeader struct {
	ID       string `json:"msg_id"`
	Type     string `json:"msg_type"`
	Session  string `json:"session"`
	Username string `json:"username"`
	Version  string `json:"version"`
}

// peer connects with one WebSocket that offers these subprotocols.
func (p person) peer(t *testing.T, kernel, session string, offered ...string) *peer {
	t.Helper()
	dialer := websocket.Dialer{Subprotocols: offered, HandshakeTimeout: reconnectTime}
	address := strings.Replace(p.url, "http", "ws", 1) + "/api/kernels/" + kernel + "/channels?session_id=" + session
	conn, _, err := dialer.Dial(address, http.Header{"Authorization": {"token " + p.token}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &peer{T: t, conn: conn, session: session, v1: conn.Subprotocol() == subprotocolV1}
}

// request is one message that a peer sends.
type request struct {
	channel, kind string
	content       any
	buffers       [][]byte
	parent        json.RawMessage
	subshell      string
}

// write sends a request in the peer's format and returns its message id.
func (p *peer) write(r request) string {
	p.Helper()
	id := uuid.NewString()
	head := map[string]any{"msg_id": id, "msg_type": r.kind, "session": p.session, "username": "e2e", "version": "5.3",
		"date": time.Now().UTC().Format(time.RFC3339Nano)}
	if r.subshell != "" {
		head["subshell_id"] = r.subshell
	}
	if r.parent == nil {
		r.parent = json.RawMessage("{}")
	}
	if r.content == nil {
		r.content = struct{}{}
	}
	kind, frame := websocket.BinaryMessage, []byte(nil)
	switch {
	case p.v1:
		frame = v1Frame(append([][]byte{[]byte(r.channel), p.json(head), r.parent, []byte("{}"), p.json(r.content)}, r.buffers...))
	default:
		frame = p.json(map[string]any{"channel": r.channel, "header": head, "parent_header": r.parent, "metadata": struct{}{},
			"content": r.content})
		if kind = websocket.TextMessage; len(r.buffers) > 0 {
			kind, frame = websocket.BinaryMessage, legacyFrame(append([][]byte{frame}, r.buffers...))
		}
	}
	p.send(kind, frame)
	return id
}

func (p *peer) send(kind int, frame []byte) {
	p.Helper()
	if err := p.conn.WriteMessage(kind, frame); err != nil {
		p.Fatalf("write: %v", err)
	}
}

func (p *peer) json(v any) []byte {
	p.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		p.Fatal(err)
	}
	return raw
}

// execute sends a cell that may ask for input.
func (p *peer) execute(code string) string {
	p.Helper()
	return p.write(request{channel: "shell", kind: "execute_request", content: cellOf(code)})
}

func cellOf(code string) map[string]any {
	return map[string]any{"code": code, "silent": false, "store_history": true, "allow_stdin": true, "stop_on_error": true,
		"user_expressions": map[string]any{}}
}

// next reads one message before the deadline.
func (p *peer) next(deadline time.Time, waiting string) parts {
	p.Helper()
	m, err := p.read(deadline)
	if err != nil {
		p.Fatalf("waiting for %s: %v", waiting, err)
	}
	return m
}

func (p *peer) read(deadline time.Time) (m parts, err error) {
	if err := p.conn.SetReadDeadline(deadline); err != nil {
		return m, err
	}
	kind, frame, err := p.conn.ReadMessage()
	if err != nil {
		return m, err
	}
	if kind == websocket.BinaryMessage {
		p.binary++
	}
	switch {
	case p.v1 && kind != websocket.BinaryMessage:
		return m, errors.New("a text frame on a v1 connection")
	case p.v1:
		m, err = fromV1(frame)
	case kind == websocket.BinaryMessage:
		m, err = fromLegacy(frame)
	default:
		err = json.Unmarshal(frame, &m)
	}
	if err == nil {
		err = json.Unmarshal(m.RawHeader, &m.Header)
	}
	if err == nil && !p.v1 && (m.ID == "" || m.ID != m.Header.ID || m.Type == "" || m.Type != m.Header.Type || m.Channel == "") {
		err = fmt.Errorf("top level has id %q, type %q, channel %q, and the header %+v", m.ID, m.Type, m.Channel, m.Header)
	}
	return m, err
}

// until reads until a message is the one.
func (p *peer) until(limit time.Duration, waiting string, is func(parts) bool) parts {
	p.Helper()
	for deadline := time.Now().Add(limit); ; {
		if m := p.next(deadline, waiting); is(m) {
			return m
		}
	}
}

// result is what came of one request, in the order of its coming.
type result struct {
	text  string // of streams
	reply parts
}

// finish reads until a request has its reply and its idle.
func (p *peer) finish(id string, limit time.Duration) (r result) {
	p.Helper()
	replied, idle := false, false
	for deadline := time.Now().Add(limit); !replied || !idle; {
		m := p.next(deadline, fmt.Sprintf("a request's end (reply %v, idle %v)", replied, idle))
		if m.Parent.ID != id {
			continue
		}
		switch {
		case m.Header.Type == "stream":
			r.text += m.field(p.T, "text")
		case m.Channel != "iopub" && m.Channel != "stdin":
			replied, r.reply = true, m
		case m.is("idle"):
			idle = true
		}
	}
	return r
}

// run executes a cell to its end.
func (p *peer) run(code string) result {
	p.Helper()
	return p.finish(p.execute(code), cellTime)
}

// closed reads to the connection's end and returns its close code.
func (p *peer) closed(limit time.Duration) int {
	p.Helper()
	for deadline := time.Now().Add(limit); ; {
		var end *websocket.CloseError
		if _, err := p.read(deadline); errors.As(err, &end) {
			return end.Code
		} else if err != nil {
			p.Fatalf("the connection ended without a close code: %v", err)
		}
	}
}

// is reports whether a message is a status of that state.
func (m parts) is(state string) bool {
	var content struct {
		State string `json:"execution_state"`
	}
	return m.Header.Type == "status" && json.Unmarshal(m.Content, &content) == nil && content.State == state
}

// field is one string in a message's content.
func (m parts) field(t *testing.T, name string) string {
	t.Helper()
	var content map[string]any
	if err := json.Unmarshal(m.Content, &content); err != nil {
		t.Fatal(err)
	}
	value, _ := content[name].(string)
	return value
}

// v1Frame joins the parts of a message: 64-bit little-endian numbers, how many offsets there are, and where each part
// begins and the last one ends.
func v1Frame(pieces [][]byte) []byte {
	n := len(pieces) + 1
	frame := binary.LittleEndian.AppendUint64(nil, uint64(n))
	at := 8 * (n + 1)
	for _, piece := range append(pieces, nil) {
		frame = binary.LittleEndian.AppendUint64(frame, uint64(at))
		at += len(piece)
	}
	return append(frame, bytes.Join(pieces, nil)...)
}

func fromV1(frame []byte) (m parts, err error) {
	n := int(binary.LittleEndian.Uint64(frame))
	offset := func(i int) uint64 { return binary.LittleEndian.Uint64(frame[8*(i+1):]) }
	piece := func(i int) []byte { return frame[offset(i):offset(i+1)] }
	if n < 6 || offset(n-1) != uint64(len(frame)) || offset(0) != uint64(8*(n+1)) {
		return m, fmt.Errorf("v1 frame of %d bytes with %d offsets", len(frame), n)
	}
	m.Channel, m.RawHeader, m.Content = string(piece(0)), piece(1), piece(4)
	for i := 5; i < n-1; i++ {
		m.Buffers = append(m.Buffers, piece(i))
	}
	return m, json.Unmarshal(piece(2), &m.Parent)
}

// legacyFrame joins the envelope and the buffers: 32-bit big-endian numbers, how many pieces there are, and where each
// begins.
func legacyFrame(pieces [][]byte) []byte {
	frame := binary.BigEndian.AppendUint32(nil, uint32(len(pieces)))
	at := 4 * (len(pieces) + 1)
	for _, piece := range pieces {
		frame = binary.BigEndian.AppendUint32(frame, uint32(at))
		at += len(piece)
	}
	return append(frame, bytes.Join(pieces, nil)...)
}

func fromLegacy(frame []byte) (m parts, err error) {
	n := int(binary.BigEndian.Uint32(frame))
	offset := func(i int) uint32 {
		if i == n {
			return uint32(len(frame))
		}
		return binary.BigEndian.Uint32(frame[4*(i+1):])
	}
	if n < 2 || offset(0) != uint32(4*(n+1)) {
		return m, fmt.Errorf("binary frame of %d bytes in %d pieces", len(frame), n)
	}
	for i := 1; i < n; i++ {
		m.Buffers = append(m.Buffers, frame[offset(i):offset(i+1)])
	}
	return m, json.Unmarshal(frame[offset(0):offset(1)], &m)
}
