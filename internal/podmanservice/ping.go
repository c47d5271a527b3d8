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

// ping asks whether somebody answers.
func ping(ctx context.Context, socket string) error {
	conn, err := attach(ctx, socket)
	if err != nil {
		return err
	}
	return conn.Close()
}

// attach returns a connection on which Podman has answered once and will say nothing unasked.
func attach(ctx context.Context, socket string) (*net.UnixConn, error) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("dial podman: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	err = exchange(conn)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("ping podman: %w", err)
	}
	return conn.(*net.UnixConn), nil
}

func exchange(conn net.Conn) error {
	if _, err := io.WriteString(conn, "GET /_ping HTTP/1.1\r\nHost: podman\r\n\r\n"); err != nil {
		return err
	}
	reply, err := http.ReadResponse(bufio.NewReaderSize(conn, maxPing), nil)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", reply.Status)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(reply.Body, maxPing))
	return err
}
