package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
)

const subprotocolV1 = "v1.kernel.websocket.jupyter.org"

// readBuffer is larger than usual, so that the client's own system calls do not hide the server's speed.
const (
	readBuffer  = 64 << 10
	smallBuffer = 1 << 10
)

// dialOptions say which of the clients in use a socket is like.
type dialOptions struct {
	v1      bool
	quick   bool   // acknowledges at once (TCP_QUICKACK); an ordinary client leaves that to its operating system
	small   bool   // has small buffers, for many that are idle
	session string // a new one when empty
}

// socket is one client's WebSocket on a kernel's channels. One goroutine uses it.
type socket struct {
	conn    *websocket.Conn
	v1      bool
	session string
	frame   []byte // the last one read; overwritten by the next
}

// message is what the benchmark looks at of a message that is no part of a burst.
type message struct {
	kind, parent string // msg_type, and msg_id of the parent
	content      []byte
}

func dial(ctx context.Context, s *server, kernel string, o dialOptions) (*socket, error) {
	if o.session == "" {
		o.session = uuid.NewString()
	}
	d := websocket.Dialer{ReadBufferSize: readBuffer, HandshakeTimeout: startTime}
	if o.small {
		d.ReadBufferSize, d.WriteBufferSize = smallBuffer, smallBuffer
	}
	if o.v1 {
		d.Subprotocols = []string{subprotocolV1}
	}
	if o.quick {
		d.NetDialContext = dialQuick
	}
	address := strings.Replace(s.url, "http", "ws", 1) + "/api/kernels/" + kernel + "/channels?session_id=" + o.session
	conn, response, err := d.DialContext(ctx, address, http.Header{"Authorization": {"token " + s.token}})
	if err != nil {
		if response != nil {
			err = fmt.Errorf("%w: %s", err, response.Status)
		}
		return nil, fmt.Errorf("connect to %s: %w", s.name, err)
	}
	if o.v1 && conn.Subprotocol() != subprotocolV1 {
		conn.Close()
		return nil, fmt.Errorf("connect to %s: it does not speak the v1 format", s.name)
	}
	return &socket{conn: conn, v1: o.v1, session: o.session}, nil
}

func (s *socket) close() { s.conn.Close() }

// ask sends a request on shell and returns its id.
func (s *socket) ask(kind, content string) (id string, err error) {
	id = uuid.NewString()
	header := fmt.Sprintf(`{"msg_id":%q,"msg_type":%q,"session":%q,"username":"bench","version":"5.3","date":%q}`,
		id, kind, s.session, time.Now().UTC().Format(time.RFC3339Nano))
	if s.v1 {
		err = s.conn.WriteMessage(websocket.BinaryMessage, encodeV1("shell", header, "{}", "{}", content))
	} else {
		err = s.conn.WriteMessage(websocket.TextMessage, fmt.Appendf(nil,
			`{"channel":"shell","header":%s,"parent_header":{},"metadata":{},"content":%s,"buffers":[]}`, header, content))
	}
	if err != nil {
		return "", fmt.Errorf("send %s: %w", kind, err)
	}
	return id, nil
}

// execute sends a cell and returns its id.
func (s *socket) execute(code string) (id string, err error) {
	return s.ask("execute_request", fmt.Sprintf(
		`{"code":%q,"silent":false,"store_history":false,"user_expressions":{},"allow_stdin":false,"stop_on_error":true}`, code))
}

// read reads one frame into s.frame. It waits until the deadline that was set on the connection.
func (s *socket) read() error {
	_, r, err := s.conn.NextReader()
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	s.frame = s.frame[:0]
	for {
		if len(s.frame) == cap(s.frame) {
			s.frame = append(s.frame, 0)[:len(s.frame)]
		}
		n, err := r.Read(s.frame[len(s.frame):cap(s.frame)])
		s.frame = s.frame[:len(s.frame)+n]
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
	}
}

