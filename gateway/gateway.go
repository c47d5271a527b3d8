// Package gateway is the edge: it turns HTTP and WebSocket requests of Jupyter clients into calls on the domain and
// pipes the bytes of an upgraded connection to the kernel's bridge. It holds no kernel state, so that it can be
// killed, upgraded or run several times.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cellblock.io/cellblock/kernels"
)

// Config is what a Gateway needs. Kernels, Auth and Dial are required; the zero value of everything else is usable
// and safe.
type Config struct {
	Kernels Kernels
	Auth    Auth
	// Dial connects to the bridge of the kernel with that handle. It may fail while the bridge is still starting.
	// Ownership of the connection passes to the gateway. Connections with CloseWrite allow a clean drain.
	Dial func(ctx context.Context, handle string) (net.Conn, error)
	// Page serves GET and HEAD of "/", "/login", "/favicon.ico" and "/static/…", with BaseURL already taken off the
	// path, to anybody: it must hold nothing that needs a credential. The headers that are set before the call
	// (Content-Security-Policy among them) may be replaced by it. Nil means that there is no page.
	Page http.Handler
	// BaseURL is the path below which everything is served: "/" (also the meaning of "") or for example "/cells".
	// Only lower-case letters, digits and "-._~" are accepted, because Jupyter's gateway client lower-cases it.
	BaseURL string
	// AllowOrigins lists origins ("https://notebooks.example.org") whose pages may use a person's cookie here, beside
	// the gateway's own (see Hosts). Compared exactly. A page elsewhere needs a token.
	AllowOrigins []string
	// Hosts are the names under which browsers reach this gateway without an entry in AllowOrigins. They always may by an
	// address or localhost. A name that anybody else can give to this address must not be among them.
	Hosts []string
	// EnvAllow lists the variables of a start request that reach the kernel: exact names, or a prefix followed by
	// "*". What names an account, an image, a search path or a loader never does.
	EnvAllow kernels.EnvAllow
	// TrustedProxies are the addresses whose X-Forwarded-For, -Host and -Proto are believed.
	TrustedProxies []netip.Prefix
	// MetricsOpen serves /metrics to everybody. Without it only callers on the loopback interface that did not come
	// through a proxy, and administrators, get it.
	MetricsOpen bool
	// Metrics is where the gateway registers its own metrics and what /metrics shows. Nil means a registry of its own.
	Metrics *prometheus.Registry
	// Health says how the whole service is, for /healthz. It is called for each request and must not block. Nil
	// means healthy.
	Health func() Health
	// Version is what GET /api answers.
	Version string
	// MaxWebSockets and MaxWebSocketsPerOwner cap the open channels connections, those waiting for a bridge
	// included. 0 means DefaultMaxWebSockets and DefaultMaxWebSocketsPerOwner.
	MaxWebSockets, MaxWebSocketsPerOwner int
	// Log receives requests at debug level and faults of ours at warn. Nil discards.
	Log *slog.Logger
}

// Default caps on WebSockets.
const (
	DefaultMaxWebSockets         = 8192
	DefaultMaxWebSocketsPerOwner = 256
)

// basePath is the form of a BaseURL without its trailing slash.
var basePath = regexp.MustCompile(`^(/[a-z0-9._~-]*[a-z0-9_~-][a-z0-9._~-]*)*$`)

// Validate reports everything that is wrong with c, joined.
func (c Config) Validate() error {
	var errs []error
	if c.Kernels == nil || c.Auth == nil || c.Dial == nil {
		errs = append(errs, errors.New("gateway: Kernels, Auth and Dial are required"))
	}
	if !basePath.MatchString(strings.TrimSuffix(c.BaseURL, "/")) {
		errs = append(errs, fmt.Errorf("base URL %q: must be a path of lower-case letters, digits and -._~", c.BaseURL))
	}
	for _, o := range c.AllowOrigins {
		if !validOrigin(o) {
			errs = append(errs, fmt.Errorf("allowed origin %q: must be scheme://host[:port], lower case, without the scheme's own port", o))
		}
	}
	errs = append(errs, c.EnvAllow.Validate())
	if c.MaxWebSockets < 0 || c.MaxWebSocketsPerOwner < 0 {
		errs = append(errs, errors.New("limits on WebSockets must not be negative"))
	}
	return errors.Join(errs...)
}

// Gateway is the edge of one instance. It is safe for concurrent use.
type Gateway struct {
	cfg      Config
	base     string // "" or "/cells"
	log      *slog.Logger
	metrics  *metrics
	pipes    *pipes
	throttle *throttle
	started  time.Time
	handler  http.Handler
}

// New checks c and makes a Gateway. It starts nothing. It fails when c is not valid or when c.Metrics already has a
// gateway's metrics.
func New(c Config) (*Gateway, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = prometheus.NewRegistry()
	}
	if c.Health == nil {
		c.Health = func() Health { return Health{OK: true} }
	}
	if c.MaxWebSockets == 0 {
		c.MaxWebSockets = DefaultMaxWebSockets
	}
	if c.MaxWebSocketsPerOwner == 0 {
		c.MaxWebSocketsPerOwner = DefaultMaxWebSocketsPerOwner
	}
	m, err := newMetrics(c.Metrics)
	if err != nil {
		return nil, err
	}
	g := &Gateway{
		cfg:      c,
		base:     strings.TrimSuffix(c.BaseURL, "/"),
		log:      c.Log,
		metrics:  m,
		pipes:    newPipes(c.MaxWebSockets, c.MaxWebSocketsPerOwner, m.open),
		throttle: newThrottle(),
		started:  time.Now(),
	}
	g.handler = g.routed(g.routes())
	return g, nil
}

// Handler answers everything below BaseURL. Run serves it; by itself it has no time limits, does not drain, and does
// not look again at the credentials of open WebSockets.
func (g *Gateway) Handler() http.Handler { return g.handler }
