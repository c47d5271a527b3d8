package gateway

import (
	"net/http"
	"net/netip"
	"strings"
)

// peer is the address at the other end of the connection; not valid when that is no IP address.
func peer(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// trusted reports whether forwarded headers from a are believed.
func (g *Gateway) trusted(a netip.Addr) bool {
	for _, p := range g.cfg.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// client is the address of the caller: the peer, or what the last trusted proxy says it got the request from.
func (g *Gateway) client(r *http.Request) netip.Addr {
	addr := peer(r)
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && g.trusted(addr); i-- {
		next, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return addr
		}
		addr = next.Unmap().WithZone("")
	}
	return addr
}

// onLoopback reports whether the request was made on this machine and came through no proxy at all.
func onLoopback(r *http.Request) bool {
	return peer(r).IsLoopback() && r.Header.Get("X-Forwarded-For") == "" && r.Header.Get("Forwarded") == "" &&
		r.Header.Get("Via") == ""
}

// forwarded is the header's last value when the peer is a trusted proxy, else "".
func (g *Gateway) forwarded(r *http.Request, header string) string {
	if !g.trusted(peer(r)) {
		return ""
	}
	values := strings.Split(strings.Join(r.Header.Values(header), ","), ",")
	return strings.TrimSpace(values[len(values)-1])
}

// scheme is "https" or "http", as the caller's browser sees it.
func (g *Gateway) scheme(r *http.Request) string {
	switch proto := g.forwarded(r, "X-Forwarded-Proto"); {
	case proto == "https" || proto == "http":
		return proto
	case r.TLS != nil:
		return "https"
	}
	return "http"
}

// host is the host and port, as the caller's browser sees them.
func (g *Gateway) host(r *http.Request) string {
	if h := g.forwarded(r, "X-Forwarded-Host"); h != "" {
		return h
	}
	return r.Host
}
