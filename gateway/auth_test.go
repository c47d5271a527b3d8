package gateway_test

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"cellblock.io/cellblock/gateway"
)

func basic(plain string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(plain)) }

func TestCredentials(t *testing.T) {
	for _, row := range []struct {
		name, query string
		h           header
		status      int
	}{
		{"token", "", alice, 200},
		{"Bearer", "", header{"Authorization", "Bearer alice-token"}, 200},
		{"any case", "", header{"Authorization", "tOkEn alice-token"}, 200},
		{"many blanks", "", header{"Authorization", "  token \t  alice-token  "}, 200},
		{"no scheme", "", header{"Authorization", " alice-token"}, 200},
		{"basic", "", header{"Authorization", basic("anybody:alice-token")}, 200},
		{"basic in capitals", "", header{"Authorization", strings.Replace(basic(":alice-token"), "Basic", "BASIC", 1)}, 200},
		{"basic without password", "", header{"Authorization", basic("alice-token")}, 401},
		{"basic not in base64", "", header{"Authorization", "Basic ???"}, 401},
		{"empty token", "", header{"Authorization", "token "}, 401},
		{"scheme None", "", header{"Authorization", "None alice-token"}, 401},
		{"digest", "", header{"Authorization", "Digest alice-token"}, 401},
		{"three words", "", header{"Authorization", "token alice-token x"}, 401},
		{"two headers", "", header{"Authorization", "token alice-token", "Authorization", "token bob-token"}, 401},
		{"not ASCII", "", header{"Authorization", "token älice-token"}, 401},
		{"too long", "", header{"Authorization", "token " + strings.Repeat("a", 9<<10)}, 401},
		{"query", "?token=alice-token", nil, 200},
		{"query with cache buster", "?token=alice-token&1732300000000", nil, 200},
		{"empty query", "?token=", nil, 401},
		{"empty query, good header", "?token=", alice, 200},
		{"two tokens in query", "?token=alice-token&token=bob-token", nil, 401},
		{"the same twice", "?token=alice-token&token=alice-token", nil, 200},
		{"header wins over bad query", "?token=nonsense", alice, 200},
		{"bad header, good query", "?token=alice-token", header{"Authorization", "token nonsense"}, 401},
		{"bad query, good cookie", "?token=nonsense", header{"Cookie", "cellblock-session=alice-session"}, 401},
		{"bad header, good cookie", "", header{"Authorization", "token x", "Cookie", "cellblock-session=alice-session"}, 401},
		{"cookie", "", header{"Cookie", "cellblock-session=alice-session"}, 200},
		{"token as cookie", "", header{"Cookie", "cellblock-session=alice-token"}, 401},
		{"session as token", "?token=alice-session", nil, 401},
		{"cookie of another port", "", header{"Cookie", "cellblock-session-99=alice-session"}, 401},
		{"cookie of this port", "", header{"Host", "example.com:99", "Cookie", "cellblock-session-99=alice-session"}, 200},
		{"name that cannot own", "?token=Odd-token", nil, 403},
	} {
		r := newRig(t, nil)
		w := r.do("GET", "/api/kernels"+row.query, "", row.h)
		if w.Code != row.status {
			t.Errorf("%s: %d %s, want %d", row.name, w.Code, w.Body, row.status)
		}
		if w.Code == 401 {
			if reason, _ := reasonOf(t, w); reason != "unauthorized" || w.Header().Get("Www-Authenticate") == "" {
				t.Errorf("%s: %s %v", row.name, reason, w.Header())
			}
		}
	}
	r := newRig(t, nil)
	r.people.setDown(true)
	if w := r.do("GET", "/api/kernels", "", alice); w.Code != 503 {
		t.Errorf("credentials cannot be checked: %d", w.Code)
	}
}

const (
	cookie = "cellblock-session=alice-session; _xsrf=0123456789abcdef"
	xsrf   = "0123456789abcdef"
)

