package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// flowKey is the key of a request's *flow in its context.
type flowKey struct{}

// flow is one connection from a kernel to a server, from the request on that asks for it.
type flow struct {
	kernel    *kernel
	client    *client
	method    string
	target    target
	permitted []netip.Prefix
	addresses []netip.Addr // looked up and allowed
	begun     time.Time
	moved     atomic.Int64 // when something moved last, in nanoseconds since 1970
	sent      atomic.Int64
	received  atomic.Int64

	greeting sync.Mutex // guards hello: one goroutine writes, but the sweep looks
	hello    hello

	mu    sync.Mutex
	conn  *net.TCPConn
	addr  netip.Addr
	ended bool
}

// dialFlow connects for the request whose flow is in ctx. It is all that goproxy can dial.
func (p *Proxy) dialFlow(ctx context.Context, _, _ string) (net.Conn, error) {
	f, ok := ctx.Value(flowKey{}).(*flow)
	if !ok {
		return nil, errors.New("a request that nobody has looked at")
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var errs []error
	for _, a := range f.addresses {
		conn, err := p.dial(ctx, f, netip.AddrPortFrom(a, f.target.port))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !f.connected(conn, a) {
			conn.Close()
			return nil, net.ErrClosed
		}
		return flowConn{f, conn}, nil
	}
	err := errors.Join(errs...)
	f.end("failed", err.Error())
	return nil, err
}

// dialChecked connects to one address, which it looks at once more at the last moment.
func (p *Proxy) dialChecked(ctx context.Context, f *flow, to netip.AddrPort) (*net.TCPConn, error) {
	dialer := net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
		last, err := netip.ParseAddrPort(address)
		if err != nil || last != to {
			return errors.New("dialled another address than " + to.String())
		}
		if reason := p.gate()(last.Addr(), f.permitted); reason != "" {
			return errors.New(reason)
		}
		return nil
	}}
	conn, err := dialer.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// gate says in a few words why an address may not be reached; "" means it may.
type gate func(a netip.Addr, permitted []netip.Prefix) string

// gate asks the system for this machine's addresses, once for all that the gate is asked.
func (p *Proxy) gate() gate {
	host, err := p.hosts()
	return func(a netip.Addr, permitted []netip.Prefix) string {
		switch {
		case within(p.cfg.Refuse, a.Unmap()):
			return "an address that the site refuses"
		case err != nil:
			return "an address that may be the gateway's machine"
		}
		return checkAddress(a, permitted, host)
	}
}

func (f *flow) connected(conn *net.TCPConn, a netip.Addr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return false
	}
	f.conn, f.addr = conn, a
	f.moved.Store(time.Now().UnixNano())
	return true
}

// end closes both sides, gives the place back and writes the one line of the log. Only the first call counts.
func (f *flow) end(verdict, reason string) {
	f.mu.Lock()
	if f.ended {
		f.mu.Unlock()
		return
	}
	f.ended = true
	conn, addr := f.conn, f.addr
	f.mu.Unlock()
	if conn != nil {
		_ = conn.Close()
	}
	if verdict == "cut" {
		_ = f.client.Close()
	}
	f.kernel.mu.Lock()
	delete(f.kernel.flows, f)
	f.kernel.mu.Unlock()
	f.kernel.tenant.give()
	f.kernel.note(line{
		method: f.method, name: f.target.name, port: f.target.port, address: addr, verdict: verdict, reason: reason,
		sent: f.sent.Load(), received: f.received.Load(), took: time.Since(f.begun),
	})
	f.kernel.proxy.serving.Done()
}

// sweep ends a flow that stands still or is not allowed any more. policy is nil when nobody knows it.
func (f *flow) sweep(policy *Policy, check gate) {
	f.mu.Lock()
	connected, addr := f.conn != nil, f.addr
	f.mu.Unlock()
	if !connected {
		return // it has deadlines of its own
	}
	f.greeting.Lock()
	greeted := f.hello.done
	f.greeting.Unlock()
	still := time.Since(time.Unix(0, f.moved.Load()))
	switch {
	case !greeted && f.target.port == httpsPort && time.Since(f.begun) > headerTimeout+dialTimeout:
		f.end("cut", "no TLS greeting")
	case still > idleTimeout:
		f.end("cut", "nothing moved")
	case policy == nil:
	case !policy.allows(f.target):
		f.end("cut", "the policy has changed")
	case check(addr, policy.permitted) != "":
		f.end("cut", "the policy has changed")
	}
}

// flowConn is a flow's connection to the server as goproxy sees it. It hides what would let bytes pass uncounted.
type flowConn struct {
	*flow
	conn *net.TCPConn
}

var errSpent = errors.New("the bytes of today are used up")

// Read implements net.Conn.
func (c flowConn) Read(p []byte) (int, error) {
	n, err := c.conn.Read(p)
	c.received.Add(int64(n))
	return n, c.count(n, err)
}

// Write implements net.Conn. What a kernel says first is held until it is known to whom it wants to talk.
func (c flowConn) Write(p []byte) (int, error) {
	c.greeting.Lock()
	out, err := c.hello.feed(p)
	c.greeting.Unlock()
	if err != nil {
		c.end("cut", err.Error())
		return 0, err
	}
	if len(out) == 0 {
		return len(p), nil
	}
	n, err := c.conn.Write(out)
	c.sent.Add(int64(n))
	if err = c.count(n, err); err != nil {
		return 0, err
	}
	return len(p), nil
}

// count adds bytes that moved to the owner's, and ends the flow when they are used up.
func (c flowConn) count(n int, err error) error {
	if n == 0 {
		return err
	}
	c.moved.Store(time.Now().UnixNano())
	if !c.kernel.tenant.spend(n) {
		c.end("cut", errSpent.Error())
		return errSpent
	}
	return err
}

// Close implements net.Conn.
func (c flowConn) Close() error {
	c.end("allowed", "")
	return nil
}

func (c flowConn) CloseWrite() error                  { return c.conn.CloseWrite() }
func (c flowConn) CloseRead() error                   { return c.conn.CloseRead() }
func (c flowConn) LocalAddr() net.Addr                { return c.conn.LocalAddr() }
func (c flowConn) RemoteAddr() net.Addr               { return c.conn.RemoteAddr() }
func (c flowConn) SetDeadline(t time.Time) error      { return c.conn.SetDeadline(t) }
func (c flowConn) SetReadDeadline(t time.Time) error  { return c.conn.SetReadDeadline(t) }
func (c flowConn) SetWriteDeadline(t time.Time) error { return c.conn.SetWriteDeadline(t) }
