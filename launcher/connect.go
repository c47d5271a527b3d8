package launcher

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"cellblock.io/cellblock/internal/unixsocket"
	"cellblock.io/cellblock/kernels"
)

// passed is the answer that a descriptor comes with.
const passed = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

// connect connects to a kernel's bridge and passes the open connection on.
func (s *Server) connect(w http.ResponseWriter, r *http.Request) {
	question, err := read[kernelQuestion](w, r)
	if err == nil && !kernels.ValidHandle(question.Handle) {
		err = fmt.Errorf("%w: handle %.80q", kernels.ErrInvalid, question.Handle)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), quickLimit)
	defer cancel()
	bridge, err := s.cfg.Engine.Dial(ctx, question.Handle)
	if err != nil {
		refuse(w, err)
		return
	}
	defer bridge.Close() // the other side has its own descriptor of it then
	socket, ok := bridge.(*net.UnixConn)
	if !ok {
		refuse(w, fmt.Errorf("the connection to a bridge is a %T", bridge))
		return
	}
	taken, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		refuse(w, err)
		return
	}
	defer taken.Close()
	if err := pass(taken, socket); err != nil {
		s.cfg.Log.Debug("pass a connection on", "handle", question.Handle, "err", err)
	}
}

// pass answers on a connection with another one.
func pass(to net.Conn, socket *net.UnixConn) error {
	asker, ok := to.(*guest)
	if !ok {
		return fmt.Errorf("a %T passes no descriptors", to)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	if err := asker.SetDeadline(time.Now().Add(passLimit)); err != nil {
		return err
	}
	var sent error
	err = raw.Control(func(fd uintptr) { _, _, sent = asker.WriteMsgUnix([]byte(passed), unixsocket.Pass(fd), nil) })
	return errors.Join(err, sent)
}

// Dial connects to the bridge of a kernel. The connection is a *net.UnixConn; the other side made it and has no part in
// it any more. Errors: kernels.ErrInvalid for a handle that is none; kernels.ErrUnavailable while no bridge listens, and
// while the launcher does not answer.
func (c *Client) Dial(ctx context.Context, handle string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, quickLimit)
	defer cancel()
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, lost(ctx, "connect to the bridge of kernel "+handle, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	question, err := newRequest(ctx, "connect", kernelQuestion{handle})
	if err != nil {
		return nil, err
	}
	if err := question.Write(conn); err != nil {
		return nil, lost(ctx, "ask for the bridge of kernel "+handle, err)
	}
	bridge, err := receive(conn)
	if err != nil {
		return nil, lost(ctx, "connect to the bridge of kernel "+handle, err)
	}
	return bridge, nil
}

// receive reads the answer to connect. Whatever else comes with it is closed.
func receive(conn *net.UnixConn) (net.Conn, error) {
	head, room := make([]byte, maxHead), unixsocket.Room()
	n, controls, _, _, err := conn.ReadMsgUnix(head, room)
	file := unixsocket.Passed(room[:controls])
	if file != nil {
		defer file.Close()
	}
	if err != nil {
		return nil, err
	}
	rest := io.MultiReader(bytes.NewReader(head[:n]), conn)
	answer, err := http.ReadResponse(bufio.NewReader(io.LimitReader(rest, 2*maxHead)), nil)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, refusal(answer.Body)
	}
	if file == nil {
		return nil, errors.New("the launcher passed no connection")
	}
	bridge, err := net.FileConn(file) // which has a descriptor of its own
	if err != nil {
		return nil, fmt.Errorf("take a connection: %w", err)
	}
	if bridge.LocalAddr().Network() != "unix" {
		bridge.Close()
		return nil, errors.New("the launcher passed something else than a connection to a bridge")
	}
	return bridge, nil
}

// refusal reads the error in an answer.
func refusal(body io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(body, maxFailure))
	if err != nil {
		return err
	}
	var f failure
	if err := json.Unmarshal(text, &f); err != nil || f.Text == "" {
		return fmt.Errorf("not an answer of a launcher: %.200q", text)
	}
	return &answered{f.error()}
}

// answered is an error that the other side gave: it knows what it did.
type answered struct{ error }

// Unwrap returns the error.
func (a *answered) Unwrap() error { return a.error }
