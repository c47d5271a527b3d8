package egress_test

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"cellblock.io/cellblock/egress"
)

func TestAddresses(t *testing.T) {
	host := []netip.Addr{netip.MustParseAddr("5.6.7.8"), netip.MustParseAddr("10.9.9.9"), netip.MustParseAddr("2a00::1")}
	permitted := []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("100.64.0.0/10"),
	}
	for text, want := range map[string]struct{ plain, permitted bool }{
		"1.1.1.1": {true, true}, "203.0.113.1": {true, true}, "2606:4700::1": {true, true}, "2001:db8::1": {true, true},
		"::ffff:1.1.1.1": {true, true},
		"10.0.0.1":       {false, true}, "::ffff:10.0.0.1": {false, true}, "fd12::1": {false, true}, "100.64.0.1": {false, true},
		"172.16.0.1": {}, "192.168.1.1": {}, "127.0.0.1": {}, "127.8.8.8": {}, "0.0.0.0": {}, "0.1.2.3": {}, "169.254.169.254": {},
		"169.254.170.2": {}, "192.0.0.192": {}, "168.63.129.16": {}, "100.100.100.200": {}, "224.0.0.251": {}, "255.255.255.255": {},
		"240.0.0.1": {}, "198.18.0.1": {}, "192.88.99.1": {},
		"::": {}, "::1": {}, "fe80::1": {}, "fec0::1": {}, "ff02::1": {}, "fd00:ec2::254": {}, "64:ff9b::a00:1": {}, "64:ff9b:1::1": {},
		"2002:a00:1::": {}, "2001:0:a00:1::": {}, "::10.0.0.1": {}, "100::1": {}, "4000::1": {}, "fe80::1%eth0": {},
		"5.6.7.8": {}, "10.9.9.9": {}, "2a00::1": {},
	} {
		a := netip.MustParseAddr(text)
		if got := egress.CheckAddress(a, nil, host); (got == "") != want.plain {
			t.Errorf("%s: %q", text, got)
		}
		if got := egress.CheckAddress(a, permitted, host); (got == "") != want.permitted {
			t.Errorf("%s with permission: %q", text, got)
		}
	}
	for _, text := range []string{"5.6.7.8/32", "10.9.9.9/32", "2a00::1/128"} {
		p := netip.MustParsePrefix(text)
		if got := egress.CheckAddress(p.Addr(), []netip.Prefix{p}, host); got != "" {
			t.Errorf("the machine's own address, permitted alone: %s: %s", text, got)
		}
	}
}

func TestNewPolicy(t *testing.T) {
	p, err := egress.NewPolicy("x", egress.Settings{
		Allow:         []string{"PyPI.org", "*.Example.org.", "mirror.example.org:80", "10.1.2.3:8080", "[2001:db8::1]:443"},
		PermitPrivate: []string{"10.1.0.0/16", "10.1.2.3", "fd12::/16", "8.8.8.8/32"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"pypi.org:443", "*.example.org:443", "mirror.example.org:80", "10.1.2.3:8080", "[2001:db8::1]:443"}
	if got := p.Rules(); !slices.Equal(got, want) {
		t.Errorf("rules %v", got)
	}
	for _, s := range []egress.Settings{
		{Allow: []string{""}}, {Allow: []string{"*"}}, {Allow: []string{"*.*.org"}}, {Allow: []string{"a*.org"}}, {Allow: []string{"https://pypi.org"}},
		{Allow: []string{"pypi.org:0"}}, {Allow: []string{"pypi.org:https"}}, {Allow: []string{"mail.example.org:25"}}, {Allow: []string{"2130706433"}},
		{Allow: []string{"*.10.0.0.1"}}, {Allow: []string{"10.0.0.0/8"}}, {Allow: []string{"pypi.org/simple"}},
		{PermitPrivate: []string{"0.0.0.0/0"}}, {PermitPrivate: []string{"::/0"}}, {PermitPrivate: []string{"127.0.0.1/32"}}, {PermitPrivate: []string{"169.254.0.0/16"}},
		{PermitPrivate: []string{"8.0.0.0/8"}}, {PermitPrivate: []string{"10.0.0.1/8"}}, {PermitPrivate: []string{"mirror"}}, {PermitPrivate: []string{"::ffff:10.0.0.1"}},
		{PermitPrivate: []string{"100.100.100.200"}}, {PermitPrivate: []string{"fd00:ec2::254"}}, {PermitPrivate: []string{"fe80::1"}},
		{Flows: -1}, {BytesPerDay: -1},
	} {
		if p, err := egress.NewPolicy("x", s); err == nil || len(p.Rules()) > 0 {
			t.Errorf("%+v: %v, %v", s, p.Rules(), err)
		}
	}
}

func TestWildcards(t *testing.T) {
	r := newRig(t)
	pool := r.site("a.b.example.com")
	r.site("example.com")
	r.allow("alice", egress.Settings{Allow: []string{"*.example.com"}})
	socket := r.open("a", "alice")
	_ = pool
	for name, want := range map[string]int{"a.b.example.com": 200, "A.B.EXAMPLE.COM.": 200, "example.com": 403, "badexample.com": 403, "a.example.com.evil.org": 403} {
		c := r.connect(socket)
		if _, err := c.Write([]byte("CONNECT " + name + ":443 HTTP/1.1\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 12)
		if _, err := c.Read(head); err != nil || !strings.HasPrefix(string(head), "HTTP/1.1 "+map[int]string{200: "200", 403: "403"}[want]) {
			t.Errorf("%s: %q %v, want %d", name, head, err, want)
		}
		c.Close()
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, text := range []string{"example.com:443", "[::1]:1", "1.2.3.4:80", "0x7f.1:80", "[::ffff:1.2.3.4]:1", "a..b:1", "@:1", "[fe80::1%eth0]:1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		name, port, err := egress.ParseTarget(text)
		if err != nil {
			return
		}
		if port < 1 || port > 65535 || name == "" || len(name) > 253 || strings.ContainsAny(name, " /@%\\\r\n\x00") || name != strings.ToLower(name) {
			t.Errorf("%q is %q port %d", text, name, port)
		}
		if last := name[strings.LastIndexByte(name, '.')+1:]; !strings.Contains(name, ":") && strings.Trim(last, "0123456789") == "" {
			if _, err := netip.ParseAddr(name); err != nil {
				t.Errorf("%q is %q, which may be an address to others", text, name)
			}
		}
	})
}

func FuzzFeed(f *testing.F) {
	f.Add([]byte{22, 3, 1, 0, 5, 1, 0, 0, 1, 0}, 3)
	f.Add([]byte("GET / HTTP/1.1\r\n"), 1)
	f.Fuzz(func(t *testing.T, data []byte, piece int) {
		passed, err := egress.Feed("example.com", data, max(1, piece))
		if err == nil && len(passed) > 0 && (!bytes.Equal(passed, data) || !bytes.Contains(bytes.ToLower(data), []byte("example.com"))) {
			t.Errorf("%d of %d bytes passed", len(passed), len(data))
		}
	})
}