func TestXSRF(t *testing.T) {
	own := header{"Cookie", cookie, "Origin", "http://example.com"}
	for _, row := range []struct {
		name   string
		h      header
		status int
		reason string
	}{
		{"right", append(header{"X-XSRFToken", xsrf}, own...), 201, ""},
		{"without Origin, as from Node", header{"Cookie", cookie, "X-XSRFToken", xsrf}, 201, ""},
		{"last of two cookies", header{"Cookie", "_xsrf=ffffffffffffffff; " + cookie, "X-XSRFToken", xsrf}, 201, ""},
		{"no header", own, 403, "xsrf"},
		{"wrong header", append(header{"X-XSRFToken", "0123456789abcdeF"}, own...), 403, "xsrf"},
		{"empty everywhere", header{"Cookie", "cellblock-session=alice-session; _xsrf=", "X-XSRFToken", ""}, 403, "xsrf"},
		{"short everywhere", header{"Cookie", "cellblock-session=alice-session; _xsrf=a", "X-XSRFToken", "a"}, 403, "xsrf"},
		{"no cookie", header{"Cookie", "cellblock-session=alice-session", "X-XSRFToken", xsrf}, 403, "xsrf"},
		{"foreign origin", header{"Cookie", cookie, "X-XSRFToken", xsrf, "Origin", "http://evil.example"}, 404, "not_found"},
		{"null origin", header{"Cookie", cookie, "X-XSRFToken", xsrf, "Origin", "null"}, 404, "not_found"},
		{"cross-site without Origin", header{"Cookie", cookie, "X-XSRFToken", xsrf, "Sec-Fetch-Site", "cross-site"}, 404, "not_found"},
		{"same site, other origin", header{"Cookie", cookie, "X-XSRFToken", xsrf, "Sec-Fetch-Site", "same-site"}, 404, "not_found"},
		{"simple form", header{"Cookie", cookie, "Content-Type", "text/plain"}, 403, "xsrf"},
		{"token needs none", append(header{"Content-Type", "text/plain"}, alice...), 201, ""},
		{"token and foreign origin", append(header{"Origin", "http://evil.example"}, alice...), 201, ""},
	} {
		r := newRig(t, nil)
		w := r.do("POST", "/api/kernels", "{}", row.h)
		if w.Code != row.status {
			t.Errorf("%s: %d %s, want %d", row.name, w.Code, w.Body, row.status)
		}
		if w.Code >= 400 {
			if reason, _ := reasonOf(t, w); reason != row.reason || r.domain.count("Start") > 0 {
				t.Errorf("%s: %s, calls %v", row.name, reason, r.domain.calls)
			}
		}
	}
	for _, row := range everyRoute {
		w := newRig(t, nil).do(row.method, row.path, row.body, own)
		if (row.method == "GET") != (w.Code != 403) {
			t.Errorf("%s %s with a cookie alone: %d", row.method, row.path, w.Code)
		}
	}
}

// sharing is what a response tells a browser about other origins.
func sharing(h http.Header) string {
	return h.Get("Access-Control-Allow-Origin") + " " + h.Get("Access-Control-Allow-Credentials")
}

