package containers_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cellblock.io/cellblock/containers"
	"cellblock.io/cellblock/kernels"
)

const conflict = `{"response":409,"cause":"container state improper","message":"can only kill running containers"}`

func TestCapabilities(t *testing.T) {
	tests := []struct {
		version, controllers string
		missing              string
	}{
		{"v2", allControllers, "[]"},
		{"v2", `"memory","pids"`, "[cpu]"},
		{"v2", ``, "[cpu memory pids]"},
		{"v1", allControllers, "[cpu memory pids]"}, // what root could limit there, others cannot
	}
	for _, tt := range tests {
		t.Run(tt.version+" "+tt.controllers, func(t *testing.T) {
			p := newPodman(t)
			p.on("GET /info", answer(200, fmt.Sprintf(hostInfo, tt.version, tt.controllers)))
			caps, err := p.connect(t).Capabilities(t.Context())
			if err != nil || fmt.Sprint(caps.Missing()) != tt.missing || caps.Version != "4.3.1" || caps.Runtime != "crun" {
				t.Errorf("%+v: missing %v, want %s (%v)", caps, caps.Missing(), tt.missing, err)
			}
		})
	}
}

func TestConnectWithoutPodman(t *testing.T) {
	p := newPodman(t)
	p.server.Close()
	if _, err := containers.Connect(t.Context(), p.cfg); !errors.Is(err, kernels.ErrUnavailable) {
		t.Errorf("no Podman: %v", err)
	}
}

func TestValidate(t *testing.T) {
	good := goldenConfig()
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	tests := []struct {
		name   string
		change func(*containers.Config)
	}{
		{"socket", func(c *containers.Config) { c.Socket = "podman.sock" }},
		{"run directory", func(c *containers.Config) { c.RunDir = "" }},
		{"instance", func(c *containers.Config) { c.Instance = "Cell block" }},
		{"seccomp", func(c *containers.Config) { c.SeccompProfile = "seccomp.json" }},
		{"memory", func(c *containers.Config) { c.Limits.Memory = 64 << 20 }},
		{"cpu", func(c *containers.Config) { c.Limits.CPUs = -1 }},
		{"process", func(c *containers.Config) { c.Limits.PIDs = 1 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := good
			tt.change(&c)
			if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tt.name) {
				t.Error(err)
			}
		})
	}
}

// An engine that went away, or hangs, is told apart from one that refuses, and from a caller who went away.
func TestUnreachable(t *testing.T) {
	p := newPodman(t)
	e := p.connect(t)
	hang := make(chan struct{})
	p.on("GET /containers/json", func(http.ResponseWriter, *http.Request) { <-hang })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if _, err := e.List(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, kernels.ErrUnavailable) {
		t.Errorf("a caller who went away: %v", err)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("that took %v", took)
	}
	close(hang)
	p.on("GET /containers/json", answer(500, `{"response":500,"message":"database is broken"}`))
	_, err := e.List(t.Context())
	if err == nil || errors.Is(err, kernels.ErrUnavailable) || !strings.Contains(err.Error(), "database is broken") {
		t.Errorf("a refusal: %v", err)
	}
	p.server.Close()
	calls := map[string]func() error{
		"launch":    func() error { return e.Launch(t.Context(), goldenLaunch()) },
		"interrupt": func() error { return e.Interrupt(t.Context(), "aa") },
		"watch":     func() error { return e.Watch(t.Context(), nil) },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, kernels.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever step of a launch fails, the other part goes too.
func TestLaunchUndone(t *testing.T) {
	fail := answer(500, `{"response":500,"message":"out of order"}`)
	for _, step := range []string{
		"POST /volumes/create", "POST /containers/create", "POST /containers/*/start",
	} {
		t.Run(step, func(t *testing.T) {
			p := newPodman(t)
			e := p.connect(t)
			p.on(step, fail)
			l := goldenLaunch()
			err := e.Launch(t.Context(), l)
			if err == nil || errors.Is(err, kernels.ErrUnavailable) || !strings.Contains(err.Error(), "out of order") {
				t.Errorf("launch: %v", err)
			}
			for _, undo := range []string{"containers/test-kernel-", "containers/test-bridge-", "volumes/test-sockets-", "volumes/test-tmp-", "volumes/test-shm-"} {
				if p.count("DELETE /"+undo) != 1 {
					t.Errorf("%s was not removed: %v", undo, p.calls)
				}
			}
			if _, err := os.Lstat(filepath.Join(p.cfg.RunDir, l.Record.Handle)); !os.IsNotExist(err) {
				t.Errorf("the directory is there: %v", err)
			}
			if p.count("DELETE /volumes/test-workspace-") != 0 {
				t.Error("the workspace was removed")
			}
		})
	}
}

// A handle that is in use is refused, and the kernel that uses it is left alone.
func TestLaunchTwice(t *testing.T) {
	p := newPodman(t)
	e := p.connect(t)
	if err := e.Launch(t.Context(), goldenLaunch()); err != nil {
		t.Fatal(err)
	}
	if err := e.Launch(t.Context(), goldenLaunch()); !errors.Is(err, kernels.ErrExists) {
		t.Errorf("launched twice: %v", err)
	}
	if n := p.count("DELETE "); n != 0 {
		t.Errorf("%d removals", n)
	}
}

func TestLaunchRefused(t *testing.T) {
	tests := []struct {
		name   string
		change func(*kernels.Launch)
	}{
		{"handle", func(l *kernels.Launch) { l.Record.Handle = "../x" }},
		{"owner", func(l *kernels.Launch) { l.Record.Owner = "Ann" }},
		{"id", func(l *kernels.Launch) { l.Record.ID = "x" }},
		{"root", func(l *kernels.Launch) { l.UID = 0 }},
		{"an image's user", func(l *kernels.Launch) { l.UID = 999 }},
		{"image", func(l *kernels.Launch) { l.Spec.Image = "" }},
		{"environment", func(l *kernels.Launch) { l.Env = map[string]string{"A=B": ""} }},
	}
	p := newPodman(t)
	e := p.connect(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := goldenLaunch()
			tt.change(&l)
			if err := e.Launch(t.Context(), l); !errors.Is(err, kernels.ErrInvalid) {
				t.Error(err)
			}
		})
	}
	if n := p.count("POST "); n != 0 {
		t.Errorf("%d calls", n)
	}
}

