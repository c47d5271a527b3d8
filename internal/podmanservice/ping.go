package podmanservice

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	pingTimeout = 5 * time.Second // for connecting and one answer; Podman's first one may take a while
	maxPing     = 4096            // bytes of an answer that are read
)

// Ping asks whether somebody answers on the socket.
func (s *Service) Ping(ctx context.Context) error {
	conn, err := attach(ctx, s.cfg.Socket)
	if err != nil {
		return err
	}
	return conn.Close()
}

// attach returns a connection on which Podman has answered once and will say nothing unasked.
func attach(ctx context.Context, socket string) (*net.UnixConn, error) {
	conn, stop, err := open(ctx, socket)
	if err != nil {
		return nil, err
	}
	status, err := get(conn, "/_ping")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("it answered %d", status)
	}
	if !stop() && err == nil {
		err = context.DeadlineExceeded
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("ping podman: %w", err)
	}
	return conn, nil
}

// open connects. Until stop is called, which reports whether it came in time, what is done on the connection ends with
// ctx and after pingTimeout.
func open(ctx context.Context, socket string) (conn *net.UnixConn, stop func() bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		cancel()
		return nil, nil, fmt.Errorf("dial podman: %w", err)
	}
	stopped := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	return c.(*net.UnixConn), func() bool { defer cancel(); return stopped() }, nil
}

// get performs one request and returns the answer's status.
func get(conn net.Conn, path string) (status int, err error) {
	if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: podman\r\n\r\n"); err != nil {
		return 0, err
	}
	reply, err := http.ReadResponse(bufio.NewReaderSize(conn, maxPing), nil)
	if err != nil {
		return 0, err
	}
	defer reply.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(reply.Body, maxPing))
	return reply.StatusCode, err
}
