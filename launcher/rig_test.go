package launcher_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/kernels/kernelstest"
	"cellblock.io/cellblock/launcher"
)

const patience = 20 * time.Second

var python = kernels.Spec{Name: "python3", Image: "sha256:good", JSON: []byte(`{"display_name":"P"}`)}

// engine is the world in memory, whose bridges answer what they are sent.
type engine struct {
	*kernelstest.World
	t      *testing.T
	dials  atomic.Int64
	policy atomic.Value // of alice
	open   atomic.Int64 // bridges' ends of connections
}

func newEngine(t *testing.T) *engine {
	e := &engine{World: kernelstest.NewWorld(python), t: t}
	e.On("launch", func(_ context.Context, handle string) error {
		if strings.HasPrefix(handle, "bad") {
			return errors.New("no such image")
		}
		return nil
	})
	return e
}

// Apply takes note of what holds.
func (e *engine) Apply(_ context.Context, inForce map[kernels.Owner]string) error {
	e.policy.Store(inForce["alice"])
	return nil
}

// UserIDs knows one owner.
func (e *engine) UserIDs(context.Context) (map[kernels.Owner]int, error) {
	return map[kernels.Owner]int{"alice": 20000}, nil
}

// Dial connects to an echo, as if that were the kernel's bridge.
func (e *engine) Dial(ctx context.Context, handle string) (net.Conn, error) {
	if strings.HasPrefix(handle, "dead") {
		return nil, fmt.Errorf("dial: %w", kernels.ErrUnavailable)
	}
	path := filepath.Join(shortDir(e.t), "bridge")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	conn, err := net.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	far, err := ln.Accept()
	if err != nil {
		return nil, err
	}
	e.dials.Add(1)
	e.open.Add(1)
	go func() {
		defer e.open.Add(-1)
		defer far.Close()
		_, _ = io.Copy(far, far)
	}()
	return conn, nil
}

// shortDir is a directory in which sockets' paths are short enough.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "l")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// rig is a launcher and a client of it.
type rig struct {
	*launcher.Client
	engine *engine
	socket string
	cfg    launcher.Config
	stop   func(t *testing.T)
}

func newRig(t *testing.T, change ...func(*launcher.Config)) *rig {
	t.Helper()
	e := newEngine(t)
	r := &rig{engine: e, socket: filepath.Join(shortDir(t), "s"), cfg: launcher.Config{
		Engine: e, May: func(uid int) bool { return uid == os.Geteuid() }, EnvAllow: kernels.EnvAllow{"LANG", "LC_*"},
		Problems: func(context.Context) []string { return []string{"No limits."} },
	}}
	for _, c := range change {
		c(&r.cfg)
	}
	r.Client = launcher.NewClient(r.socket)
	r.start(t)
	t.Cleanup(func() { r.stop(t) })
	return r
}

// start starts the launcher; again after a stop.
func (r *rig) start(t *testing.T) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: r.socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- launcher.NewServer(r.cfg).Run(ctx, ln) }()
	r.stop = func(t *testing.T) {
		t.Helper()
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the launcher ended: %v", err)
			}
			r.stop = func(*testing.T) {}
		case <-time.After(patience):
			t.Fatal("the launcher does not end")
		}
	}
}

var made atomic.Int64

// describe describes a kernel that the launcher will start.
func describe(owner kernels.Owner, prefix string) kernels.Launch {
	n := int(made.Add(1))
	return kernels.Launch{UID: 20000, Spec: python, Record: kernels.Record{
		ID: kernelstest.ID(n), Owner: owner, Handle: fmt.Sprintf("%s%d", prefix, n), Spec: "python3", Created: time.Now(),
	}}
}

// TestContract holds the pair of client and server to what every launcher must do.
func TestContract(t *testing.T) {
	kernelstest.LauncherSuite(t, func(t *testing.T) kernelstest.Place {
		r := newRig(t)
		var bridges atomic.Int64
		return kernelstest.Place{
			Launcher: r,
			Observer: r,
			Launch:   func(owner kernels.Owner) kernels.Launch { return describe(owner, "good") },
			Broken:   func(owner kernels.Owner) kernels.Launch { return describe(owner, "bad") },
			Kill: func(_ *testing.T, handle string, bridge bool) {
				if bridge {
					bridges.Add(1)
					r.engine.KillBridge(handle)
				} else {
					r.engine.KillKernel(handle)
				}
			},
			Process: func(_ *testing.T, handle string, bridge bool) string {
				if bridge {
					return fmt.Sprint(bridges.Load())
				}
				n, _, _ := r.engine.Processes(handle)
				return fmt.Sprint(n)
			},
			Watching: func(t *testing.T) { until(t, "a watch", func() bool { return r.engine.Watchers() > 0 }) },
			Again: func(t *testing.T) (kernels.Launcher, kernels.Observer) {
				r.stop(t)
				r.start(t)
				again := launcher.NewClient(r.socket)
				return again, again
			},
			Leftovers: func(_ *testing.T, handle string) []string {
				if r.engine.Launched(handle).Record.Handle == "" {
					return nil
				}
				return []string{handle}
			},
		}
	})
}

// until waits for a condition.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); {
		if time.Now().After(end) {
			t.Fatalf("%s did not come about", what)
		}
		<-time.After(time.Millisecond)
	}
}
