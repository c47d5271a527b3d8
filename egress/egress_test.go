package egress_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cellblock.io/cellblock/egress"
)

func get(t *testing.T, c *http.Client, address string) string {
	t.Helper()
	resp, err := c.Get(address)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(resp.StatusCode, " ", string(body))
}

func TestAllowedNameByTLS(t *testing.T) {
	r := newRig(t)
	pool := r.site("example.com")
	r.allow("alice", egress.Settings{Allow: []string{"example.com"}})
	c := r.client(r.open("a", "alice"), pool)
	if got := get(t, c, "https://example.com/"); got != "200 hello from example.com" {
		t.Fatal(got)
	}
	c.CloseIdleConnections()
	eventually(t, "log", func() bool { return strings.Contains(r.logged(), "verdict=allowed") })
	for _, want := range []string{"tenant=alice", "kernel=id-a", "name=example.com", "port=443", "address=203.0.113.7", "sent=", "received=", "took="} {
		if !strings.Contains(r.logged(), want) {
			t.Errorf("no %s in the log: %s", want, r.logged())
		}
	}
}

func TestPlainHTTPOnlyAtAPortOfThePolicy(t *testing.T) {
	r := newRig(t)
	var host, auth string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		host, auth = req.Host, req.Header.Get("Proxy-Authorization")
		fmt.Fprint(w, "plain")
	}))
	t.Cleanup(s.Close)
	r.name("mirror.example.com", public.String())
	r.server(public.String(), 80, s.Listener.Addr())
	r.allow("alice", egress.Settings{Allow: []string{"mirror.example.com"}})
	c := r.client(r.open("a", "alice"), nil)
	if got := get(t, c, "http://mirror.example.com/x"); !strings.HasPrefix(got, "403 Cellblock: the network policy test does not allow mirror.example.com:80") {
		t.Error(got)
	}
	r.allow("alice", egress.Settings{Allow: []string{"mirror.example.com:80"}})
	if got := get(t, c, "http://mirror.example.com/x"); got != "200 plain" {
		t.Error(got)
	}
	status, body := r.say(r.open("a", "alice"), "GET http://mirror.example.com/ HTTP/1.1\r\nHost: other.example\r\nProxy-Authorization: secret\r\nConnection: close\r\n\r\n")
	if status != 200 || body == "" || host != "mirror.example.com" || auth != "" {
		t.Errorf("status %d %q, Host %q, Proxy-Authorization %q", status, body, host, auth)
	}
}

func TestEverySocketIsItsOwnersAlone(t *testing.T) {
	r := newRig(t)
	pool := r.site("example.com")
	r.allow("alice", egress.Settings{Allow: []string{"example.com"}})
	alice, bob := r.client(r.open("a", "alice"), pool), r.client(r.open("b", "bob"), pool)
	if got := get(t, alice, "https://example.com/"); got != "200 hello from example.com" {
		t.Error("alice:", got)
	}
	if got := get(t, bob, "https://example.com/"); !strings.Contains(got, "Forbidden") {
		t.Error("bob:", got)
	}
	if _, body := r.say(r.open("b", "bob"), "CONNECT example.com:443 HTTP/1.1\r\n\r\n"); !strings.Contains(body, "this account may not reach example.com:443") {
		t.Error("bob reads", body)
	}
}

func TestAServerThatDoesNotAnswer(t *testing.T) {
	r := newRig(t)
	r.name("away.example.com", public.String())
	r.allow("alice", egress.Settings{Allow: []string{"away.example.com", "away.example.com:80", "nowhere.example.com"}})
	socket := r.open("a", "alice")
	for text, want := range map[string]string{
		"CONNECT away.example.com:443 HTTP/1.1\r\n\r\n":                                 "away.example.com:443 does not answer.",
		"GET http://away.example.com/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n": "away.example.com does not answer.",
		"CONNECT nowhere.example.com:443 HTTP/1.1\r\n\r\n":                              "no address was found for nowhere.example.com.",
	} {
		if status, body := r.say(socket, text); status != 502 || !strings.Contains(body, want) {
			t.Errorf("%q: %d %q", text, status, body)
		}
	}
}

