package egress_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cellblock.io/cellblock/egress"
)

// everything is a policy with which only the address decides.
var everything = egress.Settings{Allow: []string{
	"evil.example.com", "evil.example.com:80", "10.0.0.1", "127.0.0.1", "169.254.169.254:80", "[::1]", "198.51.100.1", "8.8.8.8:853", "localhost",
}}

func TestHostileRequests(t *testing.T) {
	r := newRig(t)
	r.allow("mallory", everything)
	r.name("evil.example.com", "10.1.2.3")
	r.name("localhost", "127.0.0.1", "::1")
	socket := r.open("m", "mallory")
	for _, tt := range []struct {
		name, request string
		status        int
	}{
		{"private address", "CONNECT 10.0.0.1:443 HTTP/1.1\r\n\r\n", 403},
		{"loopback", "CONNECT 127.0.0.1:443 HTTP/1.1\r\n\r\n", 403},
		{"loopback by name", "CONNECT localhost:443 HTTP/1.1\r\n\r\n", 403},
		{"loopback v6", "CONNECT [::1]:443 HTTP/1.1\r\n\r\n", 403},
		{"the gateway's machine", "CONNECT 198.51.100.1:443 HTTP/1.1\r\n\r\n", 403},
		{"metadata", "GET http://169.254.169.254/latest/meta-data/ HTTP/1.1\r\nHost: x\r\n\r\n", 403},
		{"name with a private address", "CONNECT evil.example.com:443 HTTP/1.1\r\n\r\n", 403},
		{"name with a private address, plain", "GET http://evil.example.com/ HTTP/1.1\r\nHost: x\r\n\r\n", 403},
		{"decimal", "CONNECT 2130706433:443 HTTP/1.1\r\n\r\n", 403},
		{"octal", "CONNECT 0177.0.0.1:443 HTTP/1.1\r\n\r\n", 403},
		{"hexadecimal", "CONNECT 0x7f000001:443 HTTP/1.1\r\n\r\n", 403},
		{"short", "CONNECT 127.1:443 HTTP/1.1\r\n\r\n", 403},
		{"v4-mapped", "CONNECT [::ffff:10.0.0.1]:443 HTTP/1.1\r\n\r\n", 403},
		{"v4-mapped, hexadecimal", "CONNECT [::ffff:a00:1]:443 HTTP/1.1\r\n\r\n", 403},
		{"NAT64", "CONNECT [64:ff9b::a00:1]:443 HTTP/1.1\r\n\r\n", 403},
		{"zone", "CONNECT [fe80::1%25eth0]:443 HTTP/1.1\r\n\r\n", 403},
		{"user", "CONNECT evil.example.com:443@10.0.0.1:443 HTTP/1.1\r\n\r\n", 403},
		{"user, plain", "GET http://evil.example.com@10.0.0.1/ HTTP/1.1\r\nHost: x\r\n\r\n", 403},
		{"path", "CONNECT evil.example.com:443/x HTTP/1.1\r\n\r\n", 403},
		{"mail", "CONNECT evil.example.com:25 HTTP/1.1\r\n\r\n", 403},
		{"other port", "CONNECT evil.example.com:22 HTTP/1.1\r\n\r\n", 403},
		{"no port", "CONNECT evil.example.com HTTP/1.1\r\n\r\n", 403},
		{"port with a sign", "CONNECT evil.example.com:+443 HTTP/1.1\r\n\r\n", 400},
		{"port out of range", "CONNECT evil.example.com:65979 HTTP/1.1\r\n\r\n", 403},
		{"null byte", "CONNECT evil.example.com\x00.org:443 HTTP/1.1\r\n\r\n", 400},
		{"other name", "CONNECT good.example.org:443 HTTP/1.1\r\n\r\n", 403},
		{"name that ends alike", "CONNECT notevil.example.com:443 HTTP/1.1\r\n\r\n", 403},
		{"https without CONNECT", "GET https://evil.example.com/ HTTP/1.1\r\nHost: x\r\n\r\n", 403},
		{"other scheme", "GET file://evil.example.com/etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 403},
		{"opaque", "GET http:evil.example.com HTTP/1.1\r\nHost: x\r\n\r\n", 403},
		{"no proxy request", "GET / HTTP/1.1\r\nHost: evil.example.com\r\n\r\n", 400},
		{"CRLF in the target", "CONNECT evil.example.com:443\r\nX: y HTTP/1.1\r\n\r\n", 400},
		{"CRLF in a header", "CONNECT evil.example.com:443 HTTP/1.1\r\nX: a\rb\r\n\r\n", 400},
		{"endless header", "CONNECT evil.example.com:443 HTTP/1.1\r\nX: " + strings.Repeat("a", 1<<20) + "\r\n\r\n", 431},
		{"long name", "CONNECT " + strings.Repeat("a.", 2000) + "com:443 HTTP/1.1\r\n\r\n", 403},
		{"QUIC and others", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := r.say(socket, tt.request)
			// A header that is too long may end the connection before its answer was read.
			if status != tt.status && !(tt.status == 431 && status == 0) && !(tt.status == 0 && status >= 400) {
				t.Errorf("status %d %q, want %d", status, body, tt.status)
			}
			if tt.status == 403 && (!strings.HasPrefix(body, "Cellblock: ") || !strings.HasSuffix(body, ".\n") || strings.Count(body, "\n") != 1) {
				t.Errorf("not one sentence: %q", body)
			}
		})
	}
	if n := r.dialled(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
	for line := range strings.Lines(r.logged()) {
		if len(line) > 1000 {
			t.Errorf("a line of %d bytes in the log", len(line))
		}
	}
}

func TestNamesThatAreNotAllowedAreNotLookedUp(t *testing.T) {
	r := newRig(t)
	r.allow("mallory", everything)
	if status, _ := r.say(r.open("m", "mallory"), "CONNECT secret.exfil.example.org:443 HTTP/1.1\r\n\r\n"); status != 403 {
		t.Errorf("status %d", status)
	}
	if len(r.lookups) != 0 {
		t.Errorf("looked up %v", r.lookups)
	}
}

func TestRebinding(t *testing.T) {
	r := newRig(t)
	pool := r.site("example.com")
	r.allow("mallory", egress.Settings{Allow: []string{"example.com"}})
	var asked atomic.Int32
	r.mu.Lock()
	r.names["example.com"] = func() []netip.Addr {
		if asked.Add(1) == 1 {
			return []netip.Addr{public}
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	}
	r.mu.Unlock()
	c := r.client(r.open("m", "mallory"), pool)
	c.Transport.(*http.Transport).DisableKeepAlives = true
	if got := get(t, c, "https://example.com/"); got != "200 hello from example.com" || asked.Load() != 1 {
		t.Errorf("%s after %d lookups: the address that was checked must be the one that is dialled", got, asked.Load())
	}
	if got := get(t, c, "https://example.com/"); !strings.Contains(got, "Forbidden") {
		t.Error(got)
	}
	if r.dialled() != 1 || r.dials[0].Addr() != public {
		t.Errorf("dialled %v", r.dials)
	}
}

func TestOnlyTheAllowedOfSeveralAddressesIsDialled(t *testing.T) {
	r := newRig(t)
	pool := r.site("example.com")
	r.allow("alice", egress.Settings{Allow: []string{"example.com"}})
	r.name("example.com", "10.0.0.1", "::ffff:169.254.169.254", public.String())
	if got := get(t, r.client(r.open("a", "alice"), pool), "https://example.com/"); got != "200 hello from example.com" {
		t.Error(got)
	}
	if r.dialled() != 1 || r.dials[0].Addr() != public {
		t.Errorf("dialled %v", r.dials)
	}
}

func TestRedirectsAreLookedAt(t *testing.T) {
	r := newRig(t)
	s := httptest.NewServer(http.RedirectHandler("http://169.254.169.254/latest/meta-data/", http.StatusFound))
	t.Cleanup(s.Close)
	r.name("evil.example.com", public.String())
	r.server(public.String(), 80, s.Listener.Addr())
	r.allow("mallory", everything)
	if got := get(t, r.client(r.open("m", "mallory"), nil), "http://evil.example.com/"); !strings.HasPrefix(got, "403") {
		t.Error(got)
	}
	if r.dialled() != 1 {
		t.Errorf("dialled %v", r.dials)
	}
}

// greeting is what a TLS client says first.
func greeting(t *testing.T, c *tls.Config) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		_ = tls.Client(theirs, c).Handshake()
		theirs.Close()
	}()
	header := make([]byte, 5)
	if _, err := io.ReadFull(ours, header); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, int(header[3])<<8+int(header[4]))
	if _, err := io.ReadFull(ours, body); err != nil {
		t.Fatal(err)
	}
	return append(header, body...)
}

