package redisserver

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

const (
	askTimeout = 2 * time.Second // for connecting, one question and its answer
	maxReply   = 4096            // bytes of an answer's line
	pong       = "+PONG"         // the answer to PING when data has been loaded
)

// errStranger means that another redis-server than this installation's listens on the socket.
var errStranger = errors.New("another redis-server listens there, or secret.key is another one than it was started with: stop it")

// ask sends one inline command on a connection of its own and returns the first line of the answer, or io.EOF from a
// server that hangs up instead.
func (s *Server) ask(ctx context.Context, command string) (string, error) {
	conn, err := s.login(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return exchange(conn, command)
}

// shutdown asks the server to flush its file and end, which it does without an answer. It goes on when ctx has ended.
func (s *Server) shutdown(ctx context.Context) error {
	reply, err := s.ask(context.WithoutCancel(ctx), "SHUTDOWN")
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("SHUTDOWN refused: %s", reply)
}

// attach returns a connection to a server that answers, whatever it answers: while it loads its data that is an error.
// The server may have been started by another version, so its users are given their present rules.
func (s *Server) attach(ctx context.Context) (net.Conn, error) {
	conn, err := s.login(ctx)
	if err != nil {
		return nil, err
	}
	for _, rules := range users(s.cfg.Key) {
		if reply, err := exchange(conn, "ACL SETUSER "+rules); err != nil || reply != "+OK" {
			conn.Close()
			return nil, fmt.Errorf("set the rules of Redis' users: %q: %w", reply, cmp.Or(err, errStranger))
		}
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		conn.Close()
		return nil, fmt.Errorf("lift deadline: %w", err)
	}
	return conn, nil
}

// login connects as the user that may do everything, with a deadline on all that follows.
func (s *Server) login(ctx context.Context) (net.Conn, error) {
	conn, err := dial(ctx, s.cfg.Socket)
	if err != nil {
		return nil, err
	}
	reply, err := exchange(conn, "AUTH "+adminUser+" "+password(s.cfg.Key, adminUser))
	if err == nil && reply != "+OK" {
		err = fmt.Errorf("%s: %w", s.cfg.Socket, errStranger)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// dial connects, with a deadline on all that follows.
func dial(ctx context.Context, socket string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("dial redis: %w", err)
	}
	if err := conn.SetDeadline(time.Now().Add(askTimeout)); err != nil {
		conn.Close()
		return nil, fmt.Errorf("set deadline: %w", err)
	}
	return conn, nil
}

func exchange(conn net.Conn, command string) (string, error) {
	word, _, _ := strings.Cut(command, " ") // the rest may be a password
	if _, err := conn.Write([]byte(command + "\r\n")); err != nil {
		return "", fmt.Errorf("send %s: %w", word, err)
	}
	line, err := bufio.NewReaderSize(conn, maxReply).ReadSlice('\n')
	if err != nil {
		return "", fmt.Errorf("answer to %s: %w", word, err)
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}
