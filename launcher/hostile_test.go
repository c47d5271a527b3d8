package launcher_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/launcher"
)

// raw sends what it likes to the launcher, as a front that was taken over can, and returns the answer.
func (r *rig) raw(t *testing.T, method, path string, body io.Reader) (status int, answer string) {
	t.Helper()
	c := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", r.socket) }}}
	request, err := http.NewRequestWithContext(t.Context(), method, "http://launcher"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(request)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, string(text)
}

// good is what a front asks for in order.
func good() map[string]any {
	l := describe("alice", "good")
	return map[string]any{"id": l.Record.ID, "owner": "alice", "handle": l.Record.Handle, "spec": "python3",
		"image": python.Image, "created": time.Now(), "uid": 20000, "env": map[string]string{"LANG": "C"}}
}

func TestHostileLaunches(t *testing.T) {
	r := newRig(t)
	many := map[string]string{}
	for i := range kernels.MaxEnv + 1 {
		many[fmt.Sprintf("LC_%d", i)] = "x"
	}
	for name, change := range map[string]map[string]any{
		"a path as handle":               {"handle": "../../etc"},
		"a handle with a slash":          {"handle": "a/b"},
		"a handle with a NUL":            {"handle": "a\x00b"},
		"a handle that names an option":  {"handle": "--privileged"},
		"no handle":                      {"handle": ""},
		"a long handle":                  {"handle": strings.Repeat("a", 33)},
		"a number as handle":             {"handle": 1},
		"an id that is none":             {"id": "../../x"},
		"an owner with a path":           {"owner": "../alice"},
		"an owner in capitals":           {"owner": "Alice"},
		"no owner":                       {"owner": ""},
		"an image of its own":            {"image": "sha256:evil"},
		"an image by name":               {"image": "docker.io/library/evil:latest"},
		"no image":                       {"image": ""},
		"another kernelspec":             {"spec": "bash"},
		"a variable of the loader":       {"env": map[string]string{"LD_PRELOAD": "/x.so"}},
		"a variable that is not allowed": {"env": map[string]string{"SECRET": "x"}},
		"a variable with a NUL":          {"env": map[string]string{"LANG": "a\x00b"}},
		"a long variable":                {"env": map[string]string{"LANG": strings.Repeat("x", kernels.MaxEnvValue+1)}},
		"many variables":                 {"env": many},
		"created in the future":          {"created": time.Now().AddDate(1, 0, 0)},
		"created never":                  {"created": time.Time{}},
		"a network that is no name":      {"network": "../x"},
		"a long network":                 {"network": strings.Repeat("n", 65)},
		"a mount":                        {"mounts": []string{"/:/host"}},
		"a kernel.json":                  {"json": map[string]any{"env": map[string]string{"LD_PRELOAD": "/x.so"}}},
		"a user id that is no number":    {"uid": "0"},
		"a user id beyond all":           {"uid": 1e30},
	} {
		q := good()
		for k, v := range change {
			q[k] = v
		}
		text, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		if status, answer := r.raw(t, "POST", "/v1/launch", bytes.NewReader(text)); status != 400 || !strings.Contains(answer, `"kind":"invalid"`) {
			t.Errorf("%s: %d %s", name, status, answer)
		}
	}
	if n := r.engine.Calls("launch", ""); n > 0 {
		t.Errorf("%d of them reached the engine", n)
	}
	text, err := json.Marshal(good())
	if err != nil {
		t.Fatal(err)
	}
	if status, answer := r.raw(t, "POST", "/v1/launch", bytes.NewReader(text)); status != 200 {
		t.Errorf("one in order: %d %s", status, answer)
	}
}

func TestHostileQuestions(t *testing.T) {
	r := newRig(t)
	for _, verb := range []string{"restart", "revive", "interrupt", "remove", "connect"} {
		for _, handle := range []string{"", "..", "../x", "a/b", "/etc/passwd", "a\x00", strings.Repeat("a", 33), "%2e%2e", "ä", "a b", "*"} {
			text, _ := json.Marshal(map[string]string{"handle": handle})
			if status, answer := r.raw(t, "POST", "/v1/"+verb, bytes.NewReader(text)); status != 400 {
				t.Errorf("%s of %q: %d %s", verb, handle, status, answer)
			}
		}
	}
	for _, text := range []string{"", "null", "[]", "{", `{"handle":"a"}{"handle":"b"}`, `{"handle":"a","all":true}`, `"a"`, "\xff",
		strings.Repeat("[", 1<<16), `{"handle":"` + strings.Repeat("a", 1<<20) + `"}`} {
		if status, answer := r.raw(t, "POST", "/v1/remove", strings.NewReader(text)); status != 400 {
			t.Errorf("remove %.40q: %d %s", text, status, answer)
		}
	}
	for _, at := range [][2]string{{"GET", "/v1/list"}, {"PUT", "/v1/remove"}, {"POST", "/v1/exec"}, {"POST", "/v1/../v1/pull"},
		{"POST", "/v2/launch"}, {"POST", "/"}, {"CONNECT", "/v1/connect"}, {"OPTIONS", "*"}} {
		if status, answer := r.raw(t, at[0], at[1], strings.NewReader("{}")); status < 300 {
			t.Errorf("%v: %d %s", at, status, answer)
		}
	}
	for _, verb := range []string{"launch", "restart", "revive", "signal", "remove"} {
		if n := r.engine.Calls(verb, ""); n > 0 {
			t.Errorf("%d calls of %s reached the engine", n, verb)
		}
	}
}

// A question without an end, and one that never comes, are given up.
func TestHostileSizes(t *testing.T) {
	r := newRig(t)
	endless := io.MultiReader(strings.NewReader(`{"handle":"`), io.LimitReader(letters{}, 64<<20))
	if status, answer := r.raw(t, "POST", "/v1/remove", endless); status != 400 {
		t.Errorf("64 MiB: %d %.200s", status, answer)
	}
	conn, err := net.Dial("unix", r.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST /v1/remove HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if answer, err := io.ReadAll(conn); err != nil || !strings.Contains(string(answer), "400") {
		t.Errorf("half a question: %q, %v", answer, err)
	}
}

type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	return len(p), nil
}

// Two changes of one kernel never meet in the engine, whatever is asked.
func TestOneChangeAtATime(t *testing.T) {
	r := newRig(t)
	l := describe("alice", "good")
	if err := r.Launch(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	entered, leave := make(chan struct{}, 8), make(chan struct{})
	r.engine.On("restart", func(context.Context, string) error {
		entered <- struct{}{}
		<-leave
		return nil
	})
	done := make(chan error, 4)
	for range cap(done) {
		go func() { done <- r.Restart(t.Context(), l.Record.Handle) }()
	}
	<-entered
	close(leave)
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if clashes := r.engine.Clashes(); len(clashes) > 0 {
		t.Error(clashes)
	}
}

// Processes of other users are not heard.
func TestOtherUsers(t *testing.T) {
	r := newRig(t, func(c *launcher.Config) { c.May = func(uid int) bool { return uid != os.Geteuid() } })
	if _, err := r.List(t.Context()); !errors.Is(err, kernels.ErrUnavailable) {
		t.Errorf("list: %v", err)
	}
	if _, err := r.Dial(t.Context(), "a"); !errors.Is(err, kernels.ErrUnavailable) {
		t.Errorf("dial: %v", err)
	}
	if n := r.engine.Calls("list", ""); n > 0 {
		t.Error("the question reached the engine")
	}
}

// What the engine says is told apart on the other side as on this one.
func TestErrors(t *testing.T) {
	r := newRig(t)
	for _, want := range []error{kernels.ErrNotFound, kernels.ErrExists, kernels.ErrInvalid, kernels.ErrUnavailable, errors.New("disk is full")} {
		r.engine.On("restart", func(context.Context, string) error { return fmt.Errorf("engine: %w", want) })
		got := r.Restart(t.Context(), "a")
		if got == nil || !strings.Contains(got.Error(), "engine: "+want.Error()) {
			t.Errorf("%v became %v", want, got)
		}
		for _, kind := range []error{kernels.ErrNotFound, kernels.ErrExists, kernels.ErrInvalid, kernels.ErrUnavailable} {
			if errors.Is(got, kind) != errors.Is(want, kind) {
				t.Errorf("%v became %v", want, got)
			}
		}
	}
	if got, err := r.Problems(t.Context()); err != nil || len(got) != 1 || got[0] != "No limits." {
		t.Errorf("problems %v, %v", got, err)
	}
	if uid, err := r.Peer(t.Context()); err != nil || uid != os.Geteuid() {
		t.Errorf("the launcher is user %d, %v", uid, err)
	}
}

func FuzzQuestion(f *testing.F) {
	text, err := json.Marshal(good())
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(text), `{"handle":"a"}`, `{"handle":"../a"}`, "{}", "null", `{"env":{"LD_PRELOAD":"x"}}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		launch, err := launcher.ReadLaunch(strings.NewReader(text), kernels.EnvAllow{"LANG"})
		if err != nil {
			if !errors.Is(err, kernels.ErrInvalid) {
				t.Errorf("%v", err)
			}
			return
		}
		r := launch.Record
		if !r.Owner.Valid() || !kernels.ValidID(r.ID) || !kernels.ValidHandle(r.Handle) || len(launch.Env) > 1 {
			t.Errorf("let through: %+v", launch)
		}
	})
}
