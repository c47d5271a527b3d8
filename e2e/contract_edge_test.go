//go:build e2e

package e2e_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// hostileEnvironment posts a whole environment, as old clients do, with what makes programs load other code.
func hostileEnvironment(t *testing.T, c *contract) {
	const show = "import os, json; print(json.dumps(dict(os.environ)))"
	secret := randomHex(t, 16)
	plain := c.alice.peer(t, c.kernel, randomHex(t, 16)).run(show).text
	sent := map[string]string{"KERNEL_FLAVOUR": "vanilla", "LANG": "C.UTF-8"}
	for _, name := range []string{
		"PATH", "HOME", "USER", "SHELL", "IFS", "ENV", "BASH_ENV", "PS4", "PROMPT_COMMAND", "TMPDIR", "LD_PRELOAD", "LD_LIBRARY_PATH",
		"LD_AUDIT", "DYLD_INSERT_LIBRARIES", "GCONV_PATH", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "PYTHONINSPECT",
		"PYTHONBREAKPOINT", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_PATH", "JUPYTER_GATEWAY_AUTH_TOKEN", "JPY_PARENT_PID",
		"NODE_OPTIONS", "PERL5OPT", "RUBYOPT", "JAVA_TOOL_OPTIONS", "GIT_SSH_COMMAND", "EDITOR", "http_proxy", "HTTPS_PROXY",
		"SSL_CERT_FILE", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "DOCKER_HOST", "CONTAINER_HOST", "XDG_RUNTIME_DIR", "CELLBLOCK_KEY",
		"KERNEL_USERNAME", "KERNEL_UID", "KERNEL_GID", "KERNEL_IMAGE", "KERNEL_VOLUMES", "KERNEL_VOLUME_MOUNTS", "KERNEL_NAMESPACE",
		"KERNEL_WORKING_DIR", "KERNEL_LAUNCH_TIMEOUT", "KERNEL_CPUS", "KERNEL_MEMORY", "BASH_FUNC_ls%%", "A=B", "KERNEL X", "",
	} {
		sent[name] = "/" + secret
	}
	sent["PS1"] = "$(id) `id` \n" + secret
	body, err := json.Marshal(map[string]any{"name": "python3", "env": sent})
	if err != nil {
		t.Fatal(err)
	}
	id, _ := c.alice.expect(t, http.StatusCreated, "POST", "/api/kernels", string(body))["id"].(string)
	t.Cleanup(func() { c.alice.remove(t, id) })
	got := c.alice.peer(t, id, randomHex(t, 16)).run(show).text

	var before, after map[string]string
	if err := json.Unmarshal([]byte(plain), &before); err != nil {
		t.Fatalf("%v: %q", err, plain)
	}
	if err := json.Unmarshal([]byte(got), &after); err != nil {
		t.Fatalf("%v: %q", err, got)
	}
	before["KERNEL_FLAVOUR"], before["LANG"] = "vanilla", "C.UTF-8"
	for name := range merged(before, after) {
		if was, is := before[name], after[name]; was != is && name != "HOSTNAME" && name != "JPY_SESSION_NAME" {
			t.Errorf("%s is %q and not %q", name, is, was)
		}
	}

	for _, value := range []string{"$(touch /tmp/x)", "`id`", "a\nb", "a\rb", "a\x00b", strings.Repeat("a", 5000)} {
		body, err := json.Marshal(map[string]any{"env": map[string]string{"KERNEL_X": value + secret}})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.alice.call(t, "POST", "/api/kernels", string(body)); got.status != 400 || strings.Contains(got.body, secret) {
			t.Errorf("the value %.20q gave %d %s", value, got.status, got.body)
		}
	}
	for _, value := range []string{`{"KERNEL_X":1}`, `[]`, `"A=B"`} {
		c.alice.expect(t, http.StatusBadRequest, "POST", "/api/kernels", `{"env":`+value+`}`)
	}
	c.g.notLogged(t, secret)
	own := []string{"ps", "--all", "--quiet", "--filter", "label=io.cellblock.instance=" + c.g.name}
	inspected := c.g.podman(t, append([]string{"inspect"}, c.g.podman(t, own...)...)...)
	if strings.Contains(strings.Join(inspected, ""), secret) {
		t.Error("Podman keeps a value that nobody allowed")
	}
}

