// Package egress is the one way out of kernels that have no network: an HTTP proxy with one Unix socket per kernel, so
// that it knows whose request it has without a credential. It lets a kernel reach the names that its owner's policy
// allows, looks each name up itself, refuses what does not lie on the public internet, and dials the address that it has
// looked at. Requests, tunnels and copying are the work of github.com/elazarl/goproxy; what may pass is decided here.
package egress

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/elazarl/goproxy"
	"golang.org/x/time/rate"
)

// Limits of what one kernel may hold or ask.
const (
	maxClients    = 128 // connections to its socket, idle ones included
	maxRate       = 20  // requests a second, on average
	maxBurst      = 200 // requests at once
	maxHeader     = 16 << 10
	headerTimeout = 10 * time.Second // for a request's header, and for a TLS greeting
	keepAlive     = time.Minute      // for a connection between two requests
	idleTimeout   = 10 * time.Minute // for a connection on which nothing moves
	lookupTimeout = 5 * time.Second
	dialTimeout   = 10 * time.Second // all addresses of a name together
	answerTimeout = 5 * time.Minute  // for a server to begin its answer to a plain request
	sweepInterval = time.Second
)

// Resolver looks names up; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Config is what a Proxy needs. Policy is required.
type Config struct {
	// Policy returns what holds for an owner now. It is asked for every request and every second for connections that are
	// open, so it must be quick. With an error new requests are refused and open connections stay.
	Policy func(ctx context.Context, owner string) (Policy, error)
	// Resolver is the machine's own when nil.
	Resolver Resolver
	// Refuse are more networks that no kernel reaches, whatever its policy says.
	Refuse []netip.Prefix
	Log    *slog.Logger
}

// Kernel says whose requests come from a socket.
type Kernel struct {
	Handle string // unique among those of a Proxy
	ID     string // for the log
	Owner  string
}

// Proxy serves the sockets of all kernels. Its methods may be called concurrently.
type Proxy struct {
	cfg    Config
	log    *slog.Logger
	tunnel *goproxy.ProxyHttpServer
	server *http.Server
	hosts  func() ([]netip.Addr, error)
	dial   func(ctx context.Context, f *flow, to netip.AddrPort) (*net.TCPConn, error)
	opened chan struct{} // has a value when somebody waits to be served

	serving sync.WaitGroup // listeners, handlers and flows

	mu      sync.Mutex
	kernels map[string]*kernel // by handle
	tenants map[string]*tenant // by owner
	waiting []*kernel          // opened and not yet served
	ended   bool
}

// New returns a Proxy that serves nothing until Run.
func New(cfg Config) *Proxy {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	p := &Proxy{
		cfg: cfg, log: cfg.Log, hosts: HostAddresses, opened: make(chan struct{}, 1),
		kernels: map[string]*kernel{}, tenants: map[string]*tenant{},
	}
	p.dial = p.dialChecked
	p.tunnel = goproxy.NewProxyHttpServer()
	p.tunnel.ConnectDial = nil // its default asks the environment for another proxy
	p.tunnel.Tr = &http.Transport{
		DialContext:            p.dialFlow,
		DisableKeepAlives:      true, // a connection belongs to one request of one kernel
		DisableCompression:     true,
		ResponseHeaderTimeout:  answerTimeout,
		MaxResponseHeaderBytes: 64 << 10,
	}
	p.tunnel.KeepAcceptEncoding = true
	p.tunnel.ConnectionErrHandler = tunnelFailed
	p.tunnel.OnResponse().DoFunc(requestFailed)
	p.tunnel.Logger = debugLogger{cfg.Log}
	p.server = &http.Server{
		Handler:           http.HandlerFunc(p.serveRequest),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       keepAlive,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, clientKey{}, c)
		},
	}
	return p
}

// Run serves until ctx ends, and returns when nothing that belongs to it is left.
func (p *Proxy) Run(ctx context.Context) error {
	p.server.BaseContext = func(net.Listener) context.Context { return ctx }
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			p.end()
			return nil
		case <-p.opened:
			p.serveWaiting()
		case <-tick.C:
			p.sweep(ctx)
		}
	}
}

func (p *Proxy) serveWaiting() {
	p.mu.Lock()
	waiting := p.waiting
	p.waiting = nil
	p.mu.Unlock()
	for _, k := range waiting {
		p.serving.Go(func() { _ = p.server.Serve(k) }) // it ends when the listener or the server is closed
	}
}

// end closes everything and waits for it.
func (p *Proxy) end() {
	p.mu.Lock()
	p.ended = true
	var handles []string
	for handle := range p.kernels {
		handles = append(handles, handle)
	}
	p.mu.Unlock()
	for _, handle := range handles {
		p.Close(handle)
	}
	if err := p.server.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		p.log.Debug("close the egress proxy", "err", err)
	}
	p.serving.Wait()
}

// Open makes the socket of a kernel at path. Its directory must exist, be closed to other users of the machine, and not be
// writable for the kernel. Kernels connect to it at once and are answered as soon as Run serves. It does nothing for a
// kernel that has one. What an earlier process left there is replaced.
func (p *Proxy) Open(k Kernel, path string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return errors.New("open the egress socket: the proxy has ended")
	}
	if p.kernels[k.Handle] != nil {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("replace the egress socket: %w", err)
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("open the egress socket: %w", err)
	}
	if err := os.Chmod(path, 0o666); err != nil { // the kernel is another user; the directory keeps everybody else out
		ln.Close()
		return fmt.Errorf("open the egress socket: %w", err)
	}
	opened := &kernel{
		Kernel: k, UnixListener: ln, path: path, proxy: p, tenant: p.tenantOf(k.Owner),
		requests: rate.NewLimiter(maxRate, maxBurst), lines: rate.NewLimiter(maxLines, maxLineBurst),
		clients: map[*client]bool{}, flows: map[*flow]bool{},
	}
	p.kernels[k.Handle] = opened
	p.waiting = append(p.waiting, opened)
	select {
	case p.opened <- struct{}{}:
	default:
	}
	return nil
}

// Close ends a kernel's socket and all its connections. It succeeds when there is none.
func (p *Proxy) Close(handle string) {
	p.mu.Lock()
	k := p.kernels[handle]
	delete(p.kernels, handle)
	p.mu.Unlock()
	if k != nil {
		k.close()
	}
}

// sweep ends what may go on no longer: connections that stand still or that a changed policy does not allow, and the
// sockets of kernels whose directory is gone.
func (p *Proxy) sweep(ctx context.Context) {
	p.mu.Lock()
	kernels := make([]*kernel, 0, len(p.kernels))
	for _, k := range p.kernels {
		kernels = append(kernels, k)
	}
	p.mu.Unlock()
	policies := map[string]*Policy{}
	var check gate
	for _, k := range kernels {
		if _, err := os.Lstat(k.path); errors.Is(err, fs.ErrNotExist) {
			p.Close(k.Handle)
			continue
		}
		flows := k.open()
		if len(flows) == 0 {
			continue
		}
		if check == nil {
			check = p.gate()
		}
		policy, asked := policies[k.Owner]
		if !asked {
			if now, err := p.cfg.Policy(ctx, k.Owner); err == nil {
				policy = &now
			}
			policies[k.Owner] = policy
		}
		for _, f := range flows {
			f.sweep(policy, check)
		}
	}
}