func TestOrigins(t *testing.T) {
	friend := "https://friend.example"
	withCookie := header{"Cookie", cookie}
	for _, row := range []struct {
		origin  string
		api, ws int    // status with a cookie; 503 is past all checks
		share   string // with a token
	}{
		{"http://example.com", 200, 503, "http://example.com true"},
		{friend, 200, 503, friend + " true"},
		{"", 200, 403, " "},
		{"null", 404, 403, "null "},
		{"https://example.com", 404, 403, "https://example.com "},
		{"http://example.com:80", 404, 403, "http://example.com:80 "},
		{"http://example.com:8080", 404, 403, "http://example.com:8080 "},
		{"http://EXAMPLE.com", 404, 403, "http://EXAMPLE.com "},
		{"http://example.com.", 404, 403, "http://example.com. "},
		{"http://example.com.evil.example", 404, 403, "http://example.com.evil.example "},
		{"http://evilexample.com", 404, 403, "http://evilexample.com "},
		{"http://example.com@evil.example", 404, 403, "http://example.com@evil.example "},
		{"https://friend.example:8443", 404, 403, "https://friend.example:8443 "},
		{"http://friend.example", 404, 403, "http://friend.example "},
		{"file://", 404, 403, "file:// "},
		{"data:", 404, 403, "data: "},
		{"http://xn--exmple-cua.com", 404, 403, "http://xn--exmple-cua.com "},
	} {
		r := newRig(t, func(c *gateway.Config) { c.AllowOrigins = []string{friend}; c.Dial = refusingBridge })
		o := header{"Origin", row.origin}
		if row.origin == "" {
			o = nil
		}
		if w := r.do("GET", "/api/kernels", "", append(o, withCookie...)); w.Code != row.api {
			t.Errorf("%q with cookie: %d, want %d", row.origin, w.Code, row.api)
		} else if w.Code == 404 && w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%q with cookie: shared", row.origin)
		}
		if w := r.do("GET", "/api/kernels", "", append(o, alice...)); w.Code != 200 || sharing(w.Header()) != row.share {
			t.Errorf("%q with token: %d %q, want %q", row.origin, w.Code, sharing(w.Header()), row.share)
		}
		ws := "/api/kernels/" + aliceKernel + "/channels"
		if w := r.do("GET", ws, "", append(append(o, withCookie...), upgrade...)); w.Code != row.ws {
			t.Errorf("%q opens a WebSocket with a cookie: %d, want %d", row.origin, w.Code, row.ws)
		}
		if w := r.do("GET", ws+"?token=alice-token", "", append(o, upgrade...)); w.Code != 503 {
			t.Errorf("%q opens a WebSocket with a token: %d", row.origin, w.Code)
		}
		w := r.do("OPTIONS", "/api/kernels/anything", "", o)
		if allowed := row.api == 200 && row.origin != ""; w.Code != 204 || allowed != (w.Header().Get("Access-Control-Allow-Methods") != "") {
			t.Errorf("preflight of %q: %d %v", row.origin, w.Code, w.Header())
		}
	}
}

// A name that leads here is not yet a name of ours: by the same trick as in DNS rebinding, a page of evil.example would
// have the origin that the request's Host says.
func TestHostIsNotBelieved(t *testing.T) {
	for host, ours := range map[string]bool{
		"example.com": true, "example.com:8888": true, "127.0.0.1:8888": true, "10.0.0.7": true, "[::1]:8888": true, "[fe80::1]": true,
		"localhost": true, "localhost:8888": true,
		"evil.example": false, "evil.example:8888": false, "127.0.0.1.evil.example": false, "example.com.evil.example": false,
		"localhost.evil.example": false, "EXAMPLE.com": false, "example.com.": false, "": false, "127.1": false, "2130706433": false,
	} {
		r := newRig(t, func(c *gateway.Config) { c.Dial = refusingBridge })
		name := "cellblock-session"
		if _, port, err := net.SplitHostPort(host); err == nil {
			name += "-" + port
		}
		h := header{"Host", host, "Origin", "http://" + host, "Cookie", name + "=alice-session; _xsrf=" + xsrf, "X-XSRFToken", xsrf}
		want := map[bool]int{true: 503, false: 403}[ours]
		if w := r.do("GET", "/api/kernels/"+aliceKernel+"/channels", "", append(h, upgrade...)); w.Code != want {
			t.Errorf("WebSocket at %q: %d, want %d", host, w.Code, want)
		}
		want = map[bool]int{true: 201, false: 404}[ours]
		if w := r.do("POST", "/api/kernels", "{}", h); w.Code != want {
			t.Errorf("start at %q: %d, want %d", host, w.Code, want)
		}
	}
}

