package egress

import (
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// kernel is the socket of one kernel, as a listener for http.Server.
type kernel struct {
	Kernel
	*net.UnixListener
	path     string
	proxy    *Proxy
	tenant   *tenant
	requests *rate.Limiter
	lines    *rate.Limiter // of the log

	mu       sync.Mutex
	closed   bool
	clients  map[*client]bool
	flows    map[*flow]bool
	unlogged int
}

// busy is what a kernel reads that has too many connections, before it has asked for anything.
const busy = "HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n" +
	"Content-Length: 63\r\n\r\nCellblock: this kernel has too many connections to its proxy.\r\n"

// Accept implements net.Listener.
func (k *kernel) Accept() (net.Conn, error) {
	for {
		c, err := k.AcceptUnix()
		if err != nil {
			return nil, err
		}
		client := &client{UnixConn: c, kernel: k}
		if k.admit(client) {
			return client, nil
		}
		_ = c.SetWriteDeadline(time.Now().Add(time.Second)) // never waits: it fits into the socket's buffer
		_, _ = io.WriteString(c, busy)
		_ = c.Close()
	}
}

func (k *kernel) admit(c *client) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || len(k.clients) >= maxClients {
		return false
	}
	k.clients[c] = true
	return true
}

// close ends the listener and all connections.
func (k *kernel) close() {
	k.mu.Lock()
	k.closed = true
	var clients []*client
	for c := range k.clients {
		clients = append(clients, c)
	}
	k.mu.Unlock()
	_ = k.UnixListener.Close() // it removes the socket
	for _, f := range k.open() {
		f.end("cut", "the kernel has ended")
	}
	for _, c := range clients {
		_ = c.Close()
	}
}

// open returns the flows that have not ended.
func (k *kernel) open() []*flow {
	k.mu.Lock()
	defer k.mu.Unlock()
	flows := make([]*flow, 0, len(k.flows))
	for f := range k.flows {
		flows = append(flows, f)
	}
	return flows
}

// clientKey is the key of a request's *client in its context.
type clientKey struct{}

// client is a connection from a kernel.
type client struct {
	*net.UnixConn
	kernel *kernel
}

// Close implements net.Conn.
func (c *client) Close() error {
	c.kernel.mu.Lock()
	delete(c.kernel.clients, c)
	c.kernel.mu.Unlock()
	return c.UnixConn.Close()
}

// tenant is what all kernels of one owner share.
type tenant struct {
	mu    sync.Mutex
	flows int
	day   int64 // since 1970, UTC
	bytes int64 // moved on that day
	limit int64 // for bytes; set by the last request that was looked at
}

func (p *Proxy) tenantOf(owner string) *tenant {
	t := p.tenants[owner]
	if t == nil {
		t = &tenant{}
		p.tenants[owner] = t
	}
	return t
}

const secondsPerDay = 24 * 60 * 60

// take reserves a flow; "" or what is used up.
func (t *tenant) take(policy Policy) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limit = policy.bytesPerDay
	switch {
	case t.flows >= policy.flows:
		return "too many connections at once"
	case t.today() >= t.limit:
		return "the bytes of today are used up"
	}
	t.flows++
	return ""
}

func (t *tenant) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flows--
}

// spend counts n bytes and reports whether they were still allowed.
func (t *tenant) spend(n int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes = t.today() + int64(n)
	return t.bytes <= t.limit
}

// today returns the bytes of the present day; t.mu must be held.
func (t *tenant) today() int64 {
	if day := time.Now().Unix() / secondsPerDay; day != t.day {
		t.day, t.bytes = day, 0
	}
	return t.bytes
}