func TestWorkspaceOfAnotherUser(t *testing.T) {
	p := newPodman(t)
	p.on("GET /volumes/*/json", answer(200, `{"Name":"w","Labels":{"io.cellblock.uid":"20002"}}`))
	e := p.connect(t)
	if err := e.Launch(t.Context(), goldenLaunch()); err == nil || !strings.Contains(err.Error(), "20002") {
		t.Errorf("launch: %v", err)
	}
	if n := p.count("POST /containers"); n != 0 {
		t.Errorf("%d containers", n)
	}
}

// Removing goes on after what is gone already, stops at what fails, and keeps the directory as the last sign.
func TestRemove(t *testing.T) {
	p := newPodman(t)
	e := p.connect(t)
	dir := filepath.Join(p.cfg.RunDir, "aa")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p.on("DELETE /containers/*", answer(500, `{"response":500,"message":"device busy"}`))
	if err := e.Remove(t.Context(), "aa"); err == nil {
		t.Error("removed")
	}
	if got, err := e.List(t.Context()); err != nil || len(got) != 1 || got[0].Record.Handle != "aa" || got[0].Complete {
		t.Errorf("listed %+v, %v", got, err)
	}
	gone := answer(404, `{"response":404,"message":"no such thing"}`)
	p.on("DELETE /containers/*", gone)
	p.on("DELETE /volumes/*", gone)
	if err := e.Remove(t.Context(), "aa"); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Errorf("the directory is there: %v", err)
	}
}

// A kernel that ends by itself just as it is removed is removed all the same.
func TestRemoveWhileItEnds(t *testing.T) {
	p := newPodman(t)
	e := p.connect(t)
	var tries atomic.Int32
	p.on("DELETE /containers/*", func(w http.ResponseWriter, r *http.Request) {
		if tries.Add(1) <= 2 {
			answer(500, `{"response":500,"cause":"container state improper","message":"container state improper: stopped"}`)(w, r)
			return
		}
		answer(200, `[]`)(w, r)
	})
	if err := e.Remove(t.Context(), "aa"); err != nil {
		t.Error(err)
	}
	if n := tries.Load(); n != 4 {
		t.Errorf("%d calls for two containers that refuse once each", n)
	}
}

func TestSignals(t *testing.T) {
	p := newPodman(t)
	e := p.connect(t)
	for _, tt := range []struct {
		status int
		body   string
		want   error
	}{
		{204, ``, nil},
		{409, conflict, kernels.ErrUnavailable},
		{500, strings.Replace(conflict, "409", "500", 1), kernels.ErrUnavailable}, // Podman 4.3
		{404, `{"response":404,"message":"no such container"}`, kernels.ErrNotFound},
	} {
		p.on("POST /containers/*/kill", answer(tt.status, tt.body))
		if err := e.Interrupt(t.Context(), "aa"); !errors.Is(err, tt.want) {
			t.Errorf("%d %s: %v, want %v", tt.status, tt.body, err, tt.want)
		}
	}
	gone := answer(404, `{"response":404,"message":"no such container"}`)
	p.on("POST /containers/*/start", gone)
	for name, call := range map[string]func(context.Context, string) error{"restart": e.Restart, "revive": e.Revive} {
		if err := call(t.Context(), "aa"); !errors.Is(err, kernels.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// While volumes of another kernel are being removed, Podman's list of all fails. A launch must not.
func TestVolumesListedWhileOthersGo(t *testing.T) {
	p := newPodman(t)
	asked := 0
	p.on("GET /volumes/json", func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked < 3 {
			answer(500, `{"response":500,"message":"no volume with name x found in database: no such volume","cause":"no such volume"}`)(w, r)
			return
		}
		answer(200, `[]`)(w, r)
	})
	if _, err := p.connect(t).UserIDs(t.Context()); err != nil || asked != 3 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}
