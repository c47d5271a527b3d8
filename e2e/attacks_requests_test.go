//go:build e2e

package e2e_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// strikeRow is a row of bytes that are sent as they stand, and the statuses that may come.
type strikeRow struct {
	name string
	text string
	want []int
	// headers that the answer must have, or must not when the value is "".
	headers map[string]string
}

// strike sends one row.
func (s *siege) strike(t *testing.T, row strikeRow) {
	t.Helper()
	w := s.send(t, row.text)
	defer w.Close()
	if !slices.Contains(row.want, w.head.StatusCode) {
		body, _ := io.ReadAll(io.LimitReader(w.head.Body, 200)) // for the message only
		t.Errorf("%s instead of %d: %s", w.head.Status, row.want, body)
	}
	for name, value := range row.headers {
		if got := w.head.Header.Get(name); got != value {
			t.Errorf("%s is %q and not %q", name, got, value)
		}
	}
	for name, values := range w.head.Header {
		if text := strings.Join(values, " "); strings.Contains(text, s.alice.token) || strings.Contains(text, "evil") && name != "Access-Control-Allow-Origin" {
			t.Errorf("the answer has %s: %s", name, text)
		}
	}
}

// request is a request without a body, with these header lines.
func (s *siege) request(method, path string, lines ...string) string {
	return s.withBody(method, path, "", lines...)
}

func (s *siege) withBody(method, path, body string, lines ...string) string {
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, strings.TrimPrefix(s.g.url, "http://"))
	if body != "" {
		text += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	return text + strings.Join(append(lines, "Connection: close"), "\r\n") + "\r\n\r\n" + body
}

// requests are the rows that a handshake or one request decides.
func (s *siege) requests(t *testing.T) []strikeRow {
	t.Helper()
	rows := s.origins()
	rows = append(rows, s.credentials(t)...)
	rows = append(rows, s.crossSite()...)
	return append(rows, s.oddities()...)
}

// origins are handshakes of pages elsewhere, with alice's cookie.
func (s *siege) origins() []strikeRow {
	cookie, own := "Cookie: "+s.session, s.g.url
	host := strings.TrimPrefix(own, "http://")
	port := host[strings.LastIndex(host, ":"):]
	rows := []strikeRow{
		{name: "WS-01 no origin", text: s.upgrade(s.hers, cookie), want: []int{403}},
		{name: "WS-03 the very origin", text: s.upgrade(s.hers, cookie, "Origin: "+own), want: []int{101}},
		{name: "WS-05 host of evil", text: s.upgrade(s.hers, "Host: evil.example"+port, cookie, "Origin: http://evil.example"+port), want: []int{403}},
		{name: "WS-05 forwarded host of evil", text: s.upgrade(s.hers, cookie, "X-Forwarded-Host: evil.example", "Forwarded: host=evil.example",
			"Origin: http://evil.example"), want: []int{403}},
		{name: "WS-03 two origins", text: s.upgrade(s.hers, cookie, "Origin: http://evil.example", "Origin: "+own), want: []int{400, 403}},
	}
	for name, origin := range map[string]string{
		"WS-02 null": "null", "WS-02 file": "file://", "WS-02 data": "data:", "WS-02 empty": "",
		"WS-03 suffix": own + ".evil.example", "WS-03 prefix": "http://evil" + host, "WS-03 user": "http://" + host + "@evil.example",
		"WS-03 user ours": "http://evil.example@" + host, "WS-03 other port": "http://127.0.0.1:1", "WS-03 no port": "http://127.0.0.1",
		"WS-03 https": "https://" + host, "WS-03 upper case": "HTTP://" + host, "WS-03 trailing dot": "http://127.0.0.1." + port,
		"WS-03 slash": own + "/", "WS-03 localhost": "http://localhost" + port, "WS-03 IDN": "http://127。0。0。1" + port,
		"WS-03 number": "http://2130706433" + port, "WS-03 space": own + " http://evil.example", "WS-03 comma": own + ", http://evil.example",
	} {
		rows = append(rows, strikeRow{name: name, text: s.upgrade(s.hers, cookie, "Origin: "+origin), want: []int{403}})
	}
	return rows
}

