package egress

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// Listen has dials go to listeners of a test, by the address that was looked at, and gives the machine other addresses.
func (p *Proxy) Listen(at func(netip.AddrPort) (string, error), host ...netip.Addr) {
	p.hosts = func() ([]netip.Addr, error) { return host, nil }
	p.dial = func(ctx context.Context, _ *flow, to netip.AddrPort) (*net.TCPConn, error) {
		address, err := at(to)
		if err != nil {
			return nil, err
		}
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		return conn.(*net.TCPConn), nil
	}
}

// HeaderTimeout shortens the time for a request's header.
func (p *Proxy) HeaderTimeout(d time.Duration) { p.server.ReadHeaderTimeout = d }

// DialChecked dials for real.
func (p *Proxy) DialChecked(ctx context.Context, to netip.AddrPort) error {
	conn, err := p.dialChecked(ctx, new(flow), to)
	if err == nil {
		conn.Close()
	}
	return err
}

// ParseTarget returns the name and port of a target.
func ParseTarget(text string) (string, int, error) {
	t, err := parseTarget(text)
	return t.name, int(t.port), err
}

// Feed gives the first bytes of a connection to name at port 443 in pieces of a size and returns what passed.
func Feed(name string, data []byte, piece int) (passed []byte, err error) {
	h := hello{want: target{name: name, port: httpsPort}}
	for len(data) > 0 && err == nil {
		n := min(piece, len(data))
		var out []byte
		out, err = h.feed(data[:n])
		passed, data = append(passed, out...), data[n:]
	}
	return passed, err
}

// CheckAddress is checkAddress.
var CheckAddress = checkAddress

// MaxClients is maxClients.
const MaxClients = maxClients
