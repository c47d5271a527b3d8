package gateway_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"cellblock.io/cellblock/gateway"
)

// everyRoute is all that needs a credential, with the status that alice gets.
var everyRoute = []struct {
	method, path, body string
	status             int
}{
	{"GET", "/api/me", "", 200},
	{"GET", "/api/status", "", 200},
	{"GET", "/api/kernelspecs", "", 200},
	{"GET", "/api/kernelspecs/python3", "", 200},
	{"GET", "/kernelspecs/python3/logo-64x64.png", "", 200},
	{"GET", "/api/kernels", "", 200},
	{"POST", "/api/kernels", "", 201},
	{"GET", "/api/kernels/" + aliceKernel, "", 200},
	{"POST", "/api/kernels/" + aliceKernel + "/interrupt", "", 204},
	{"POST", "/api/kernels/" + aliceKernel + "/restart", "", 200},
	{"GET", "/api/kernels/" + aliceKernel + "/channels", "", 400},
	{"DELETE", "/api/kernels/" + aliceKernel, "", 204},
	{"GET", "/api/sessions", "", 200},
	{"POST", "/api/sessions", `{"path":"b","type":"console"}`, 201},
	{"GET", "/api/sessions/" + aliceSession, "", 200},
	{"PATCH", "/api/sessions/" + aliceSession, `{"path":"c"}`, 200},
	{"DELETE", "/api/sessions/" + aliceSession, "", 204},
	{"GET", "/api/unknown", "", 404},
	{"GET", "/somewhere", "", 404},
	{"PUT", "/api/kernels", "", 405},
}

func TestEveryRouteNeedsACredential(t *testing.T) {
	for _, base := range []string{"", "/cells/block"} {
		for _, route := range everyRoute {
			for name, h := range map[string]header{
				"none": nil, "bad": {"Authorization", "token nonsense"}, "empty": {"Authorization", "token "},
				"bad cookie": {"Cookie", "cellblock-session=nonsense"}, "bad query": nil,
			} {
				r := newRig(t, func(c *gateway.Config) { c.BaseURL = base })
				path := base + route.path
				if name == "bad query" {
					path += "?token=nonsense"
				}
				w := r.do(route.method, path, route.body, h)
				if reason, _ := reasonOf(t, w); w.Code != 401 || reason != "unauthorized" {
					t.Errorf("%s %s with %s credential: %d %s", route.method, path, name, w.Code, reason)
				}
				if len(r.domain.calls) > 0 {
					t.Errorf("%s %s with %s credential reached the domain: %v", route.method, path, name, r.domain.calls)
				}
			}
			r := newRig(t, func(c *gateway.Config) { c.BaseURL = base })
			if w := r.do(route.method, base+route.path, route.body, alice); w.Code != route.status {
				t.Errorf("%s %s: %d %s, want %d", route.method, base+route.path, w.Code, w.Body, route.status)
			}
		}
	}
}

func TestOpenRoutes(t *testing.T) {
	r := newRig(t, nil)
	for path, want := range map[string]struct {
		status int
		body   string
	}{
		"/api": {200, `{"version":"1.2.3"}`}, "/api/": {200, `{"version":"1.2.3"}`}, "/api?1732300000000": {200, `{"version":"1.2.3"}`},
		"/healthz": {200, `{"status":"ok","problems":[]}`},
		"/tree?":   {404, `{"message":"There is nothing at this path.","reason":"not_found"}`},
		"/hub/api": {404, `{"message":"There is nothing at this path.","reason":"not_found"}`},
		"/":        {200, "page /"}, "/login": {200, "page /login"}, "/login?": {200, "page /login"},
		"/static/app.js": {200, "page /static/app.js"}, "/favicon.ico": {200, "page /favicon.ico"},
	} {
		w := r.do("GET", path, "", nil)
		if w.Code != want.status || strings.TrimSpace(w.Body.String()) != want.body {
			t.Errorf("GET %s: %d %q", path, w.Code, w.Body)
		}
		if w := r.do("HEAD", path, "", nil); w.Code != want.status {
			t.Errorf("HEAD %s: %d", path, w.Code)
		}
	}
}

