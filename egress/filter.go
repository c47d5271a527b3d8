package egress

import (
	"net/netip"
	"strings"
)

// Filter returns a ruleset for nft that refuses in the network namespace of a kernel with network "internet" what the
// proxy refuses: Refused, more networks of the site's, the machine's own addresses, and mail. dns alone is reached for
// names. It replaces what it left there before.
func Filter(refuse []netip.Prefix, host []netip.Addr, dns netip.Addr) string {
	four, six := []string{}, []string{}
	add := func(p netip.Prefix) {
		if p.Addr().Is4() {
			four = append(four, p.String())
		} else {
			six = append(six, p.String())
		}
	}
	for _, p := range Refused {
		add(p)
	}
	for _, p := range refuse {
		add(p.Masked())
	}
	for _, a := range host {
		add(netip.PrefixFrom(a, a.BitLen()))
	}
	return strings.NewReplacer(
		"FOUR", strings.Join(four, ", "), "SIX", strings.Join(six, ", "), "DNS", dns.String(),
	).Replace(ruleset)
}

// What a neighbour discovery of slirp4netns needs goes to link-local addresses and comes first. ICMP is not there:
// kernels cannot send any.
const ruleset = `add table inet cellblock
delete table inet cellblock
table inet cellblock {
	set refused4 { type ipv4_addr; flags interval; auto-merge; elements = { FOUR }; }
	set refused6 { type ipv6_addr; flags interval; auto-merge; elements = { SIX }; }
	chain out {
		type filter hook output priority 0; policy drop;
		oifname "lo" accept
		icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } accept
		ip daddr DNS meta l4proto { tcp, udp } th dport 53 accept
		ip daddr @refused4 reject with icmpx type admin-prohibited
		ip6 daddr @refused6 reject with icmpx type admin-prohibited
		meta l4proto { tcp, udp } th dport 25 reject with icmpx type admin-prohibited
		meta l4proto { tcp, udp } accept
	}
	chain in {
		type filter hook input priority 0; policy accept;
		iifname != "lo" meta l4proto tcp tcp flags & (syn | ack) == syn drop
	}
}
`
