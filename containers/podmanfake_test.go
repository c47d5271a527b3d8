package containers_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"cellblock.io/cellblock/containers"
)

// fakePodman answers as Podman's API does, for what a real one cannot be made to do. Handlers are keyed by method and
// path without version and query; "*" in a path stands for one name.
type fakePodman struct {
	cfg    containers.Config
	server *httptest.Server

	mu       sync.Mutex
	handlers map[string]http.HandlerFunc
	calls    []string
}

const (
	hostInfo = `{"host":{"cgroupVersion":%q,"cgroupControllers":[%s],"ociRuntime":{"name":"crun"},
		"security":{"rootless":true,"seccompEnabled":true}},"version":{"Version":"4.3.1"}}`
	allControllers = `"cpuset","cpu","io","memory","pids"`
	specImage      = `{"Id":"sha1","Labels":{"io.cellblock.kernelspec.name":"python3",
		"io.cellblock.kernelspec":"{\"display_name\":\"P\",\"language\":\"python\",\"interrupt_mode\":\"message\"}"}}`
)

func newPodman(t *testing.T) *fakePodman {
	t.Helper()
	dir := t.TempDir()
	p := &fakePodman{
		cfg: containers.Config{
			Socket: filepath.Join(dir, "podman.sock"), RunDir: filepath.Join(dir, "kernels"), Instance: "test", Images: []string{"python"},
		},
		handlers: map[string]http.HandlerFunc{
			"GET /_ping": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Libpod-API-Version", "4.3.1") },
			"GET /info":  answer(200, fmt.Sprintf(hostInfo, "v2", allControllers)),

			"GET /volumes/json":        answer(200, `[]`),
			"GET /volumes/*/json":      answer(404, `{"response":404,"message":"no such volume"}`),
			"POST /volumes/create":     answer(201, `{}`),
			"DELETE /volumes/*":        answer(204, ``),
			"POST /containers/create":  answer(201, `{"Id":"made","Warnings":["a warning"]}`),
			"POST /containers/*/start": answer(204, ``),
			"POST /containers/*/stop":  answer(304, ``),
			"DELETE /containers/*":     answer(200, `[]`),
			"GET /containers/json":     answer(200, `[]`),
			"GET /images/*/json":       answer(200, specImage),
		},
	}
	l, err := net.Listen("unix", p.cfg.Socket)
	if err != nil {
		t.Fatal(err)
	}
	p.server = &httptest.Server{Listener: l, Config: &http.Server{Handler: p}}
	p.server.Start()
	t.Cleanup(p.server.Close)
	return p
}

// connect returns an engine that goes with the test.
func (p *fakePodman) connect(t *testing.T) *containers.Engine {
	t.Helper()
	e, err := containers.Connect(t.Context(), p.cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

// on replaces the answer to one call.
func (p *fakePodman) on(call string, h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handlers[call] = h
}

// count returns how many calls there were whose method and path begin so.
func (p *fakePodman) count(prefix string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, call := range p.calls {
		if strings.HasPrefix(call, prefix) {
			n++
		}
	}
	return n
}

var apiVersion = regexp.MustCompile(`^/v[0-9.]+/libpod`)

// ServeHTTP implements http.Handler.
func (p *fakePodman) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := apiVersion.ReplaceAllString(r.URL.Path, "")
	parts := strings.Split(path, "/")
	if len(parts) > 2 && !slices.Contains([]string{"json", "create"}, parts[2]) {
		parts[2] = "*"
	}
	p.mu.Lock()
	p.calls = append(p.calls, r.Method+" "+path)
	h := p.handlers[r.Method+" "+path]
	if h == nil {
		h = p.handlers[r.Method+" "+strings.Join(parts, "/")]
	}
	p.mu.Unlock()
	if h == nil {
		h = answer(500, fmt.Sprintf(`{"response":500,"message":"no answer to %s %s"}`, r.Method, path))
	}
	h(w, r)
}
