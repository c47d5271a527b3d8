package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"cellblock.io/cellblock/gateway"
)

// with is upgrade with some headers replaced; an empty value leaves one out.
func with(changes ...string) header {
	h := append(header{}, alice...)
	for i := 0; i+1 < len(upgrade); i += 2 {
		value := upgrade[i+1]
		for j := 0; j+1 < len(changes); j += 2 {
			if changes[j] == upgrade[i] {
				value = changes[j+1]
			}
		}
		if value != "" {
			h = append(h, upgrade[i], value)
		}
	}
	return h
}

func TestHandshakes(t *testing.T) {
	r := newRig(t, func(c *gateway.Config) { c.Dial = refusingBridge })
	path := "/api/kernels/" + aliceKernel + "/channels"
	for name, row := range map[string]struct {
		query  string
		h      header
		body   string
		status int // 503 is past all checks
	}{
		"right":                {"", with(), "", 503},
		"words in other cases": {"", with("Connection", "keep-alive, UPGRADE", "Upgrade", "WebSocket"), "", 503},
		"not an upgrade":       {"", alice, "", 400},
		"no Connection":        {"", with("Connection", ""), "", 400},
		"Connection: close":    {"", with("Connection", "close"), "", 400},
		"other upgrade":        {"", with("Upgrade", "h2c"), "", 400},
		"version 8":            {"", with("Sec-WebSocket-Version", "8"), "", 426},
		"no version":           {"", with("Sec-WebSocket-Version", ""), "", 426},
		"no key":               {"", with("Sec-WebSocket-Key", ""), "", 400},
		"short key":            {"", with("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAA"), "", 400},
		"long key":             {"", with("Sec-WebSocket-Key", strings.Repeat("A", 44)), "", 400},
		"key not in base64":    {"", with("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAA!=="), "", 400},
		"key not canonical":    {"", with("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAB=="), "", 400},
		"key with line break":  {"", with("Sec-WebSocket-Key", "AAAAAAAAAAAA\nAAAAAAAAAA=="), "", 400},
		"two keys":             {"", append(with(), "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="), "", 400},
		"body":                 {"", with(), "x", 400},
		"session":              {"?session_id=0a1b2c3d-x", with(), "", 503},
		"empty session":        {"?session_id=", with(), "", 503},
		"session of 255":       {"?session_id=" + strings.Repeat("a", 255), with(), "", 503},
		"session of 256":       {"?session_id=" + strings.Repeat("a", 256), with(), "", 400},
		"session with NUL":     {"?session_id=%00abc", with(), "", 400},
		"session with CR LF":   {"?session_id=a%0d%0aX:y", with(), "", 400},
		"session in Unicode":   {"?session_id=%C3%A9", with(), "", 400},
		"session in Latin-1":   {"?session_id=%e9", with(), "", 400},
		"query gone mad":       {"?%zz&;&=&session_id=a&&1732300000000", with(), "", 503},
	} {
		w := r.do("GET", path+row.query, row.body, row.h)
		if w.Code != row.status {
			t.Errorf("%s: %d %s, want %d", name, w.Code, w.Body, row.status)
		}
		reasonOf(t, w)
	}
	if w := r.do("GET", path, "", with("Sec-WebSocket-Version", "8")); w.Header().Get("Sec-Websocket-Version") != "13" {
		t.Errorf("426 without the version: %v", w.Header())
	}
	if w := r.do("POST", path, "", with()); w.Code != 405 {
		t.Errorf("POST: %d", w.Code)
	}
}

// What a client puts into session_id stays in session_id.
func TestSessionIDIsDataToTheBridge(t *testing.T) {
	seen := make(chan *http.Request, 1)
	l := serve(t, func(c *gateway.Config) {
		c.Dial = onSocket(t, func(v visit) {
			if v.req.Method == http.MethodGet { // else it is the end of the test, and asks to take leave of a client
				seen <- v.req
			}
			v.accept()
		})
	})
	for _, id := range []string{"a&token=x", "a b", "a#b", "a/../b", "%2e%2e", "a HTTP/1.1", "a;b", "+", `"`} {
		c := l.openAt(t, "/api/kernels/"+aliceKernel+"/channels?session_id="+url.QueryEscape(id), alice, "")
		_ = c.Close()
		req := <-seen
		if q := req.URL.Query(); len(q) != 1 || q.Get("session_id") != id || req.URL.Path != "/api/kernels/"+aliceKernel+"/channels" {
			t.Errorf("%q arrives as %s", id, req.RequestURI)
		}
	}
}

func TestSmuggledRequestsAreRefused(t *testing.T) {
	l := serve(t, nil)
	for name, text := range map[string]string{
		"two lengths":         "POST /api/kernels HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"bad length":          "POST /api/kernels HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
		"odd encoding":        "POST /api/kernels HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n",
		"two hosts":           "GET /api HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
		"no host":             "GET /api HTTP/1.1\r\n\r\n",
		"blank before colon":  "GET /api HTTP/1.1\r\nHost: x\r\nAuthorization : token alice-token\r\n\r\n",
		"NUL in header":       "GET /api HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
		"line break in value": "GET /api HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n",
		"HTTP/2 preface":      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"not HTTP":            "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
	} {
		c, err := l.dial()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = io.WriteString(c, text)
		in := bufio.NewReader(c)
		if resp, err := http.ReadResponse(in, nil); err == nil && resp.StatusCode/100 != 4 && resp.StatusCode/100 != 5 {
			t.Errorf("%s: %s", name, resp.Status)
		}
		_ = c.Close()
	}
	if n := l.domain.count("Start"); n > 0 {
		t.Errorf("%d kernels started", n)
	}
}

