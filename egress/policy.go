package egress

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// mailPort is refused whatever a policy says: kernels send no mail.
const mailPort = 25

// Default caps of a policy that names none.
const (
	defaultBytes = 10 << 30
	defaultFlows = 128
)

// Settings is a policy as an administrator writes it.
type Settings struct {
	// Allow has names with ports: "pypi.org" (port 443), "mirror.example.org:80", "*.example.org:8443" for all names
	// below example.org but not itself. An IP address is a name, too.
	Allow []string
	// PermitPrivate are private networks in which an allowed name may lie all the same. This machine's own address is
	// permitted only alone, as in 10.0.0.5/32; loopback, link-local and metadata addresses never are.
	PermitPrivate []string
	BytesPerDay   int64 // of one owner in both directions together, from midnight UTC; 0 means 10 GiB
	Flows         int   // open connections of one owner at once; 0 means 128
}

// Policy is what the kernels of an owner may reach through the proxy. The zero Policy allows nothing.
type Policy struct {
	// Name is for sentences and the log.
	Name        string
	rules       []rule
	permitted   []netip.Prefix
	bytesPerDay int64
	flows       int
}

// rule allows one name, or all names below it, at one port.
type rule struct {
	name  string // lower case, no dot at the end; an address in its canonical form
	below bool   // names that end with "." + name, and not name itself
	port  uint16
}

// NewPolicy reads settings; the error names everything that is wrong with them.
func NewPolicy(name string, s Settings) (Policy, error) {
	p := Policy{Name: name, bytesPerDay: s.BytesPerDay, flows: s.Flows}
	var errs []error
	for _, text := range s.Allow {
		r, err := parseRule(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("allow: %w", err))
		}
		p.rules = append(p.rules, r)
	}
	for _, text := range s.PermitPrivate {
		prefix, err := parsePermit(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("permit_private: %w", err))
		}
		p.permitted = append(p.permitted, prefix)
	}
	if s.BytesPerDay < 0 || s.Flows < 0 {
		errs = append(errs, errors.New("bytes_per_day and flows: write 0 or more"))
	}
	if p.bytesPerDay == 0 {
		p.bytesPerDay = defaultBytes
	}
	if p.flows == 0 {
		p.flows = defaultFlows
	}
	if len(errs) > 0 {
		return Policy{}, errors.Join(errs...)
	}
	return p, nil
}

func parseRule(text string) (rule, error) {
	wrong := fmt.Errorf("%.80q is not a name with a port: write for example pypi.org, *.example.org or mirror.example.org:80", text)
	host, port, r := text, "443", rule{}
	if h, p, err := net.SplitHostPort(text); err == nil {
		host, port = h, p
	}
	if host, r.below = strings.CutPrefix(host, "*."); r.below {
		if _, err := netip.ParseAddr(host); err == nil {
			return rule{}, wrong
		}
	}
	t, err := parseTarget(net.JoinHostPort(strings.Trim(host, "[]"), port))
	if err != nil {
		return rule{}, wrong
	}
	if t.port == mailPort {
		return rule{}, fmt.Errorf("%.80q: port %d is never allowed", text, mailPort)
	}
	r.name, r.port = t.name, t.port
	return r, nil
}

// parsePermit reads a network in which nothing but private addresses lie, or a single address of any kind but those
// that are never reached.
func parsePermit(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if a, single := netip.ParseAddr(text); single == nil {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	if err != nil || p != p.Masked() || p.Addr().Is4In6() || p.Addr().Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%.80q is not a network: write for example 10.20.0.0/16 or 10.20.0.5/32", text)
	}
	if within(never, p.Addr()) {
		return netip.Prefix{}, fmt.Errorf("%s can never be permitted", p)
	}
	private := prefixes("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15", "fc00::/7")
	for _, around := range private {
		if around.Contains(p.Addr()) && around.Bits() <= p.Bits() {
			return p, nil
		}
	}
	if p.IsSingleIP() {
		return p, nil
	}
	return netip.Prefix{}, fmt.Errorf("%s is not within a private network; public addresses need no permission", p)
}

// allows reports whether the policy lets a kernel ask for t; where t lies is checked once its address is known.
func (p Policy) allows(t target) bool {
	for _, r := range p.rules {
		if r.port == t.port && (r.below && strings.HasSuffix(t.name, "."+r.name) || !r.below && t.name == r.name) {
			return true
		}
	}
	return false
}

// Rules shows what is allowed, as an administrator would write it.
func (p Policy) Rules() []string {
	shown := make([]string, len(p.rules))
	for i, r := range p.rules {
		name := r.name
		if r.below {
			name = "*." + name
		}
		shown[i] = net.JoinHostPort(name, strconv.Itoa(int(r.port)))
	}
	return shown
}
