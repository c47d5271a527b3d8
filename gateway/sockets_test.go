package gateway_test

import (
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"cellblock.io/cellblock/gateway"
)

func TestNoDelayOnEveryConnection(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := &watchedListener{Listener: inner}
	l := serveOn(t, ln, func(c *gateway.Config) { c.Dial = onSocket(t, echo) })
	l.dial = func() (net.Conn, error) { return net.Dial("tcp", ln.Addr().String()) }
	l.open(t, nil, "x").expect(t, "x")
	raw, err := ln.last().SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		for name, option := range map[string][2]int{
			"TCP_NODELAY": {syscall.IPPROTO_TCP, syscall.TCP_NODELAY}, "SO_KEEPALIVE": {syscall.SOL_SOCKET, syscall.SO_KEEPALIVE},
		} {
			if on, err := syscall.GetsockoptInt(int(fd), option[0], option[1]); err != nil || on == 0 {
				t.Errorf("%s is %d, %v", name, on, err)
			}
		}
	}); err != nil {
		t.Error(err)
	}
}

// watchedListener remembers the last connection.
type watchedListener struct {
	net.Listener
	mu   sync.Mutex
	conn *net.TCPConn
}

func (l *watchedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		l.mu.Lock()
		l.conn = tcp
		l.mu.Unlock()
	}
	return c, err
}

func (l *watchedListener) last() *net.TCPConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn
}

func TestConnectingAndLeavingLeaksNothing(t *testing.T) {
	l := serve(t, func(c *gateway.Config) { c.Dial = onSocket(t, echo) })
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	l.open(t, nil, "x").expect(t, "x")
	before := open()
	for range 300 {
		c := l.open(t, nil, "x")
		c.expect(t, "x")
		_ = c.Close()
	}
	until(t, "as few descriptors as before", func() bool { return open() <= before })
	until(t, "one open WebSocket", func() bool {
		return strings.Contains(l.from("127.0.0.1:1", "GET", "/metrics", "", nil).Body.String(), "cellblock_websockets_open 1\n")
	})
}