func TestTheGreetingMustNameWhatWasAskedFor(t *testing.T) {
	good := greeting(t, &tls.Config{ServerName: "Example.com"})
	for _, piece := range []int{1, 7, 100, 1 << 20} {
		passed, err := egress.Feed("example.com", append(good[:len(good):len(good)], "more"...), piece)
		if want := append(good[:len(good):len(good)], "more"...); err != nil || !bytes.Equal(passed, want) {
			t.Errorf("in pieces of %d: %d of %d bytes passed, %v", piece, len(passed), len(want), err)
		}
	}
	for name, data := range map[string][]byte{
		"another name":       greeting(t, &tls.Config{ServerName: "other.example.com"}),
		"no name":            greeting(t, &tls.Config{InsecureSkipVerify: true}),
		"not TLS":            []byte("GET / HTTP/1.1\r\n"),
		"SSH":                []byte("SSH-2.0-x\r\n"),
		"a broken greeting":  append([]byte{22, 3, 1, 0, 5, 1, 0, 0, 1}, 0xff, 1, 2, 3),
		"no greeting at all": {22, 3, 1, 0, 4, 2, 0, 0, 0},
		"an endless one":     append([]byte{22, 3, 1, 0x40, 0}, bytes.Repeat([]byte{1}, 1<<17)...),
		"a hidden name": greeting(t, &tls.Config{ServerName: "hidden.example.org", MinVersion: tls.VersionTLS13,
			EncryptedClientHelloConfigList: echConfig(t, "example.com")}),
	} {
		if passed, err := egress.Feed("example.com", data, 512); err == nil || len(passed) > 0 {
			t.Errorf("%s: %d bytes passed, %v", name, len(passed), err)
		}
	}
}

