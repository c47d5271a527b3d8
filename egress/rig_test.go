package egress_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cellblock.io/cellblock/egress"
)

// public is an address that nobody has.
var public = netip.MustParseAddr("203.0.113.7")

// rig is a proxy that runs, with names, servers and policies of a test's own.
type rig struct {
	t     *testing.T
	proxy *egress.Proxy
	dir   string
	stop  func()

	mu       sync.Mutex
	names    map[string]func() []netip.Addr
	servers  map[netip.AddrPort]string
	policies map[string]egress.Policy
	broken   error // of the policies
	lookups  []string
	dials    []netip.AddrPort
	log      bytes.Buffer
}

func newRig(t *testing.T) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "egress") // short: a socket's path is
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, dir: dir, names: map[string]func() []netip.Addr{}, servers: map[netip.AddrPort]string{}, policies: map[string]egress.Policy{}}
	r.proxy = egress.New(egress.Config{
		Policy: func(_ context.Context, owner string) (egress.Policy, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.policies[owner], r.broken
		},
		Resolver: r,
		Log:      slog.New(slog.NewTextHandler(r, nil)),
	})
	r.proxy.Listen(r.at, netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8::1"))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.proxy.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("Run does not end")
		}
	})
	t.Cleanup(func() { r.stop(); os.RemoveAll(dir) })
	return r
}

// Write implements io.Writer for the log.
func (r *rig) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(p)
}

func (r *rig) logged() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.String()
}

// LookupNetIP implements egress.Resolver.
func (r *rig) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lookups = append(r.lookups, host)
	if answer := r.names[strings.TrimSuffix(host, ".")]; answer != nil && strings.HasSuffix(host, ".") {
		return answer(), nil
	}
	return nil, errors.New("no such host")
}

func (r *rig) at(to netip.AddrPort) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dials = append(r.dials, to)
	if address, ok := r.servers[to]; ok {
		return address, nil
	}
	return "", errors.New("nobody there")
}

func (r *rig) dialled() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.dials)
}

func (r *rig) name(name string, addresses ...string) {
	var list []netip.Addr
	for _, a := range addresses {
		list = append(list, netip.MustParseAddr(a))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names[name] = func() []netip.Addr { return list }
}

// allow gives an owner a policy called "test".
func (r *rig) allow(owner string, s egress.Settings) {
	r.t.Helper()
	p, err := egress.NewPolicy("test", s)
	if err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.policies[owner] = p
}

// server puts a listener at an address that only the proxy of the rig knows.
func (r *rig) server(address string, port uint16, l net.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.servers[netip.AddrPortFrom(netip.MustParseAddr(address), port)] = l.String()
}

// site is a TLS server called name at the public address, which says hello.
func (r *rig) site(name string) *x509.CertPool {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello from "+name) }))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	s.StartTLS()
	r.t.Cleanup(s.Close)
	r.name(name, public.String())
	r.server(public.String(), 443, s.Listener.Addr())
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return pool
}

// open makes a kernel's socket and returns its path.
func (r *rig) open(handle, owner string) string {
	r.t.Helper()
	dir := filepath.Join(r.dir, handle)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		r.t.Fatal(err)
	}
	path := filepath.Join(dir, "proxy.sock")
	if err := r.proxy.Open(egress.Kernel{Handle: handle, ID: "id-" + handle, Owner: owner}, path); err != nil {
		r.t.Fatal(err)
	}
	return path
}

func (r *rig) connect(socket string) net.Conn {
	r.t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		r.t.Fatal(err)
	}
	return c
}

// client asks by way of a socket and believes the certificates in pool, which are for example.com.
func (r *rig) client(socket string, pool *x509.CertPool) *http.Client {
	transport := &http.Transport{
		Proxy:           http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy"}),
		DialContext:     func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) },
		TLSClientConfig: &tls.Config{RootCAs: pool},
	}
	r.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// say writes text and returns the status and body of the answer; status 0 when there is none.
func (r *rig) say(socket, text string) (status int, body string) {
	r.t.Helper()
	c := r.connect(socket)
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		return 0, ""
	}
	return answer(c)
}

func answer(c net.Conn) (status int, body string) {
	all, _ := io.ReadAll(io.LimitReader(c, 1<<16))
	if _, err := fmt.Sscanf(string(all), "HTTP/1.1 %d", &status); err != nil {
		return 0, string(all)
	}
	_, body, _ = strings.Cut(string(all), "\r\n\r\n")
	return status, body
}

// eventually waits until ok, which something else brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 15 s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