// credentials are handshakes and requests with what is no credential (any more). All refusals look alike.
func (s *siege) credentials(t *testing.T) []strikeRow {
	t.Helper()
	revoked := strings.TrimSpace(s.g.cli(t, "token", "create", "--user", "bob", "--json"))
	var token struct {
		ID  string `json:"id"`
		Raw string `json:"token"`
	}
	if err := json.Unmarshal([]byte(revoked), &token); err != nil || token.Raw == "" {
		t.Fatalf("token create --json: %v in %d bytes", err, len(revoked))
	}
	s.g.cli(t, "token", "revoke", token.ID)
	expired := strings.TrimSpace(s.g.cli(t, "token", "create", "--user", "alice", "--expires", "1ms"))
	claims := func(change map[string]any) map[string]any {
		c := map[string]any{"sub": "alice", "iss": "e2e", "aud": "cellblock", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix()}
		for k, v := range change {
			if c[k] = v; v == nil {
				delete(c, k)
			}
		}
		return c
	}
	const hs = `{"alg":"HS256","typ":"JWT"}`
	good := jwt(hs, claims(nil), s.jwt.secret)
	rows := []strikeRow{{name: "A44 a good JWT", text: s.request("GET", "/api/kernels", "Authorization: Bearer "+good), want: []int{200}}}
	for name, line := range map[string]string{
		"WS-07 none": "X-Nothing: 1", "WS-07 nonsense": "Authorization: token nonsense", "WS-07 revoked": "Authorization: token " + token.Raw,
		"WS-07 expired": "Authorization: token " + expired, "WS-07 empty": "Authorization: token ", "WS-07 cookie": "Cookie: cellblock-session=x",
		"WS-07 other audience": "Authorization: Bearer " + jwt(hs, claims(map[string]any{"aud": "other"}), s.jwt.secret),
		"A44 none":             "Authorization: Bearer " + jwt(`{"alg":"none"}`, claims(nil), ""),
		"A44 other key":        "Authorization: Bearer " + jwt(hs, claims(nil), "x"+s.jwt.secret[1:]),
		"A44 other issuer":     "Authorization: Bearer " + jwt(hs, claims(map[string]any{"iss": "other"}), s.jwt.secret),
		"A44 no end":           "Authorization: Bearer " + jwt(hs, claims(map[string]any{"exp": nil}), s.jwt.secret),
		"A44 ended":            "Authorization: Bearer " + jwt(hs, claims(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}), s.jwt.secret),
		"A44 of the future":    "Authorization: Bearer " + jwt(hs, claims(map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}), s.jwt.secret),
		"A44 embedded key":     "Authorization: Bearer " + jwt(`{"alg":"HS256","jku":"http://127.0.0.1:1/","kid":"../../dev/null"}`, claims(nil), ""),
		"A44 logout token":     "Authorization: Bearer " + jwt(`{"alg":"HS256","typ":"logout+jwt"}`, claims(nil), s.jwt.secret),
		"A44 spelled":          "Authorization: Bearer " + good + "=",
	} {
		guarded := map[string]string{"Www-Authenticate": `Bearer realm="cellblock"`}
		rows = append(rows,
			strikeRow{name: name + " WebSocket", text: s.upgrade(s.hers, line), want: []int{401}, headers: guarded},
			strikeRow{name: name + " REST", text: s.request("GET", "/api/kernels", line), want: []int{401}, headers: guarded})
	}
	return rows
}

