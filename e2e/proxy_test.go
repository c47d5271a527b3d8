//go:build e2e

package e2e_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// proxy passes TCP connections on to a gateway and can do to them what networks do.
type proxy struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	conns []*net.TCPConn // both sides of each connection
	open  chan struct{}  // closed while bytes may pass
	down  bool           // new connections end at once
}

// newProxy makes a proxy before the gateway at a URL and returns it with its own URL.
func newProxy(t *testing.T, url string) (*proxy, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: strings.TrimPrefix(url, "http://"), open: make(chan struct{})}
	close(p.open)
	go p.accept()
	t.Cleanup(func() {
		l.Close()
		p.reset()
	})
	return p, "http://" + l.Addr().String()
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		down := p.down
		p.mu.Unlock()
		if down {
			_ = client.(*net.TCPConn).SetLinger(0) // it may be closed already
			client.Close()
			continue
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client.(*net.TCPConn), server.(*net.TCPConn))
		p.mu.Unlock()
		go p.pass(client, server, true)
		go p.pass(server, client, false)
	}
}

// pass copies bytes until the connection ends. Those towards the client wait while the proxy is a black hole.
func (p *proxy) pass(to io.WriteCloser, from io.Reader, toClient bool) {
	defer to.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if toClient {
			p.mu.Lock()
			open := p.open
			p.mu.Unlock()
			<-open
		}
		if _, werr := to.Write(buffer[:n]); err != nil || werr != nil {
			return
		}
	}
}

// swallow makes the proxy a black hole: nothing reaches the client any more, and nobody is told. reset ends it. What the
// client sends still passes: a pong that says what has arrived.
func (p *proxy) swallow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = make(chan struct{})
}

// cut ends all connections with RST, and new ones too until mend.
func (p *proxy) cut() {
	p.mu.Lock()
	p.down = true
	p.mu.Unlock()
	p.reset()
}

func (p *proxy) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = false
}

// reset cuts all connections with RST, on both sides. New ones pass again.
func (p *proxy) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.conns {
		_ = conn.SetLinger(0) // it may be closed already
		conn.Close()
	}
	p.conns = nil
	select {
	case <-p.open:
	default:
		close(p.open)
	}
}
