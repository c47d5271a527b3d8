package doctor

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// soon is how long before its end a certificate should have been renewed.
const soon = 14 * 24 * time.Hour

// gatewayChecks are about what other machines see of the gateway.
var gatewayChecks = []check{
	{"gateway.encryption", "Tokens and people's code must not cross a network in the open.",
		"", encryption},
	{"gateway.port", "Without its port the gateway does not start.",
		"", port},
	{"gateway.certificate", "Clients refuse a gateway whose certificate has ended or is of another key.",
		"", certificate},
	{"gateway.clock", "Tokens, sessions and certificates end by the clock.",
		"timedatectl set-ntp true, or apt-get install chrony", clock},
}

// encryption looks at the configured address alone; serve warns by it, too.
func encryption(h *Host) verdict {
	c := h.Config
	host, _, err := net.SplitHostPort(c.Listen)
	ip := net.ParseIP(host)
	switch {
	case err != nil:
		return unknown("listen", err)
	case host == "localhost" || ip != nil && ip.IsLoopback():
		return ok("Other machines cannot reach %s.", c.Listen)
	case c.TLS.Cert != "":
		return ok("The gateway speaks https.")
	case len(c.TrustedProxies) > 0:
		return ok("A proxy stands before the gateway.")
	}
	return warn("Other machines can reach %s without encryption.", c.Listen).
		with("tls.cert and tls.key in %s; or listen: 127.0.0.1:8888 there and a proxy before it", h.ConfigFile)
}

// port finds out who listens there, if anybody.
func port(h *Host) verdict {
	_, text, err := net.SplitHostPort(h.Config.Listen)
	if err != nil {
		return unknown("listen", err)
	}
	wanted, err := strconv.Atoi(text)
	if err != nil {
		return unknown("listen", err)
	}
	listeners, err := h.listeners(wanted)
	first, unprivileged := h.number("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	switch {
	case err != nil:
		return unknown("Who listens at port "+text, err)
	case slices.Contains(listeners, h.front()):
		return ok("The gateway's user listens at port %d.", wanted)
	case len(listeners) > 0:
		return fail("A program of user %d listens at port %d.", listeners[0], wanted).
			with("stop it (ss -ltnp 'sport = :%d' names it), or deploy/up --listen ADDRESS:PORT", wanted)
	case unprivileged == nil && wanted < first && h.User.UID != 0:
		return fail("Port %d is only for root.", wanted).
			with("%s; or a port from %d on, with deploy/up --listen ADDRESS:PORT", setSysctl("net.ipv4.ip_unprivileged_port_start", wanted), first)
	}
	return ok("Port %d is free.", wanted)
}

// listeners returns the users of the TCP sockets that listen at a port.
func (h *Host) listeners(port int) ([]int, error) {
	var users []int
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		lines, err := h.lines(table)
		if absent(err) && table == "/proc/net/tcp6" {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, line := range lines {
			fields := strings.Fields(line)
			// sl, local address, remote address, state (0A listens), queues, timers, retransmissions, uid
			if len(fields) < 8 || fields[3] != "0A" || !strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) {
				continue
			}
			if uid, err := strconv.Atoi(fields[7]); err == nil {
				users = append(users, uid)
			}
		}
	}
	return users, nil
}

// certificate looks at the files of tls.
func certificate(h *Host) verdict {
	names := h.Config.TLS
	if names.Cert == "" {
		return notApplicable("The gateway speaks plain HTTP.")
	}
	cert, err := h.read(names.Cert, maxText)
	if err != nil {
		return h.missing(names.Cert, err)
	}
	key, err := h.read(names.Key, maxText)
	if err != nil {
		return h.missing(names.Key, err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fail("tls.cert and tls.key do not fit: %v.", err).with("files of one certificate and its key, in PEM, in %s", h.ConfigFile)
	}
	mode, _, err := h.stat(names.Key)
	if err == nil && mode.Perm()&0o007 != 0 {
		return fail("Everybody can read the key %s.", names.Key).with("chmod o= %s", names.Key)
	}
	renew := "renew the certificate in " + names.Cert + ", then run deploy/up"
	until, from := pair.Leaf.NotAfter, pair.Leaf.NotBefore
	switch date := until.UTC().Format(time.DateOnly); {
	case h.Now.After(until):
		return fail("The certificate ended on %s.", date).with("%s", renew)
	case h.Now.Before(from):
		return fail("The certificate begins only on %s.", from.UTC().Format(time.DateOnly)).with("%s", renew)
	case h.Now.Add(soon).After(until):
		return warn("The certificate ends on %s.", date).with("%s", renew)
	default:
		return ok("The certificate holds until %s.", date)
	}
}

func (h *Host) missing(file string, err error) verdict {
	if absent(err) {
		return fail("There is no %s.", file).with("tls.cert and tls.key in %s: the paths of a certificate and its key", h.ConfigFile)
	}
	return unknown(file, err)
}

func clock(h *Host) verdict {
	if h.Now.Before(h.Built) {
		return fail("The clock says %s, and this program was made on %s.", h.Now.UTC().Format(time.DateOnly), h.Built.UTC().Format(time.DateOnly))
	}
	synchronized, err := h.Clock()
	switch {
	case err != nil:
		return unknown("The clock", err)
	case !synchronized:
		return warn("Nobody keeps the clock right.")
	}
	return ok("The clock is kept right.")
}