// merged has the keys of both.
func merged(a, b map[string]string) map[string]bool {
	names := map[string]bool{}
	for name := range a {
		names[name] = true
	}
	for name := range b {
		names[name] = true
	}
	return names
}

// notLogged fails the test when a text stands in the gateway's log, whose level is debug.
func (g *gateway) notLogged(t *testing.T, texts ...string) {
	t.Helper()
	log, err := os.ReadFile(g.log.Name())
	if err != nil || len(log) == 0 {
		t.Fatalf("the gateway's log has %d bytes: %v", len(log), err)
	}
	for _, text := range texts {
		if strings.Contains(string(log), text) {
			t.Errorf("the log has %q in it", text)
		}
	}
}

// ask makes a request with just these headers, and follows no redirect.
func ask(t *testing.T, method, address, body string, headers ...string) (answer, []*http.Cookie) {
	t.Helper()
	r, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(content)}, response.Cookies()
}

// credentials presents one token in every way that clients have, on REST and on the WebSocket.
func credentials(t *testing.T, c *contract) {
	token := c.alice.token
	basic := base64.StdEncoding.EncodeToString([]byte("anybody:" + token))
	for _, row := range []struct {
		query, authorization string
		status               int
	}{
		{"", "token " + token, 200}, {"", "TOKEN " + token, 200}, {"", "Bearer " + token, 200}, {"", "bEaReR  " + token, 200},
		{"", "Basic " + basic, 200}, {"", "basic " + basic, 200}, {"?token=" + token, "", 200}, {"?1732300000000&token=" + token, "", 200},
		{"", "", 401}, {"", "token ", 401}, {"", "token None", 401}, {"", "None " + token, 401}, {"?token=", "", 401},
		{"?token=" + token, "token nonsense", 401},
	} {
		headers := []string{}
		if row.authorization != "" {
			headers = []string{"Authorization", row.authorization}
		}
		hidden := strings.NewReplacer(token, "T", basic, "B").Replace(row.query + " " + row.authorization)
		if got, _ := ask(t, "GET", c.g.url+"/api/kernels"+row.query, "", headers...); got.status != row.status {
			t.Errorf("REST with %q: %d", hidden, got.status)
		}
		if got := c.dial(row.query, headers...); got != map[int]int{200: 101, 401: 401}[row.status] {
			t.Errorf("WebSocket with %q: %d", hidden, got)
		}
	}
	session, xsrf := logIn(t, c, "token")
	both := session + "; _xsrf=" + xsrf
	for _, row := range []struct {
		name    string
		method  string
		status  int
		headers []string
	}{
		{"cookie", "GET", 200, []string{"Cookie", session}},
		{"cookie with XSRF", "POST", 201, []string{"Cookie", both, "X-XSRFToken", xsrf, "Origin", c.g.url}},
		{"cookie alone", "POST", 403, []string{"Cookie", both}},
		{"cookie with another XSRF", "POST", 403, []string{"Cookie", both, "X-XSRFToken", strings.Repeat("0", len(xsrf))}},
		{"cookie with XSRF from a foreign page", "POST", 404, []string{"Cookie", both, "X-XSRFToken", xsrf, "Origin", "http://evil.example"}},
		{"preflight", "OPTIONS", 204, []string{"Origin", c.g.url}},
	} {
		got, _ := ask(t, row.method, c.g.url+"/api/kernels", "", row.headers...)
		if got.status != row.status {
			t.Errorf("%s: %d %s", row.name, got.status, got.body)
		}
		if row.status == 201 {
			c.alice.remove(t, got.header.Get("Location")[len("/api/kernels/"):])
		}
	}
	for origin, status := range map[string]int{c.g.url: 101, "http://evil.example": 403, "null": 403, "": 403} {
		if got := c.dial("", "Cookie", session, "Origin", origin); got != status {
			t.Errorf("a WebSocket with a cookie from the page %q: %d", origin, got)
		}
	}
	_, value, _ := strings.Cut(session, "=")
	c.g.notLogged(t, token, basic, value, xsrf)
}