func TestForwardedHeadersOfTrustedProxiesOnly(t *testing.T) {
	forwarded := header{"Cookie", "cellblock-session-8443=alice-session", "Host", "10.0.0.1:80",
		"X-Forwarded-Proto", "https", "X-Forwarded-Host", "gw.example:8443", "Origin", "https://gw.example:8443"}
	trust := func(c *gateway.Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} }
	if w := newRig(t, trust).from("10.1.2.3:4", "GET", "/api/kernels", "", forwarded); w.Code != 200 {
		t.Errorf("trusted: %d %s", w.Code, w.Body)
	}
	if w := newRig(t, trust).from("11.1.2.3:4", "GET", "/api/kernels", "", forwarded); w.Code != 401 {
		t.Errorf("not trusted: %d %s", w.Code, w.Body)
	}
	if w := newRig(t, nil).from("10.1.2.3:4", "GET", "/api/kernels", "", forwarded); w.Code != 401 {
		t.Errorf("none configured: %d %s", w.Code, w.Body)
	}
	spoofed := header{"Cookie", cookie, "Host", "example.com", "Origin", "http://evil.example", "X-Forwarded-Host", "evil.example"}
	if w := newRig(t, nil).do("GET", "/api/kernels", "", spoofed); w.Code != 404 {
		t.Errorf("spoofed host: %d", w.Code)
	}
}

func TestPreflightNeedsNoCredential(t *testing.T) {
	for _, path := range []string{"/api", "/api/kernels", "/api/sessions/" + aliceSession, "/nothing", "/%2f", "*"} {
		r := newRig(t, nil)
		w := r.do("OPTIONS", path, "", header{"Origin", "http://example.com"})
		if w.Code != 204 || w.Header().Get("Access-Control-Allow-Headers") != "accept, authorization, content-type, x-xsrftoken" {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
		if len(r.people.asked) > 0 || len(r.domain.calls) > 0 {
			t.Errorf("%s: somebody was asked", path)
		}
	}
}

func TestLogin(t *testing.T) {
	r := newRig(t, func(c *gateway.Config) { c.BaseURL = "/cells" })
	w := r.do("GET", "/cells/login?", "", header{"Host", "gw.example:8443", "TLS", "yes"})
	given := w.Result().Cookies()
	if w.Code != 200 || len(given) != 1 || given[0].Name != "_xsrf" || given[0].HttpOnly || given[0].Path != "/cells/" || !given[0].Secure {
		t.Fatalf("login page: %d %v", w.Code, w.Header())
	}
	again := r.do("GET", "/cells/", "", header{"Cookie", "_xsrf=" + given[0].Value})
	if len(again.Result().Cookies()) > 0 {
		t.Errorf("a second _xsrf cookie: %v", again.Header())
	}
	token := given[0].Value
	for _, field := range []string{"token", "password"} {
		w = r.do("POST", "/cells/login?", fmt.Sprintf("_xsrf=%s&%s=alice-token", token, field),
			header{"Cookie", "_xsrf=" + token, "Host", "gw.example:8443", "TLS", "yes", "Origin", "https://gw.example:8443"})
		got := w.Header().Get("Set-Cookie")
		if w.Code != 302 || w.Header().Get("Location") != "/cells/" ||
			got != "cellblock-session-8443=alice-session; Path=/cells/; HttpOnly; Secure; SameSite=Lax" {
			t.Errorf("%s: %d %v", field, w.Code, w.Header())
		}
	}
	for _, row := range []struct {
		name, body string
		h          header
		status     int
		reason     string
	}{
		{"bad token", "token=nonsense&_xsrf=" + token, nil, 401, "unauthorized"},
		{"no token", "_xsrf=" + token, nil, 401, "unauthorized"},
		{"no xsrf", "token=alice-token", nil, 403, "xsrf"},
		{"wrong xsrf", "token=alice-token&_xsrf=0123456789012345678", nil, 403, "xsrf"},
		{"foreign", "token=alice-token&_xsrf=" + token, header{"Origin", "http://evil.example"}, 403, "origin"},
		{"cross-site", "token=alice-token&_xsrf=" + token, header{"Sec-Fetch-Site", "cross-site"}, 403, "origin"},
		{"not a form", "%zz", nil, 400, "invalid"},
		{"too long", "token=" + strings.Repeat("a", 13<<10), nil, 413, "too_large"},
	} {
		w := r.do("POST", "/cells/login", row.body, append(header{"Cookie", "_xsrf=" + token}, row.h...))
		if reason, _ := reasonOf(t, w); w.Code != row.status || reason != row.reason || w.Header().Get("Set-Cookie") != "" {
			t.Errorf("%s: %d %s %v", row.name, w.Code, reason, w.Header())
		}
	}
	w = r.do("POST", "/cells/login", "token=nonsense&_xsrf="+token,
		header{"Cookie", "_xsrf=" + token, "Accept", "text/html,application/xhtml+xml;q=0.9", "Origin", "http://example.com"})
	if w.Code != 303 || w.Header().Get("Location") != "/cells/login?error=unauthorized" {
		t.Errorf("browser with a bad token: %d %v", w.Code, w.Header())
	}
	w = r.do("POST", "/cells/login?next=//evil.example", "next=//evil.example&token=alice-token&_xsrf="+token, header{"Cookie", "_xsrf=" + token})
	if w.Header().Get("Location") != "/cells/" {
		t.Errorf("redirected to %s", w.Header().Get("Location"))
	}
}

func TestLogout(t *testing.T) {
	r := newRig(t, nil)
	h := header{"Cookie", cookie}
	if w := r.do("POST", "/logout", "", h); w.Code != 403 {
		t.Errorf("without xsrf: %d", w.Code)
	}
	w := r.do("POST", "/logout", "{}", append(header{"X-XSRFToken", xsrf, "Content-Type", "application/json"}, h...))
	if w.Code != 302 || w.Header().Get("Location") != "/login" ||
		w.Header().Get("Set-Cookie") != "cellblock-session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w := r.do("GET", "/api/kernels", "", h); w.Code != 401 {
		t.Errorf("session after logout: %d", w.Code)
	}
}

