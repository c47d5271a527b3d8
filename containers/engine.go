// Package containers runs kernels in rootless Podman: each as a pair of containers, the kernel's own and its bridge's,
// that share one directory of sockets and nothing else. It implements kernels.Launcher, kernels.Observer and
// kernels.Specs, and dials the bridges. What exists is told by Podman alone: nothing here is remembered between calls
// but the kernelspecs that were read.
package containers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"cellblock.io/cellblock/kernels"
)

// DefaultBridgeImage is the image with the cellblock binary that set-up builds.
const DefaultBridgeImage = "localhost/cellblock/bridge:latest"

// Config is what an Engine needs to know. Socket, RunDir and Instance are required.
type Config struct {
	// Socket is the absolute path of the Unix socket of Podman's API service, which runs as the same user.
	Socket string
	// RunDir holds one directory per kernel. It is made with mode 0700 when it is missing; an existing one must belong
	// to this user and be closed to all others, since the sockets below it are open to everybody who gets that far.
	RunDir string
	// Instance is the value of the label io.cellblock.instance: the containers and volumes of other instances are
	// neither seen nor touched. It is part of their names: small letters, digits and "-".
	Instance string
	// BridgeImage is DefaultBridgeImage when empty.
	BridgeImage string
	// BridgeArgs are more arguments for the program of the bridge, the same for all kernels.
	BridgeArgs []string
	// Images are the names of the images that provide kernelspecs.
	Images []string
	// Limits are enforced as far as the host can; the rest is left out, so that containers start at all. Who must have
	// them looks at Capabilities.Missing first.
	Limits Limits
	// SeccompProfile is the absolute path of a seccomp profile for both containers; empty means our own (seccomp/), one for
	// each.
	SeccompProfile string
	// Networks says how the kernels of each network policy are connected. A policy that is not in it is no network.
	Networks map[string]Network
	// Egress may be nil where no policy is an Allowlist.
	Egress Egress
	// Shim is the absolute path of the program cellblock-shim on this machine, for kernels with a network.
	Shim string
	Log  *slog.Logger
}

// Limits are what one kernel may use. Zero values mean the defaults: 1 CPU, 1 GiB, 256 processes.
type Limits struct {
	CPUs   float64 // CPU time per time
	Memory int64   // bytes, swap excluded; at least MinMemory
	PIDs   int64   // processes and threads
}

// MinMemory is the smallest memory limit: what a kernel may write to its memory file systems is then below 60 % of it, so
// that a full /tmp is an error inside the kernel and not its end.
const MinMemory = 336 << 20

func (l Limits) orDefaults() Limits {
	if l.CPUs == 0 {
		l.CPUs = 1
	}
	if l.Memory == 0 {
		l.Memory = 1 << 30
	}
	if l.PIDs == 0 {
		l.PIDs = 256
	}
	return l
}

var instanceName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// Validate reports everything that is wrong with c. It looks at values only, not at the host.
func (c Config) Validate() error {
	var errs []error
	for name, path := range map[string]string{"socket": c.Socket, "run directory": c.RunDir} {
		if !filepath.IsAbs(path) {
			errs = append(errs, fmt.Errorf("%s %q is not an absolute path", name, path))
		}
	}
	if c.SeccompProfile != "" && !filepath.IsAbs(c.SeccompProfile) {
		errs = append(errs, fmt.Errorf("seccomp profile %q is not an absolute path", c.SeccompProfile))
	}
	if c.Shim != "" && !filepath.IsAbs(c.Shim) {
		errs = append(errs, fmt.Errorf("shim %q is not an absolute path", c.Shim))
	}
	if !instanceName.MatchString(c.Instance) {
		errs = append(errs, fmt.Errorf("instance %q does not match %s", c.Instance, instanceName))
	}
	if c.Limits.CPUs < 0 || c.Limits.CPUs > 0 && c.Limits.CPUs < 0.01 {
		errs = append(errs, fmt.Errorf("cpu limit %g is below 0.01", c.Limits.CPUs))
	}
	if c.Limits.Memory != 0 && c.Limits.Memory < MinMemory {
		errs = append(errs, fmt.Errorf("memory limit %d is below %d bytes", c.Limits.Memory, int64(MinMemory)))
	}
	if c.Limits.PIDs < 0 || c.Limits.PIDs > 0 && c.Limits.PIDs < 16 {
		errs = append(errs, fmt.Errorf("process limit %d is below 16", c.Limits.PIDs))
	}
	return errors.Join(errs...)
}

// Engine is a connection to one Podman, on behalf of one instance. Its methods may be called concurrently.
type Engine struct {
	cfg  Config
	log  *slog.Logger
	conn connection
	caps Capabilities

	tenants *tenants

	// refreshing is held by the one caller that reads images.
	refreshing chan struct{}
	mu         sync.Mutex
	specs      map[string]kernels.Spec // replaced as a whole, never changed
	specsAt    time.Time
	images     map[string]image // by the configured name
}

var (
	_ kernels.Launcher = (*Engine)(nil)
	_ kernels.Observer = (*Engine)(nil)
	_ kernels.Specs    = (*Engine)(nil)
)

// Connect checks the configuration, makes the run directory, asks Podman what it can do and returns an Engine. It starts
// nothing; Close releases the idle connections. Errors: kernels.ErrUnavailable when Podman does not answer.
func Connect(ctx context.Context, cfg Config) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("container settings: %w", err)
	}
	if cfg.BridgeImage == "" {
		cfg.BridgeImage = DefaultBridgeImage
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Limits = cfg.Limits.orDefaults()
	if err := prepareRunDir(cfg.RunDir); err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	if err := cfg.writeSeccomp(); err != nil {
		return nil, err
	}
	conn, err := connect(ctx, cfg.Socket)
	if err != nil {
		return nil, err
	}
	e := &Engine{cfg: cfg, log: cfg.Log, conn: conn, tenants: newTenants(), refreshing: make(chan struct{}, 1)}
	if e.caps, err = e.Capabilities(ctx); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// Close releases idle connections. Calls in flight end by themselves.
func (e *Engine) Close() { e.conn.client.CloseIdleConnections() }