func TestAnUnknownPolicyRefuses(t *testing.T) {
	r := newRig(t)
	r.site("example.com")
	r.allow("alice", egress.Settings{Allow: []string{"example.com"}})
	socket := r.open("a", "alice")
	r.mu.Lock()
	r.broken = io.ErrUnexpectedEOF
	r.mu.Unlock()
	if status, body := r.say(socket, "CONNECT example.com:443 HTTP/1.1\r\n\r\n"); status != 503 || !strings.Contains(body, "cannot be read") {
		t.Errorf("%d %q", status, body)
	}
}

func TestAChangedPolicyCutsWhatItNoLongerAllows(t *testing.T) {
	r := newRig(t)
	pool := r.site("example.com")
	both := egress.Settings{Allow: []string{"example.com", "example.com:80"}}
	r.allow("alice", both)
	socket := r.open("a", "alice")
	c := r.connect(socket)
	fmt.Fprint(c, "CONNECT example.com:443 HTTP/1.1\r\n\r\n")
	var first [64]byte
	if n, _ := c.Read(first[:]); !strings.Contains(string(first[:n]), "200") {
		t.Fatal(string(first[:n]))
	}
	secure := tls.Client(c, &tls.Config{ServerName: "example.com", RootCAs: pool})
	if err := secure.Handshake(); err != nil {
		t.Fatal(err)
	}
	r.allow("alice", egress.Settings{Allow: []string{"example.com:80"}})
	if n, err := c.Read(first[:]); err == nil {
		t.Errorf("still open: %q", first[:n])
	}
	eventually(t, "log", func() bool { return strings.Contains(r.logged(), `reason="the policy has changed"`) })
	if status, _ := r.say(socket, "CONNECT example.com:443 HTTP/1.1\r\n\r\n"); status != 403 {
		t.Errorf("a new request: %d", status)
	}
}

func TestAKernelWithoutDirectoryHasNoSocket(t *testing.T) {
	r := newRig(t)
	pool := r.site("example.com")
	r.allow("alice", egress.Settings{Allow: []string{"example.com"}})
	socket := r.open("a", "alice")
	if got := get(t, r.client(socket, pool), "https://example.com/"); !strings.HasPrefix(got, "200") {
		t.Fatal(got)
	}
	held := r.connect(socket)
	if err := os.RemoveAll(filepath.Dir(socket)); err != nil {
		t.Fatal(err)
	}
	if _, err := held.Read(make([]byte, 1)); err == nil {
		t.Error("the connection of a removed kernel goes on")
	}
	r.open("a", "alice") // and the handle is free
}

func TestRunEndsWithOpenTunnelsAndOpenReplacesWhatWasLeft(t *testing.T) {
	r := newRig(t)
	r.site("example.com")
	r.allow("alice", egress.Settings{Allow: []string{"example.com"}})
	socket := r.open("a", "alice")
	c := r.connect(socket)
	fmt.Fprint(c, "CONNECT example.com:443 HTTP/1.1\r\n\r\n")
	eventually(t, "dial", func() bool { return r.dialled() == 1 })
	r.stop()
	if err := r.proxy.Open(egress.Kernel{Handle: "b", Owner: "alice"}, filepath.Join(r.dir, "s")); err == nil {
		t.Error("a proxy that has ended opens sockets")
	}
	if err := os.WriteFile(socket, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	next := newRig(t)
	if err := next.proxy.Open(egress.Kernel{Handle: "a", Owner: "alice"}, socket); err != nil {
		t.Fatal(err)
	}
	if status, _ := next.say(socket, "CONNECT example.com:443 HTTP/1.1\r\n\r\n"); status != 403 {
		t.Errorf("status %d", status)
	}
}

func TestAddressesAreCheckedAtTheLastMoment(t *testing.T) {
	p := egress.New(egress.Config{Refuse: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}})
	for _, to := range []string{"127.0.0.1:1", "[::1]:1", "169.254.169.254:80", "203.0.113.7:443"} {
		if err := p.DialChecked(t.Context(), netip.MustParseAddrPort(to)); err == nil || !strings.Contains(err.Error(), "address") {
			t.Errorf("%s: %v", to, err)
		}
	}
}
