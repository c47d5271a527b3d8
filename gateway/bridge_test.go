package gateway_test

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cellblock.io/cellblock/gateway"
	"cellblock.io/cellblock/kernels"
)

// dialFunc is how the gateway reaches bridges.
type dialFunc = func(context.Context, string) (net.Conn, error)

// visit is one connection to a double of a bridge, after its request's head.
type visit struct {
	net.Conn
	in  *bufio.Reader
	req *http.Request
}

// accept upgrades the connection, with more header lines if wanted.
func (v visit) accept(lines ...string) {
	sum := sha1.Sum([]byte(v.req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	head := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nServer: secret/1\r\nSet-Cookie: a=b\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n"
	for _, l := range lines {
		head += l + "\r\n"
	}
	_, _ = io.WriteString(v, head+"\r\n")
}

// echo upgrades and sends back what comes.
func echo(v visit) {
	v.accept()
	_, _ = io.Copy(v, v.in)
}

// met reads the request's head and lets do play the bridge.
func met(conn net.Conn, do func(visit)) {
	defer conn.Close()
	if socket, ok := conn.(*net.UnixConn); ok {
		conn = &slipConn{UnixConn: socket}
	}
	in := bufio.NewReader(conn)
	req, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	do(visit{conn, in, req})
}

// onSocket makes a bridge on a Unix socket, which ends with the test and takes leave of nobody.
func onSocket(t testing.TB, do func(visit)) dialFunc {
	t.Helper()
	return onSocketWithLeaves(t, func(v visit) {
		if strings.HasPrefix(v.req.URL.Path, kernels.LeavePath) {
			_, _ = io.WriteString(v, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
			return
		}
		do(v)
	})
}

// onSocketWithLeaves is onSocket for a bridge that is asked to take leave as well.
func onSocketWithLeaves(t testing.TB, do func(visit)) dialFunc {
	t.Helper()
	dir, err := os.MkdirTemp("", "gw") // shorter than the test's own: a socket's path is
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			wg.Go(func() { met(conn, do) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
		_ = os.RemoveAll(dir)
	})
	return func(ctx context.Context, handle string) (net.Conn, error) {
		if handle != "handle-"+aliceKernel {
			return nil, fmt.Errorf("dialled %s", handle)
		}
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
}

// inMemory makes a bridge on an in-memory connection, for tests with a clock of their own.
func inMemory(t testing.TB, do func(visit)) dialFunc {
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	return func(context.Context, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		wg.Go(func() { met(theirs, do) })
		return ours, nil
	}
}

// live is a gateway that serves.
type live struct {
	*rig
	ln    net.Listener
	stop  context.CancelFunc
	ended chan error
	dial  func() (net.Conn, error)
}

// serve runs a gateway on a TCP port until the test ends.
func serve(t testing.TB, change func(*gateway.Config)) *live {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := serveOn(t, ln, change)
	l.dial = func() (net.Conn, error) { return net.Dial("tcp", ln.Addr().String()) }
	return l
}

func serveOn(t testing.TB, ln net.Listener, change func(*gateway.Config)) *live {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	l := &live{rig: newRig(t, change), ln: ln, stop: stop, ended: make(chan error, 1)}
	go func() {
		l.ended <- l.Run(ctx, ln)
		close(l.ended)
	}()
	t.Cleanup(func() {
		stop()
		for range l.ended {
		}
	})
	return l
}

// memoryListener accepts in-memory connections.
type memoryListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newMemoryListener() *memoryListener {
	return &memoryListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *memoryListener) Addr() net.Addr { return &net.UnixAddr{Net: "memory", Name: "@"} }

func (l *memoryListener) dial() (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// serveInMemory is serve for tests with a clock of their own.
func serveInMemory(t testing.TB, change func(*gateway.Config)) *live {
	t.Helper()
	ln := newMemoryListener()
	l := serveOn(t, ln, change)
	l.dial = ln.dial
	return l
}

// client is a raw connection to a gateway.
type client struct {
	net.Conn
	in   *bufio.Reader
	resp *http.Response
}

const channelsPath = "/api/kernels/" + aliceKernel + "/channels?session_id=s1"

// open sends an upgrade request of alice's, with more behind its head, and reads the answer's head.
func (l *live) open(t testing.TB, h header, behind string) *client {
	t.Helper()
	return l.openAt(t, channelsPath, append(h, alice...), behind)
}

func (l *live) openAt(t testing.TB, path string, h header, behind string) *client {
	t.Helper()
	conn, err := l.dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	head := "GET " + path + " HTTP/1.1\r\nHost: example.com\r\n"
	h = append(h, upgrade...)
	for i := 0; i+1 < len(h); i += 2 {
		head += h[i] + ": " + h[i+1] + "\r\n"
	}
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute)) // a hang fails the test
	if _, err := io.WriteString(conn, head+"\r\n"+behind); err != nil {
		t.Fatal(err)
	}
	c := &client{Conn: conn, in: bufio.NewReader(conn)}
	if c.resp, err = http.ReadResponse(c.in, nil); err != nil {
		t.Fatal(err)
	}
	return c
}

// expect reads exactly what is wanted.
func (c *client) expect(t testing.TB, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c.in, got); err != nil || string(got) != want {
		t.Errorf("got %.100q (%v), want %.100q", got, err, want)
	}
}

// until polls.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}
