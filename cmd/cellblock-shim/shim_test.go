package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// echo is a proxy that says everything twice when the other side has ended.
func echo(t *testing.T) (socket string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "shim")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket = filepath.Join(dir, "s")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				all, _ := io.ReadAll(c)
				fmt.Fprintf(c, "%s%s", all, all)
			}()
		}
	}()
	return socket
}

// shim serves a socket and returns its address.
func shim(t *testing.T, socket string) string {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- serveOn(ln, socket) }()
	t.Cleanup(func() {
		ln.Close()
		if err := <-done; err == nil {
			t.Error("it ends without an error")
		}
	})
	return ln.Addr().String()
}

func ask(t *testing.T, address string, text []byte) []byte {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = c.Write(text)
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestEveryByteIsCarriedBothWays(t *testing.T) {
	address := shim(t, echo(t))
	for _, size := range []int{0, 1, 1 << 20} {
		text := bytes.Repeat([]byte("x"), size)
		if got := ask(t, address, text); len(got) != 2*size {
			t.Errorf("%d bytes of %d", len(got), 2*size)
		}
	}
}

func TestWithoutAProxyAPersonIsTold(t *testing.T) {
	address := shim(t, filepath.Join(t.TempDir(), "nobody"))
	if got := string(ask(t, address, []byte("x"))); !strings.HasPrefix(got, "HTTP/1.1 502 ") || !strings.HasSuffix(got, unreachable) {
		t.Errorf("%q", got)
	}
}

func TestMoreConnectionsThanTheProxyTakesWait(t *testing.T) {
	address := shim(t, echo(t))
	var held []net.Conn
	for range maxConns {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	answered := make(chan []byte, 1)
	go func() { answered <- ask(t, address, []byte("late")) }()
	for _, c := range held {
		c.Close()
	}
	if got := <-answered; string(got) != "latelate" {
		t.Errorf("%q", got)
	}
}

func TestCommandLines(t *testing.T) {
	for _, tt := range []struct {
		args   []string
		status int
		want   string
	}{
		{nil, exitUsage, "usage"},
		{[]string{"--"}, exitUsage, "usage"},
		{[]string{"kernel"}, exitUsage, `unknown argument "kernel"`},
		{[]string{"--proxy"}, exitUsage, "unknown argument"},
		{[]string{"--", "/no/such/program"}, exitNotFound, "/no/such/program"},
		{[]string{"--filtered", "--", "/bin/true"}, exitCannotRun, "the packet filter is not in force"},
	} {
		if status, err := run(tt.args); status != tt.status || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %d, %v", tt.args, status, err)
		}
	}
}
