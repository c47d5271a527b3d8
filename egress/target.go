package egress

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

const maxName = 253 // bytes, RFC 1035

var (
	errTarget = errors.New("not a name and a port")
	errNumber = errors.New("a number that some programs take for an address")
)

// target is where a kernel wants to go.
type target struct {
	name    string     // lower case, without a dot at the end; an address in its canonical form
	address netip.Addr // when name is an address
	port    uint16
}

func (t target) String() string { return net.JoinHostPort(t.name, strconv.Itoa(int(t.port))) }

// parseTarget reads "name:port" or "[address]:port" and nothing else: no user, no path, no zone, no other way to write an
// address than the usual one (2130706433, 0x7f.1 and 0177.0.0.1 are 127.0.0.1 to some resolvers).
func parseTarget(text string) (target, error) {
	if len(text) > maxName+len(":65535") {
		return target{}, errTarget
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return target{}, errTarget
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || port[0] == '0' || port[0] == '+' {
		return target{}, errTarget
	}
	t := target{port: uint16(n)}
	if a, err := netip.ParseAddr(host); err == nil {
		if a.Zone() != "" {
			return target{}, errTarget
		}
		t.address = a.Unmap()
		t.name = t.address.String()
		return t, nil
	}
	if text[0] == '[' {
		return target{}, errTarget
	}
	t.name = strings.ToLower(strings.TrimSuffix(host, "."))
	return t, checkName(t.name)
}

// checkName accepts host names of letters, digits, "-" and "_". Names in other letters come in their ASCII form (xn--…).
func checkName(name string) error {
	if name == "" || len(name) > maxName {
		return errTarget
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return errTarget
		}
		for i := range len(label) {
			if c := label[i]; c != '-' && c != '_' && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') {
				return errTarget
			}
		}
	}
	// Whatever ends in a number is an address by the rules of the web (URL standard, "ends in a number").
	last := labels[len(labels)-1]
	if _, err := strconv.ParseUint(last, 0, 64); err == nil || strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		return errNumber
	}
	return nil
}