func TestAnotherNameInTheGreetingEndsTheTunnel(t *testing.T) {
	r := newRig(t)
	r.site("example.com")
	r.allow("mallory", egress.Settings{Allow: []string{"example.com"}})
	c := r.connect(r.open("m", "mallory"))
	fmt.Fprint(c, "CONNECT example.com:443 HTTP/1.1\r\n\r\n")
	if n, err := c.Read(make([]byte, 64)); n == 0 {
		t.Fatal(err)
	}
	if err := tls.Client(c, &tls.Config{ServerName: "fronted.example.org", InsecureSkipVerify: true}).Handshake(); err == nil {
		t.Error("a handshake for another name")
	}
	eventually(t, "log", func() bool {
		return strings.Contains(r.logged(), `reason="a TLS greeting for another name" address=203.0.113.7 sent=0`)
	})
}

func TestSlowRequests(t *testing.T) {
	r := newRig(t)
	r.proxy.HeaderTimeout(200 * time.Millisecond)
	r.allow("mallory", everything)
	c := r.connect(r.open("m", "mallory"))
	fmt.Fprint(c, "CONNECT evil.example.com:443 HTTP/1.1\r\nX: ")
	begun := time.Now()
	if _, err := io.ReadAll(c); err != nil || time.Since(begun) > 10*time.Second {
		t.Errorf("held for %v: %v", time.Since(begun), err)
	}
}