func TestGuessingIsSlowedDown(t *testing.T) {
	r := newRig(t, nil)
	login := func(from, token string) int {
		return r.from(from, "POST", "/login", "token="+token+"&_xsrf="+xsrf, header{"Cookie", "_xsrf=" + xsrf}).Code
	}
	for i := range 30 { // good ones do not count
		if code := login("192.0.2.1:1", "alice-token"); code != 302 {
			t.Fatalf("login %d: %d", i, code)
		}
	}
	for i := range 20 {
		if code := login("192.0.2.1:1", "nonsense"); code != 401 {
			t.Fatalf("guess %d: %d", i, code)
		}
	}
	if code := login("192.0.2.1:2", "alice-token"); code != 429 {
		t.Errorf("guess 21: %d", code)
	}
	if code := login("192.0.2.2:1", "alice-token"); code != 302 {
		t.Errorf("neighbour: %d", code)
	}
	for i := range 20 {
		login(fmt.Sprintf("[2001:db8::%x]:1", i), "nonsense")
	}
	if code := login("[2001:db8::ffff]:1", "alice-token"); code != 429 {
		t.Errorf("same IPv6 network: %d", code)
	}
	if code := login("[2001:db8:0:1::1]:1", "alice-token"); code != 302 {
		t.Errorf("other IPv6 network: %d", code)
	}
	for i := range 5000 { // more addresses than are remembered
		login(fmt.Sprintf("10.%d.%d.1:1", i/250, i%250), "nonsense")
	}
	if code := login("198.51.100.1:1", "alice-token"); code != 302 {
		t.Errorf("newcomer when full: %d", code)
	}
}