// A request with a length and in chunks ends its connection: what follows may be somebody else's.
func TestNothingFollowsARequestOfTwoLengths(t *testing.T) {
	l := serve(t, nil)
	for name, head := range map[string]string{
		"with a token": "POST /api/kernels HTTP/1.1\r\nAuthorization: token alice-token\r\n", "without": "POST /api/kernels HTTP/1.1\r\n",
		"public": "GET /api HTTP/1.1\r\n",
	} {
		c, err := l.dial()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = io.WriteString(c, head+"Host: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+
			"GET /api/kernels HTTP/1.1\r\nHost: x\r\nAuthorization: token bob-token\r\n\r\n")
		answers, _ := io.ReadAll(c)
		if n := strings.Count(string(answers), "HTTP/1.1 "); n != 1 {
			t.Errorf("%s: %d answers:\n%s", name, n, answers)
		}
		_ = c.Close()
	}
	if n := l.domain.count("List"); n > 0 {
		t.Errorf("what followed was asked: %d", n)
	}
}

// Connections that say nothing do not keep others out.
func TestHalfOpenConnectionsDoNotDisturb(t *testing.T) {
	l := serve(t, func(c *gateway.Config) { c.Dial = onSocket(t, echo) })
	for range 400 {
		c, err := l.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	began := time.Now()
	c := l.open(t, nil, "x")
	c.expect(t, "x")
	if d := time.Since(began); d > time.Second {
		t.Errorf("a good client took %v", d)
	}
}

// Two owners' bytes never meet, whatever buffers they share.
func TestPipesDoNotMix(t *testing.T) {
	dial := onSocket(t, echo)
	l := serve(t, func(c *gateway.Config) { c.Dial = dial })
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for round := range 20 {
				mark := strings.Repeat(fmt.Sprintf("<%d.%d>", i, round), 1+i*round*50)
				c := l.open(t, nil, mark)
				c.expect(t, mark)
				_ = c.Close()
			}
		})
	}
	wg.Wait()
}

func FuzzAuthorization(f *testing.F) {
	for _, seed := range []string{"token alice-token", "Bearer x", "Basic YTphbGljZS10b2tlbg==", " ", "token", "\xff\x00", "a b c"} {
		f.Add(seed, "token=alice-token&token=", "cellblock-session=x")
	}
	f.Fuzz(func(t *testing.T, authorization, query, cookies string) {
		r := newRig(t, nil)
		w := r.from("192.0.2.1:1", "GET", "/api/kernels", "", header{"Authorization", authorization, "Cookie", cookies, "Query", query})
		known := strings.Contains(authorization, "alice-token") || strings.Contains(query, "alice-token") ||
			strings.Contains(cookies, "alice-session") || strings.Contains(authorization, "asic")
		if w.Code != 401 && !(known && w.Code == 200) && w.Code != 403 {
			t.Errorf("%d for %q %q %q", w.Code, authorization, query, cookies)
		}
		if strings.TrimSpace(authorization) != "" && w.Code == 200 && !strings.Contains(fmt.Sprint(r.people.asked), "alice-token") {
			t.Errorf("fell back from %q", authorization)
		}
		for _, raw := range r.people.asked {
			if len(raw) > 8<<10 || strings.ContainsFunc(raw, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
				t.Errorf("asked for %q", raw)
			}
		}
	})
}

func FuzzSessionID(f *testing.F) {
	for _, seed := range []string{"", "0a1b", "a b&c=d", "\x00", "é", "a\r\nX: y", strings.Repeat("a", 256)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		seen := make(chan *http.Request, 1)
		r := newRig(t, func(c *gateway.Config) {
			c.Dial = inMemory(t, func(v visit) { seen <- v.req; _, _ = io.WriteString(v, "HTTP/1.1 503 No\r\n\r\n") })
		})
		w := r.do("GET", "/api/kernels/"+aliceKernel+"/channels?session_id="+url.QueryEscape(id), "", with())
		switch w.Code {
		case 400:
		case 503:
			if req := <-seen; req.URL.Query().Get("session_id") != id || len(req.Header) != 5 {
				t.Errorf("%q arrives as %s %v", id, req.RequestURI, req.Header)
			}
		default:
			t.Errorf("%q: %d", id, w.Code)
		}
	})
}

func FuzzStartBody(f *testing.F) {
	for _, seed := range []string{`{}`, `{"env":{"KERNEL_X":"y"},"name":"python3"}`, `null`, `[`, `{"name":{}}`, `{"kernel":{"id":1},"path":"x"}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, route := range []struct{ method, path string }{
			{"POST", "/api/kernels"}, {"POST", "/api/sessions"}, {"PATCH", "/api/sessions/" + aliceSession},
		} {
			r := newRig(t, nil)
			if w := r.do(route.method, route.path, body, alice); w.Code >= 500 {
				t.Errorf("%s %s %q: %d %s", route.method, route.path, body, w.Code, w.Body)
			}
			for _, req := range r.domain.started {
				for name, value := range req.Env {
					if !strings.HasPrefix(name, "KERNEL_") && name != "LANG" || strings.ContainsAny(value, "$`\r\n\x00") {
						t.Errorf("%q lets %q=%q through", body, name, value)
					}
				}
			}
		}
	})
}