func TestPathsBelowTheBase(t *testing.T) {
	r := newRig(t, func(c *gateway.Config) { c.BaseURL = "/cells/" })
	if w := r.do("GET", "/cells", "", nil); w.Code != 302 || w.Header().Get("Location") != "/cells/" {
		t.Errorf("base without slash: %d %v", w.Code, w.Header())
	}
	if w := r.do("GET", "/cells/static/x", "", nil); w.Code != 200 || w.Body.String() != "page /static/x" {
		t.Errorf("page: %d %s", w.Code, w.Body)
	}
	for _, path := range []string{"/api/kernels", "/cellsapi/kernels", "/", "/cell"} {
		if w := r.do("GET", path, "", alice); w.Code != 404 {
			t.Errorf("GET %s: %d", path, w.Code)
		}
	}
	w := r.do("POST", "/cells/api/kernels", "", alice)
	if got := w.Header().Get("Location"); !strings.HasPrefix(got, "/cells/api/kernels/") {
		t.Errorf("Location %q", got)
	}
	w = r.do("GET", "/cells/api/kernelspecs", "", alice)
	if !strings.Contains(w.Body.String(), `"/cells/kernelspecs/python3/logo-64x64.png"`) {
		t.Errorf("resources: %s", w.Body)
	}
}

func TestOddPaths(t *testing.T) {
	r := newRig(t, nil)
	for path, status := range map[string]int{
		"//api//kernels": 200, "/api/kernels/": 200, "/api/kernels//" + aliceKernel + "/": 200,
		"/api/%2e%2e/api/kernels": 404, "/api/./kernels": 404, "/api/kernels/..": 404, "/api%2fkernels": 404, "/api/kernels%2F": 404,
		"/api/kernels/%00": 404, "/api/kernels/a%0ab": 404, `/api\kernels`: 404, "/api/kernels/%5c..": 404, "/api/kernels/%ff": 404,
		"/api/kernels/;" + aliceKernel: 404, "/api/kernels/" + aliceKernel + ";x": 404, "/api/kernels/" + strings.Repeat("a", 10<<10): 404,
		"/api/kernels/%C3%A9-1-1-1-1": 404, "/api/kernels/" + aliceKernel + "%20": 404, "/API/kernels": 404,
		"/kernelspecs/python3/..%2f..%2fetc%2fpasswd": 404, "/kernelspecs/../python3/logo-64x64.png": 404,
	} {
		if w := r.do("GET", path, "", alice); w.Code != status {
			t.Errorf("GET %.80s: %d %s, want %d", path, w.Code, w.Body, status)
		} else if status == 404 {
			reasonOf(t, w)
		}
	}
}

