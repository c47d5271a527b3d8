package redisserver

import (
	"bufio"
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

// ask sends one inline command on a connection of its own and returns the first line of the answer, or io.EOF from a
// server that hangs up instead.
func ask(ctx context.Context, socket, command string) (string, error) {
	conn, err := dial(ctx, socket)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return exchange(conn, command)
}

// shutdown asks the server to flush its file and end, which it does without an answer. It goes on when ctx has ended.
func shutdown(ctx context.Context, socket string) error {
	reply, err := ask(context.WithoutCancel(ctx), socket, "SHUTDOWN")
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("SHUTDOWN refused: %s", reply)
}

// attach returns a connection to a server that answers, whatever it answers: while it loads its data that is an error.
func attach(ctx context.Context, socket string) (net.Conn, error) {
	conn, err := dial(ctx, socket)
	if err != nil {
		return nil, err
	}
	if _, err := exchange(conn, "PING"); err != nil {
		conn.Close()
		return nil, err
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		conn.Close()
		return nil, fmt.Errorf("lift deadline: %w", err)
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
	if _, err := conn.Write([]byte(command + "\r\n")); err != nil {
		return "", fmt.Errorf("send %s: %w", command, err)
	}
	line, err := bufio.NewReaderSize(conn, maxReply).ReadSlice('\n')
	if err != nil {
		return "", fmt.Errorf("answer to %s: %w", command, err)
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}