// jwt makes a JSON Web Token with that header, signed with HMAC-SHA256 unless the secret is empty.
func jwt(head string, claims map[string]any, secret string) string {
	body, _ := json.Marshal(claims) // maps of texts and numbers
	text := base64.RawURLEncoding.EncodeToString([]byte(head)) + "." + base64.RawURLEncoding.EncodeToString(body)
	if secret == "" {
		return text + "."
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// crossSite are requests that another site makes a browser send, with alice's cookies.
func (s *siege) crossSite() []strikeRow {
	cookie := "Cookie: " + s.session + "; _xsrf=" + s.xsrf
	refused := []int{403, 404}
	post := func(lines ...string) string {
		return s.withBody("POST", "/api/kernels", `{"name":"python3"}`, append(lines, cookie)...)
	}
	none := map[string]string{"Access-Control-Allow-Origin": "", "Access-Control-Allow-Credentials": "", "Access-Control-Allow-Methods": ""}
	return []strikeRow{
		{name: "A41 form", text: post("Content-Type: application/x-www-form-urlencoded"), want: refused, headers: none},
		{name: "A41 text", text: post("Content-Type: text/plain", "Origin: http://evil.example"), want: refused, headers: none},
		{name: "A41 multipart", text: post("Content-Type: multipart/form-data; boundary=x", "Origin: null"), want: refused, headers: none},
		{name: "A41 no-cors", text: post("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"), want: refused, headers: none},
		{name: "A41 same site", text: post("Sec-Fetch-Site: same-site", "X-XSRFToken: "+s.xsrf), want: refused, headers: none},
		{name: "A41 with the right XSRF", text: post("Origin: http://evil.example", "X-XSRFToken: "+s.xsrf), want: refused, headers: none},
		{name: "A41 delete", text: s.request("DELETE", "/api/kernels/"+s.hers, cookie, "Origin: http://evil.example"), want: refused, headers: none},
		{name: "A41 GET changes nothing", text: s.request("GET", "/api/kernels/"+s.hers+"/restart", cookie), want: []int{404, 405}},
		{name: "A41 foreign login", text: s.withBody("POST", "/login", "token="+s.mallory.token+"&_xsrf="+s.xsrf, "Origin: http://evil.example",
			"Cookie: _xsrf="+s.xsrf), want: refused},
		{name: "A41 logout", text: s.request("POST", "/logout", cookie, "Origin: http://evil.example"), want: refused},
		{name: "A48 open redirect", text: s.withBody("POST", "/login?next=//evil.example", "next=https:evil.example&token="+s.bob.token+"&_xsrf="+s.xsrf,
			"Cookie: _xsrf="+s.xsrf), want: []int{302}, headers: map[string]string{"Location": "/"}},
		{name: "WS-36 preflight of evil", text: s.request("OPTIONS", "/api/kernels", "Origin: http://evil.example",
			"Access-Control-Request-Method: POST"), want: []int{204}, headers: none},
	}
}

// oddities are what else can be wrong with a request. All come with mallory's own token.
func (s *siege) oddities() []strikeRow {
	token := "Authorization: token " + s.mallory.token
	get := func(path string, lines ...string) string { return s.request("GET", path, append(lines, token)...) }
	protocols := strings.Repeat("base64.bearer."+s.alice.token+", ", 50)
	rows := []strikeRow{
		{name: "WS-19 deflate", text: s.upgrade(s.own, token, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-webkit-deflate-frame"),
			want: []int{101}, headers: map[string]string{"Sec-Websocket-Extensions": ""}},
		{name: "WS-34 50 protocols", text: s.upgrade(s.own, token, "Sec-WebSocket-Protocol: "+protocols+subprotocolV1), want: []int{101},
			headers: map[string]string{"Sec-Websocket-Protocol": subprotocolV1}},
		{name: "WS-34 a token as protocol", text: s.upgrade(s.own, token, "Sec-WebSocket-Protocol: "+s.alice.token), want: []int{101},
			headers: map[string]string{"Sec-Websocket-Protocol": ""}},
		{name: "A51 option as a name", text: s.withBody("POST", "/api/kernels", `{"name":"--privileged"}`, token), want: []int{400}},
		{name: "A51 path as a name", text: s.withBody("POST", "/api/kernels", `{"name":"../x"}`, token), want: []int{400}},
		{name: "A51 path as an id", text: s.withBody("POST", "/api/kernels", `{"kernel_id":"../../x"}`, token), want: []int{400}},
		{name: "A50 a megabyte of name", text: s.withBody("POST", "/api/kernels", `{"name":"`+strings.Repeat("a", 1<<20)+`"}`, token), want: []int{413}},
		{name: "A50 deep", text: s.withBody("POST", "/api/sessions", strings.Repeat("[", 60<<10), token), want: []int{400}},
		{name: "A49 names to be logged", text: s.withBody("POST", "/api/kernels", "{\"name\":\"a\\nlevel=ERROR \\u001b[2J\\u202e\\ud800\"}", token,
			"User-Agent: \x1b[31m red "+strings.Repeat("u", 8<<10)), want: []int{400}},
		{name: "A49 a path to be logged", text: get("/api/%0alevel=ERROR%1b[2J" + strings.Repeat("p", 3000)), want: []int{404}},
		{name: "A55 two lengths", text: "POST /api/kernels HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n" + token + "\r\n\r\n{} ", want: []int{400}},
		{name: "A55 odd encoding", text: "POST /api/kernels HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n" + token + "\r\n\r\n", want: []int{400, 501}},
		{name: "A55 blank before the colon", text: get("/api/kernels", "Cookie : x=y"), want: []int{400}},
		{name: "A55 a header too large", text: get("/api/kernels", "X: "+strings.Repeat("x", 32<<10)), want: []int{431}},
		{name: "A55 pretends to be local", text: get("/metrics", "X-Forwarded-For: 127.0.0.1"), want: []int{404}},
	}
	for _, path := range []string{
		"/api/kernels/%2e%2e/api/kernels", "/api/kernels/" + s.own + "%2fchannels", "/api/kernels/" + s.own + ";x", "/api/kernels/%00", "/api/kernels/%5c..",
		"/api/kernels/%C3%A9", "/api/kernels/%ff", "/api/kernels/" + strings.Repeat("a", 10<<10), "/api/./kernels", "/api\\kernels", "/API/kernels", "//evil.example/%2e%2e",
	} {
		rows = append(rows, strikeRow{name: fmt.Sprintf("WS-35 %.40s", path), text: get(path), want: []int{400, 404}})
	}
	for _, method := range []string{"TRACE", "PROPFIND", "CONNECT", "PUT", "DEBUG"} {
		rows = append(rows, strikeRow{name: "WS-36 " + method, text: s.request(method, "/api/kernels/"+s.own, token), want: []int{400, 404, 405}})
	}
	rows = append(rows, strikeRow{name: "WS-36 override", text: s.request("POST", "/api/kernels/"+s.own, token, "X-HTTP-Method-Override: DELETE"), want: []int{405}})
	for _, path := range []string{"/debug/pprof/", "/debug/vars", "/api/users", "/api/admin", "/api/config", "/api/terminals", "/api/contents", "/control/stop"} {
		rows = append(rows, strikeRow{name: "A53 XT-12 " + path, text: get(path), want: []int{http.StatusNotFound}})
	}
	return rows
}