func TestMethods(t *testing.T) {
	r := newRig(t, nil)
	w := r.do("PUT", "/api/kernels/"+aliceKernel, "", alice)
	if reason, _ := reasonOf(t, w); w.Code != 405 || reason != "method" || w.Header().Get("Allow") != "GET, DELETE, HEAD, OPTIONS" {
		t.Errorf("%d %s %v", w.Code, reason, w.Header())
	}
	for _, method := range []string{"TRACE", "PROPFIND", "BREW"} {
		if w := r.do(method, "/api/kernels", "", alice); w.Code != 405 {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
	if w := r.do("POST", "/api/kernels/"+aliceKernel, "", append(header{"X-Http-Method-Override", "DELETE"}, alice...)); w.Code != 405 {
		t.Errorf("overridden method: %d", w.Code)
	}
	if w := r.do("HEAD", "/api/kernels", "", alice); w.Code != 200 {
		t.Errorf("HEAD: %d", w.Code)
	}
}

func TestHealth(t *testing.T) {
	for want, h := range map[string]gateway.Health{
		`200 {"status":"ok","problems":[]}`:             {OK: true},
		`200 {"status":"degraded","problems":["No."]}`:  {OK: true, Problems: []string{"No."}},
		`503 {"status":"failing","problems":["Down."]}`: {Problems: []string{"Down."}},
		`503 {"status":"failing","problems":[]}`:        {},
	} {
		r := newRig(t, func(c *gateway.Config) { c.Health = func() gateway.Health { return h } })
		w := r.do("GET", "/healthz", "", nil)
		if got := http.StatusText(w.Code) + " " + strings.TrimSpace(w.Body.String()); !strings.HasSuffix(want, got[strings.Index(got, "{"):]) ||
			!strings.HasPrefix(want, w.Result().Status[:3]) {
			t.Errorf("%+v: %s", h, got)
		}
	}
}

func TestMetricsAreNotForTenants(t *testing.T) {
	for _, row := range []struct {
		name   string
		open   bool
		from   string
		h      header
		status int
	}{
		{"this machine", false, "127.0.0.1:1", nil, 200},
		{"this machine, IPv6", false, "[::1]:1", nil, 200},
		{"through a proxy here", false, "127.0.0.1:1", header{"X-Forwarded-For", "203.0.113.1"}, 401},
		{"elsewhere", false, "203.0.113.1:1", nil, 401},
		{"tenant", false, "203.0.113.1:1", alice, 404},
		{"administrator", false, "203.0.113.1:1", header{"Authorization", "Bearer root-token"}, 200},
		{"open", true, "203.0.113.1:1", nil, 200},
	} {
		r := newRig(t, func(c *gateway.Config) { c.MetricsOpen = row.open })
		r.do("GET", "/api/kernels/"+bobKernel, "", alice)
		w := r.from(row.from, "GET", "/metrics", "", row.h)
		if w.Code != row.status {
			t.Errorf("%s: %d", row.name, w.Code)
		}
		if w.Code == 200 && !strings.Contains(w.Body.String(),
			`cellblock_http_requests_total{class="4xx",method="GET",route="/api/kernels/{id}"} 1`) {
			t.Errorf("%s: %s", row.name, w.Body)
		}
	}
}

// Nothing that came as a secret or by a client's whim may be found in the log.
func TestLogHasNoSecrets(t *testing.T) {
	var out bytes.Buffer
	r := newRig(t, func(c *gateway.Config) {
		c.Log = slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	r.do("GET", "/api/kernels?token=alice-token", "", nil)
	r.do("GET", "/api/kernels", "", header{"Authorization", "token stolen-token"})
	r.do("POST", "/api/kernels", `{"env":{"KERNEL_X":"secret-value","AWS_KEY":"secret-value"}}`, alice)
	r.do("POST", "/login", "token=alice-token", header{"Cookie", "_xsrf=secret-value-secret"})
	r.do("GET", "/api/kernels/"+strings.Repeat("x", 4000), "", alice)
	for _, secret := range []string{"alice-token", "stolen-token", "secret-value", "AWS_KEY"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("log has %s", secret)
		}
	}
	for line := range strings.Lines(out.String()) {
		if len(line) > 4096 || !strings.HasPrefix(line, "{") {
			t.Errorf("log line of %d bytes: %.80s", len(line), line)
		}
	}
	if !strings.Contains(out.String(), `"path":"/api/kernels","status":200`) {
		t.Errorf("log: %s", out.String())
	}
}

func TestResponsesAreGuarded(t *testing.T) {
	r := newRig(t, nil)
	for _, path := range []string{"/api", "/api/kernels", "/kernelspecs/python3/logo-svg.svg", "/", "/nothing"} {
		h := r.do("GET", path, "", alice).Header()
		referrer := "no-referrer"
		if path == "/" {
			referrer = "same-origin"
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != referrer ||
			!strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors") {
			t.Errorf("%s: %v", path, h)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	good := gateway.Config{Kernels: newDomain(), Auth: &people{}, Dial: noDial}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*gateway.Config){
		"no domain":          func(c *gateway.Config) { c.Kernels = nil },
		"no auth":            func(c *gateway.Config) { c.Auth = nil },
		"capitals":           func(c *gateway.Config) { c.BaseURL = "/Cells" },
		"dots":               func(c *gateway.Config) { c.BaseURL = "/a/../b" },
		"no leading slash":   func(c *gateway.Config) { c.BaseURL = "cells" },
		"double slash":       func(c *gateway.Config) { c.BaseURL = "//cells" },
		"any origin":         func(c *gateway.Config) { c.AllowOrigins = []string{"*"} },
		"null origin":        func(c *gateway.Config) { c.AllowOrigins = []string{"null"} },
		"origin with path":   func(c *gateway.Config) { c.AllowOrigins = []string{"https://a.example/"} },
		"origin's own port":  func(c *gateway.Config) { c.AllowOrigins = []string{"https://a.example:443"} },
		"origin capitals":    func(c *gateway.Config) { c.AllowOrigins = []string{"https://A.example"} },
		"loader variables":   func(c *gateway.Config) { c.EnvAllow = []string{"LD_*"} },
		"search path":        func(c *gateway.Config) { c.EnvAllow = []string{"PATH"} },
		"every variable":     func(c *gateway.Config) { c.EnvAllow = []string{"*"} },
		"account's variable": func(c *gateway.Config) { c.EnvAllow = []string{"KERNEL_USERNAME"} },
		"negative limit":     func(c *gateway.Config) { c.MaxWebSockets = -1 },
	} {
		bad := good
		change(&bad)
		if _, err := gateway.New(bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