func TestTenThousandConnections(t *testing.T) {
	r := newRig(t)
	pool := r.site("example.com")
	r.allow("mallory", egress.Settings{Allow: []string{"example.com"}, Flows: 16})
	r.allow("alice", egress.Settings{Allow: []string{"example.com"}})
	socket, alice := r.open("m", "mallory"), r.client(r.open("a", "alice"), pool)
	before := runtime.NumGoroutine()
	busy := 0
	for i := range 10_000 {
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		if i < egress.MaxClients {
			defer c.Close()
			if i < 16 {
				fmt.Fprint(c, "CONNECT example.com:443 HTTP/1.1\r\n\r\n")
			}
			continue
		}
		if status, _ := answer(c); status == http.StatusTooManyRequests {
			busy++
		}
		c.Close()
	}
	if busy < 9000 {
		t.Errorf("only %d of 10 000 were told that there are too many", busy)
	}
	if n := r.dialled(); n > 16 {
		t.Errorf("%d flows of 16 were opened", n)
	}
	if n := runtime.NumGoroutine() - before; n > 5*egress.MaxClients {
		t.Errorf("%d goroutines", n)
	}
	if n := strings.Count(r.logged(), "\n"); n > 100 {
		t.Errorf("%d lines in the log", n)
	}
	if got := get(t, alice, "https://example.com/"); got != "200 hello from example.com" {
		t.Error("a neighbour:", got)
	}
}

func TestTenThousandRequests(t *testing.T) {
	r := newRig(t)
	r.allow("mallory", egress.Settings{Allow: []string{"example.com"}})
	socket := r.open("m", "mallory")
	counts := map[int]int{}
	for range 10_000 {
		status, _ := r.say(socket, "CONNECT other.example.com:443 HTTP/1.1\r\n\r\n")
		counts[status]++
	}
	if counts[403] < 200 || counts[403] > 2000 || counts[403]+counts[429] != 10_000 {
		t.Errorf("answers %v", counts)
	}
	if n := strings.Count(r.logged(), "\n"); n > 300 {
		t.Errorf("%d lines in the log", n)
	}
}

func TestFlowsAndBytesAreCappedForAllKernelsOfAnOwnerTogether(t *testing.T) {
	r := newRig(t)
	body := strings.Repeat("x", 100<<10)
	hold := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/hold" {
			fmt.Fprint(w, "begun ")
			w.(http.Flusher).Flush()
			<-hold
		}
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	release := sync.OnceFunc(func() { close(hold) })
	t.Cleanup(release)
	r.name("example.com", public.String())
	r.server(public.String(), 80, s.Listener.Addr())
	r.allow("mallory", egress.Settings{Allow: []string{"example.com:80"}, Flows: 1, BytesPerDay: 250 << 10})
	one, two := r.client(r.open("1", "mallory"), nil), r.client(r.open("2", "mallory"), nil)
	resp, err := one.Get("http://example.com/hold")
	if err != nil {
		t.Fatal(err)
	}
	if got := get(t, two, "http://example.com/"); !strings.HasPrefix(got, "429 Cellblock: the limit of the network policy is reached: too many connections") {
		t.Error(got)
	}
	release()
	if all, err := io.ReadAll(resp.Body); err != nil || len(all) != len("begun "+body) {
		t.Errorf("%d bytes, %v", len(all), err)
	}
	resp.Body.Close()
	var got string
	eventually(t, "second", func() bool { got = get(t, two, "http://example.com/"); return strings.HasPrefix(got, "200") })
	resp, err = one.Get("http://example.com/") // 200 of 250 are gone
	if err == nil {
		var all []byte
		all, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		if len(all) >= len(body) {
			t.Errorf("%d bytes beyond the limit", len(all))
		}
	}
	if err == nil {
		t.Error("the cut looks like an end")
	}
	if got := get(t, two, "http://example.com/"); !strings.HasPrefix(got, "429 Cellblock: the limit of the network policy is reached: the bytes of today") {
		t.Error(got)
	}
}
