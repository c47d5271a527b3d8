package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	instanceName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,23}$`)
	envPattern   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}\*?$`)
	basePath     = regexp.MustCompile(`^/([a-z0-9._~-]*[a-z0-9_~-][a-z0-9._~-]*/)*([a-z0-9._~-]*[a-z0-9_~-][a-z0-9._~-]*)?$`)
	networkName  = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)
	jwtMethods   = []string{"", "HS256", "RS256", "ES256", "EdDSA"}
)

// The shortest and longest times that make sense; the gateway's clients give up after minutes.
const (
	minStart = time.Second
	maxStart = 10 * time.Minute

	minWindow = 100 * time.Millisecond
	maxWindow = time.Hour
)

// minMemory leaves a kernel room beside its full /tmp and /dev/shm, which count as its memory.
const minMemory = 336 << 20

// problems collects what is wrong with a configuration.
type problems []error

// want adds a problem with key unless ok.
func (p *problems) want(ok bool, key, format string, args ...any) {
	if !ok {
		*p = append(*p, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
	}
}

// Validate returns all that is wrong, joined, each with the key and what to write instead. It changes nothing and
// looks at no file.
func (c Config) Validate() error {
	var p problems
	c.validateEdge(&p)
	c.validatePlaces(&p)
	c.validateKernels(&p)
	c.validateNetworks(&p)
	c.validateAuth(&p)
	return errors.Join(p...)
}

func (c Config) validateEdge(p *problems) {
	p.want(isAddress(c.Listen), "listen", "%q is not an address: write for example 127.0.0.1:8888", c.Listen)
	p.want(basePath.MatchString(c.BaseURL), "base_url",
		"%q is not a path of small letters, digits and -._~: write / or for example /cells/", c.BaseURL)
	p.want(c.PublicURL == "" || isOrigin(c.PublicURL, true), "public_url",
		"%q is not an address: write for example https://cells.example.org, or leave it empty", c.PublicURL)
	for _, o := range c.AllowOrigins {
		p.want(isOrigin(o, false), "allow_origins", "%q is not an origin: write for example https://lab.example.org", o)
	}
	for _, t := range c.TrustedProxies {
		p.want(isPrefix(t), "trusted_proxies", "%q is not an address or network: write for example 10.0.0.0/8", t)
	}
	p.want((c.TLS.Cert == "") == (c.TLS.Key == ""), "tls", "set both cert and key, or neither")
	var level slog.Level
	p.want(level.UnmarshalText([]byte(c.Log.Level)) == nil, "log.level", "%q is not one of debug, info, warn, error", c.Log.Level)
	p.want(c.Log.Format == "text" || c.Log.Format == "json", "log.format", "%q is neither text nor json", c.Log.Format)
}

func (c Config) validatePlaces(p *problems) {
	p.want(instanceName.MatchString(c.Instance), "instance",
		"%q is not a name: write a small letter, then small letters, digits and -, 24 at most", c.Instance)
	p.want(filepath.IsAbs(c.StateDir), "state_dir", "%q is not an absolute path: write for example /var/lib/cellblock", c.StateDir)
	p.want(filepath.IsAbs(c.RunDir), "run_dir", "%q is not an absolute path: write for example /run/cellblock", c.RunDir)
	// A Unix socket's path has at most 107 bytes, and some lie in it.
	p.want(len(c.RunDir) <= 80, "run_dir", "%q is longer than 80 bytes: sockets below it could not be opened", c.RunDir)
	if c.Redis.URL == "" {
		p.want(c.Redis.Command != "", "redis.command", "name the redis-server program, or set redis.url to a Redis that runs")
	} else {
		u, err := url.Parse(c.Redis.URL)
		p.want(err == nil && slices.Contains([]string{"redis", "rediss", "unix"}, u.Scheme), "redis.url",
			"write redis://host:6379/0, rediss://… or unix:///path/redis.sock, or leave it empty for a private server")
	}
	socket := strings.TrimPrefix(c.Podman.Socket, "unix://")
	p.want(c.Podman.Socket == "" || c.Podman.Socket == "auto" || filepath.IsAbs(socket), "podman.socket",
		"%q is not a socket: write unix:///run/user/1000/podman/podman.sock, or auto", c.Podman.Socket)
	p.want(c.Podman.Command != "", "podman.command", "name the podman program")
	p.want(c.Podman.Seccomp == "" || filepath.IsAbs(c.Podman.Seccomp), "podman.seccomp",
		"%q is not an absolute path; leave it empty for Cellblock's own profiles", c.Podman.Seccomp)
	p.want(c.Podman.Outdated == Refuse || c.Podman.Outdated == Allow, "podman.outdated", "%q is neither refuse nor allow", c.Podman.Outdated)
}

func (c Config) validateKernels(p *problems) {
	p.want(c.BridgeImage != "", "bridge_image", "name the image that holds the cellblock binary")
	p.want(len(c.Kernels.Images) > 0 && !slices.Contains(c.Kernels.Images, ""), "kernels.images", "name at least one image")
	p.want(c.Kernels.Default != "", "kernels.default", "name the kernelspec to use when a client names none")
	p.want(c.Kernels.StartTimeout >= minStart && c.Kernels.StartTimeout <= maxStart, "kernels.start_timeout",
		"write a time from %v to %v", minStart, maxStart)
	for _, name := range c.Kernels.EnvAllow {
		p.want(envPattern.MatchString(name), "kernels.env_allow", "%q is not a variable's name, nor the begin of some with * at the end", name)
	}
	l := c.Limits
	p.want(l.Memory >= minMemory, "limits.memory", "%v is less than a kernel needs: write 336m or more", l.Memory)
	p.want(l.CPUs >= 0.05 && l.CPUs <= 1024, "limits.cpus", "write a number from 0.05 to 1024")
	p.want(l.PIDs >= 16, "limits.pids", "%d is less than a kernel needs: write 16 or more", l.PIDs)
	p.want(l.Unenforceable == Refuse || l.Unenforceable == Allow, "limits.unenforceable", "%q is neither refuse nor allow", l.Unenforceable)
	o := c.Output
	p.want(o.MessageRate >= 0, "output.iopub_msg_rate_limit", "write messages a second, or 0 for no limit")
	p.want(o.DataRate >= 0, "output.iopub_data_rate_limit", "write bytes a second, for example 1m, or 0 for no limit")
	p.want(o.RateWindow >= minWindow && o.RateWindow <= maxWindow, "output.rate_limit_window", "write a time from %v to %v", minWindow, maxWindow)
	p.want(o.JournalBytes >= 1<<20 && o.JournalBytes <= 64<<20, "output.journal_bytes", "write a size from 1m to 64m")
	p.want(o.JournalMessages >= 100 && o.JournalMessages <= 100_000, "output.journal_messages", "write a number from 100 to 100000")
	p.want(c.Quota.MaxKernels >= 0, "quota.max_kernels", "write 0 or more")
	p.want(c.Cull.IdleTimeout >= 0, "cull.idle_timeout", "write a time, or 0s for never")
	p.want(c.Cull.Warning >= 0, "cull.warning", "write a time, or 0s for none")
	p.want(c.Cull.Interval > 0, "cull.interval", "write a time, for example 1m")
}

// validateNetworks looks at names and caps; what may be in a list is known to the proxy.
func (c Config) validateNetworks(p *problems) {
	for name, n := range c.Networks {
		p.want(networkName.MatchString(name) && name != None && name != Internet, "networks",
			"%q cannot be a policy's name: write a small letter, then small letters, digits and -, 32 at most, and neither none nor internet", name)
		p.want(n.Flows >= 0 && n.Flows <= 4096, "networks."+name+".flows", "write a number up to 4096")
	}
	_, defined := c.Networks[c.Quota.Network]
	p.want(defined || c.Quota.Network == None || c.Quota.Network == Internet, "quota.network",
		"there is no policy %q: write none, internet, or a name from networks", c.Quota.Network)
	for _, text := range c.Egress.Refuse {
		p.want(isPrefix(text), "egress.refuse", "%q is not an address or network: write for example 203.0.113.0/24", text)
	}
}

func (c Config) validateAuth(p *problems) {
	p.want(c.Auth.SessionTTL >= time.Minute, "auth.session_ttl", "write 1m or more")
	p.want(c.Auth.SessionMax >= c.Auth.SessionTTL, "auth.session_max", "write auth.session_ttl or more")
	j := c.Auth.JWT
	p.want(slices.Contains(jwtMethods, j.Algorithm), "auth.jwt.algorithm", "%q is not one of HS256, RS256, ES256, EdDSA", j.Algorithm)
	p.want(j.Leeway >= 0 && j.Leeway <= 5*time.Minute, "auth.jwt.leeway", "write a time from 0s to 5m")
	p.want((j.AdminClaim == "") == (j.AdminValue == ""), "auth.jwt.admin_claim", "set both admin_claim and admin_value, or neither")
	if j.Algorithm == "" {
		p.want(j.KeyFile == "", "auth.jwt.algorithm", "say which algorithm the key in auth.jwt.key_file is for")
		return
	}
	p.want(filepath.IsAbs(j.KeyFile), "auth.jwt.key_file", "write the absolute path of the key")
	p.want(j.Issuer != "", "auth.jwt.issuer", "write the issuer (iss) whose tokens are accepted")
	p.want(j.Audience != "", "auth.jwt.audience", "write the audience (aud) that tokens must name")
}

func isAddress(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	n, err := strconv.Atoi(port)
	return err == nil && n >= 0 && n <= 65535
}

// isOrigin reports whether s is http(s)://host[:port], and with path perhaps more.
func isOrigin(s string, path bool) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	return (u.Scheme == "http" || u.Scheme == "https") && (path || u.Path == "")
}

func isPrefix(s string) bool {
	_, err := netip.ParsePrefix(s)
	if err != nil {
		_, err = netip.ParseAddr(s)
	}
	return err == nil
}
