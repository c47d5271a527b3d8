package containers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/containers/podman/v4/pkg/specgen"

	"cellblock.io/cellblock/kernels"
)

// Network is how a kernel is connected.
type Network string

// The networks that a kernel can have.
const (
	NoNetwork Network = "none"
	// Allowlist is no network but a socket, behind which is the proxy.
	Allowlist Network = "allowlist"
	// Internet is slirp4netns behind a packet filter that a hook of Podman's puts up before anything runs.
	Internet Network = "internet"
)

// HookAnnotation marks the containers for which Podman runs the hook that puts up the packet filter; its value is
// Internet.
const HookAnnotation = "io.cellblock.network"

// Outlet is a kernel's way to the proxy.
type Outlet struct {
	Record kernels.Record
	// Policy is the name of the owner's network policy; empty when it is not known yet.
	Policy string
	// Socket is the path of the socket, in a directory that the kernel sees and cannot write to.
	Socket string
}

// Egress is the proxy.
type Egress interface {
	// Open makes the socket of a kernel; it does nothing when there is one.
	Open(o Outlet) error
	// Close ends it and all connections. It succeeds when there is none.
	Close(handle string)
	// Apply says which policies hold for owners now.
	Apply(ctx context.Context, inForce map[kernels.Owner]string) error
}

var _ kernels.Networks = (*Engine)(nil)

// Apply implements kernels.Networks: it holds at once for kernels whose network is Allowlist. The network of others is
// made when they start and stays.
func (e *Engine) Apply(ctx context.Context, inForce map[kernels.Owner]string) error {
	if e.cfg.Egress == nil {
		return nil
	}
	return e.cfg.Egress.Apply(ctx, inForce)
}

// SlirpDNS is where slirp4netns answers for the machine's name servers.
const SlirpDNS = "10.0.2.3"

// Places inside a kernel's container.
const (
	egressDir  = "/run/cellblock/egress"
	egressFile = "proxy.sock"
	shimFile   = "/run/cellblock/shim"
	proxyEntry = "http://127.0.0.1:3128"
)

// connected is what a builder needs to know for a kernel with a network.
type connected struct {
	network Network
	command []string // the image's own
}

// network returns how the kernels of a policy are connected. A policy that nobody defines is none.
func (e *Engine) network(policy string) Network {
	if n, defined := e.cfg.Networks[policy]; defined {
		return n
	}
	if policy != string(NoNetwork) && policy != "" {
		e.log.Warn("a kernel gets no network: its policy is not defined", "policy", policy)
	}
	return NoNetwork
}

// connectionFor collects what a kernel's network needs, and refuses what this machine cannot do.
func (e *Engine) connectionFor(ctx context.Context, l kernels.Launch) (connected, error) {
	c := connected{network: e.network(l.Network)}
	if c.network == NoNetwork {
		return c, nil
	}
	if err := e.CanConnect(c.network); err != nil {
		return c, fmt.Errorf("%w: network policy %s: %w", kernels.ErrUnavailable, l.Network, err)
	}
	report, err := e.conn.image(ctx, l.Spec.Image, quickCall)
	switch {
	case err != nil:
		return c, err
	case report == nil:
		return c, fmt.Errorf("%w: there is no image %s any more", kernels.ErrInvalid, l.Spec.Image)
	}
	if report.Config != nil {
		c.command = append(append(c.command, report.Config.Entrypoint...), report.Config.Cmd...)
	}
	if len(c.command) == 0 {
		return c, fmt.Errorf("%w: image %s has no command", kernels.ErrInvalid, l.Spec.Image)
	}
	return c, nil
}

// CanConnect says what this machine lacks for a network, with the way out; nil when it lacks nothing.
func (e *Engine) CanConnect(n Network) error {
	var errs []error
	if n == NoNetwork {
		return nil
	}
	if info, err := os.Stat(e.cfg.Shim); err != nil || info.Mode()&0o111 == 0 {
		errs = append(errs, fmt.Errorf("there is no program %s: deploy/up installs it beside cellblock", e.cfg.Shim))
	}
	if n == Allowlist && e.cfg.Egress == nil {
		errs = append(errs, errors.New("there is no egress proxy"))
	}
	if n == Internet {
		for program, pkg := range map[string]string{"slirp4netns": "slirp4netns", "nft": "nftables"} {
			if _, err := exec.LookPath(program); err != nil {
				errs = append(errs, fmt.Errorf("there is no program %s: install the package %s", program, pkg))
			}
		}
		if tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err != nil {
			errs = append(errs, fmt.Errorf("%w: a user must be able to open it, as udev arranges (chmod 0666)", err))
		} else {
			tun.Close()
		}
	}
	return errors.Join(errs...)
}

// connect changes the spec of a kernel without network into that of one with.
func (b builder) connect(s *specgen.SpecGenerator, l kernels.Launch, c connected) {
	if c.network == NoNetwork {
		return
	}
	s.Labels[labelNetwork] = string(c.network)
	shim := bind(b.cfg.Shim, shimFile, "ro")
	shim.Options = []string{"ro", "nosuid", "nodev", "exec", "rprivate", "bind"}
	s.Mounts = append(s.Mounts, shim)
	s.Command = c.command
	if c.network == Internet {
		s.Entrypoint = []string{shimFile, "--filtered", "--"}
		s.NetNS = specgen.Namespace{NSMode: specgen.Slirp}
		s.NetworkOptions = map[string][]string{"slirp4netns": {"allow_host_loopback=false", "enable_ipv6=true"}}
		s.Annotations = map[string]string{HookAnnotation: string(Internet)}
		return
	}
	s.Entrypoint = []string{shimFile, "--proxy", egressDir + "/" + egressFile, "--"}
	s.Mounts = append(s.Mounts, bind(runDir(b.cfg.RunDir, l.Record.Handle).egress(), egressDir, "ro"))
	env := map[string]string{"no_proxy": "localhost,127.0.0.1,::1", "NO_PROXY": "localhost,127.0.0.1,::1"}
	for _, name := range []string{"http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"} {
		env[name] = proxyEntry
	}
	maps.Copy(env, s.Env) // kernel.json and the client have the last word
	s.Env = env
}

// openOutlet opens the socket of a kernel.
func (e *Engine) openOutlet(r kernels.Record, policy string) error {
	return e.cfg.Egress.Open(Outlet{Record: r, Policy: policy, Socket: filepath.Join(runDir(e.cfg.RunDir, r.Handle).egress(), egressFile)})
}

// OpenOutlets opens the sockets of all kernels that had one when an earlier process ended. Errors:
// kernels.ErrUnavailable.
func (e *Engine) OpenOutlets(ctx context.Context) error {
	list, err := e.List(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, i := range list {
		if i.Network != string(Allowlist) || e.cfg.Egress == nil {
			continue
		}
		if err := e.openOutlet(i.Record, ""); err != nil {
			errs = append(errs, fmt.Errorf("kernel %s: %w", i.Record.Handle, err))
		}
	}
	return errors.Join(errs...)
}