// dial is the status that an upgrade gives with these headers; an empty one is left out.
func (c *contract) dial(query string, headers ...string) int {
	header := http.Header{}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i+1] != "" {
			header.Set(headers[i], headers[i+1])
		}
	}
	address := strings.Replace(c.g.url, "http", "ws", 1) + "/api/kernels/" + c.kernel + "/channels" + query
	conn, response, err := websocket.DefaultDialer.Dial(address, header)
	if err == nil {
		conn.Close()
	}
	if response == nil {
		return 0
	}
	return response.StatusCode
}

// logIn logs in as a browser or VS Code does, with the form's field of that name, and returns the session cookie, which
// must be the first that is set, and the XSRF token.
func logIn(t *testing.T, c *contract, field string) (session, xsrf string) {
	t.Helper()
	page, cookies := ask(t, "GET", c.g.url+"/login?", "")
	if page.status != 200 || len(cookies) != 1 || cookies[0].Name != "_xsrf" {
		t.Fatalf("GET /login: %d %v", page.status, page.header)
	}
	xsrf = cookies[0].Value
	form := url.Values{"_xsrf": {xsrf}, field: {c.alice.token}}.Encode()
	got, cookies := ask(t, "POST", c.g.url+"/login?", form, "Content-Type", "application/x-www-form-urlencoded", "Cookie", "_xsrf="+xsrf)
	if got.status != 302 || len(cookies) == 0 || !cookies[0].HttpOnly {
		t.Fatalf("POST /login: %d %v", got.status, got.header)
	}
	return cookies[0].Name + "=" + cookies[0].Value, xsrf
}

// codeProbes does what VS Code does with a URL that somebody pastes, up to the first cell.
func codeProbes(t *testing.T, c *contract) {
	for path, status := range map[string]int{"/hub/api": 404, "/tree?": 404, "/tree": 404, "/api": 200} {
		if got, _ := ask(t, "GET", c.g.url+path, ""); got.status != status {
			t.Errorf("GET %s without a credential: %d", path, got.status)
		}
	}
	if got, _ := ask(t, "GET", c.g.url+"/", ""); strings.Contains(got.header.Get("Location"), "/login?") ||
		strings.Contains(got.header.Get("Location"), "/lab?") {
		t.Errorf("GET / leads to %s", got.header.Get("Location"))
	}
	logIn(t, c, "password")
	for _, path := range []string{"/api/kernels", "/api/kernelspecs", "/api/sessions"} {
		if got := c.alice.call(t, "GET", path+"?1732300000000", ""); got.status != 200 {
			t.Errorf("GET %s: %d", path, got.status)
		}
	}
	body := fmt.Sprintf(`{"path":%q,"name":"","type":"notebook","kernel":{"name":""}}`, randomHex(t, 8)+".ipynb")
	session := c.alice.expect(t, http.StatusCreated, "POST", "/api/sessions", body)
	kernel, _ := session["kernel"].(map[string]any)
	id, _ := kernel["id"].(string)
	t.Cleanup(func() { c.alice.remove(t, id) })
	p := c.alice.peer(t, id, randomHex(t, 16), subprotocolV1)
	if !p.v1 {
		t.Error("v1 was not chosen")
	}
	p.write(request{channel: "shell", kind: "kernel_info_request"})
	p.until(cellTime, "status idle", func(m parts) bool { return m.is("idle") })
	if got := p.run("print('from VS Code')"); got.text != "from VS Code\n" {
		t.Errorf("the first cell printed %q", got.text)
	}
}
