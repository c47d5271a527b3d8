package egress

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// Refused are the networks that no kernel reaches, unless its policy permits a private one by name: what the IANA's
// registries of special-purpose addresses do not call globally reachable, and old ways to wrap one address in another.
// The documentation networks (RFC 5737, RFC 3849) are missing on purpose: nobody has them, and tests do.
var Refused = prefixes(
	"0.0.0.0/8",        // this network
	"10.0.0.0/8",       // private
	"100.64.0.0/10",    // carrier-grade NAT; Alibaba's metadata
	"127.0.0.0/8",      // loopback
	"169.254.0.0/16",   // link-local; metadata of nearly every cloud
	"172.16.0.0/12",    // private
	"192.0.0.0/24",     // protocol assignments; Oracle's metadata
	"192.88.99.0/24",   // 6to4 relays
	"192.168.0.0/16",   // private
	"198.18.0.0/15",    // benchmarks
	"224.0.0.0/4",      // multicast
	"240.0.0.0/4",      // reserved, broadcast
	"168.63.129.16/32", // Azure's host agent, at a public address
	"::/3",             // unspecified, loopback, v4-mapped, NAT64
	"2001::/23",        // protocol assignments; Teredo
	"2002::/16",        // 6to4
	"4000::/2",         // not assigned: only 2000::/3 is
	"8000::/1",         // private, link-local, multicast; AWS's metadata
)

// never are those of Refused that no policy can permit: the machine itself, its neighbours without a router, and the
// clouds' metadata.
var never = prefixes(
	"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"100.100.100.200/32", "168.63.129.16/32",
	"::/3", "2001::/23", "2002::/16", "fd00:ec2::/32", "fd20:ce::254/128", "fe80::/10", "fec0::/10", "ff00::/8",
)

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParsePrefix(text)
	}
	return list
}

func within(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

// HostAddresses returns the addresses of this machine's interfaces.
func HostAddresses() ([]netip.Addr, error) {
	found, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list this machine's addresses: %w", err)
	}
	var list []netip.Addr
	for _, address := range found {
		if p, err := netip.ParsePrefix(address.String()); err == nil {
			list = append(list, p.Addr().Unmap().WithZone(""))
		}
	}
	return list, nil
}

// checkAddress says in a few words why a may not be reached under permitted; "" means it may. host are this machine's own
// addresses, which a policy permits only one by one.
func checkAddress(a netip.Addr, permitted []netip.Prefix, host []netip.Addr) string {
	a = a.Unmap()
	switch {
	case !a.IsValid() || a.Zone() != "" || within(never, a):
		return "an address that is never reached"
	case slices.Contains(host, a) && !slices.Contains(permitted, netip.PrefixFrom(a, a.BitLen())):
		return "an address of the gateway's machine"
	case within(Refused, a) && !within(permitted, a):
		return "a private or reserved address"
	}
	return ""
}