// message decodes the last frame.
func (s *socket) message() (message, error) {
	var header, parent struct {
		ID   string `json:"msg_id"`
		Type string `json:"msg_type"`
	}
	if !s.v1 {
		var m struct {
			Header, Parent_header, Content json.RawMessage
		}
		if err := json.Unmarshal(s.frame, &m); err != nil {
			return message{}, fmt.Errorf("frame: %w", err)
		}
		if err := json.Unmarshal(m.Header, &header); err != nil {
			return message{}, fmt.Errorf("header: %w", err)
		}
		_ = json.Unmarshal(m.Parent_header, &parent) // may be empty
		return message{header.Type, parent.ID, m.Content}, nil
	}
	parts, err := decodeV1(s.frame)
	if err != nil {
		return message{}, err
	}
	if err := json.Unmarshal(parts[1], &header); err != nil {
		return message{}, fmt.Errorf("header: %w", err)
	}
	_ = json.Unmarshal(parts[2], &parent)
	return message{header.Type, parent.ID, parts[4]}, nil
}

// encodeV1 makes a frame of the v1 format: a count of offsets, the offsets, the parts.
func encodeV1(parts ...string) []byte {
	frame := binary.LittleEndian.AppendUint64(nil, uint64(len(parts)+1))
	position := uint64(8 * (len(parts) + 2))
	for _, p := range parts {
		frame = binary.LittleEndian.AppendUint64(frame, position)
		position += uint64(len(p))
	}
	frame = binary.LittleEndian.AppendUint64(frame, position)
	return append(frame, strings.Join(parts, "")...)
}

// decodeV1 returns channel, header, parent, metadata, content and any buffers.
func decodeV1(frame []byte) ([][]byte, error) {
	if len(frame) < 8 {
		return nil, fmt.Errorf("frame of %d bytes", len(frame))
	}
	count := binary.LittleEndian.Uint64(frame)
	if count < 6 || uint64(len(frame)) < 8*(count+1) {
		return nil, fmt.Errorf("frame of %d bytes with %d offsets", len(frame), count)
	}
	parts := make([][]byte, count-1)
	for i := range parts {
		from, to := binary.LittleEndian.Uint64(frame[8*(i+1):]), binary.LittleEndian.Uint64(frame[8*(i+2):])
		if from > to || to > uint64(len(frame)) {
			return nil, fmt.Errorf("part %d from %d to %d of %d bytes", i, from, to, len(frame))
		}
		parts[i] = frame[from:to]
	}
	return parts, nil
}

// awaitReply reads until the reply to a request is there, and its idle if that is wanted too.
func (s *socket) awaitReply(id string, wantIdle bool, limit time.Duration) (reply message, err error) {
	if err := s.conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return message{}, err
	}
	for idle := !wantIdle; reply.kind == "" || !idle; {
		if err := s.read(); err != nil {
			return message{}, err
		}
		m, err := s.message()
		switch {
		case err != nil:
			return message{}, err
		case m.parent != id:
		case strings.HasSuffix(m.kind, "_reply"):
			reply = message{m.kind, m.parent, bytes.Clone(m.content)}
		case isIdle(m):
			idle = true
		}
	}
	return reply, nil
}

func isIdle(m message) bool { return m.kind == "status" && bytes.Contains(m.content, []byte(`"idle"`)) }

// kernelInfo asks for kernel_info and returns how long the reply took.
func (s *socket) kernelInfo(limit time.Duration) (time.Duration, error) {
	start := time.Now()
	id, err := s.ask("kernel_info_request", "{}")
	if err == nil {
		_, err = s.awaitReply(id, false, limit)
	}
	return time.Since(start), err
}

// cell runs a cell and returns how long it took until its reply and its idle were there, and the reply's content.
func (s *socket) cell(code string, limit time.Duration) (time.Duration, []byte, error) {
	start := time.Now()
	id, err := s.execute(code)
	if err != nil {
		return 0, nil, err
	}
	reply, err := s.awaitReply(id, true, limit)
	return time.Since(start), reply.content, err
}

// quickConn acknowledges what it has read at once.
type quickConn struct {
	*net.TCPConn
	raw syscall.RawConn
}

func dialQuick(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := quickConn{TCPConn: conn.(*net.TCPConn)}
	if c.raw, err = c.SyscallConn(); err != nil {
		conn.Close()
		return nil, err
	}
	return c, c.acknowledge()
}

// acknowledge asks for quick acknowledgements, which Linux forgets again after some packets.
func (c quickConn) acknowledge() error {
	var result error
	err := c.raw.Control(func(fd uintptr) {
		result = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
	})
	if err != nil {
		return err
	}
	return result
}

func (c quickConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if err == nil {
		err = c.acknowledge()
	}
	return n, err
}
