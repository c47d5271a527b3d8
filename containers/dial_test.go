package containers_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"cellblock.io/cellblock/containers"
	"cellblock.io/cellblock/kernels"
)

// gates are two kernels' directories and an engine that dials them.
type gates struct {
	engine *containers.Engine
	root   string
	bridge string // where the socket of kernel aa belongs
}

const mine, other = "aa", "bb"

func newGates(t *testing.T) gates {
	t.Helper()
	p := newPodman(t)
	e := p.connect(t)
	for _, handle := range []string{mine, other} {
		dir := containers.KernelDir(filepath.Join(p.cfg.RunDir, handle))
		if err := errors.Join(containers.ClaimDir(dir), containers.FillDir(dir, "python3", containers.NoNetwork)); err != nil {
			t.Fatal(err)
		}
	}
	return gates{e, p.cfg.RunDir, filepath.Join(p.cfg.RunDir, mine, "gate", "bridge.sock")}
}

// listen greets everybody who connects to path.
func listen(t *testing.T, path, greeting string) net.Listener {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Write([]byte(greeting))
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l
}

func TestDial(t *testing.T) {
	g := newGates(t)
	listen(t, g.bridge, "mine")
	conn, err := g.engine.Dial(t.Context(), mine)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	buf := make([]byte, 4)
	if _, err := conn.Read(buf); err != nil || string(buf) != "mine" {
		t.Errorf("read %q, %v", buf, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.engine.Dial(ctx, mine); !errors.Is(err, context.Canceled) {
		t.Errorf("dial for nobody: %v", err)
	}
}

// A bridge that was taken over cannot send the gateway anywhere else.
func TestDialPlanted(t *testing.T) {
	tests := []struct {
		name        string
		plant       func(t *testing.T, g gates) error
		unavailable bool
	}{
		{"nothing", func(*testing.T, gates) error { return nil }, true},
		{"nobody listens", func(t *testing.T, g gates) error {
			l := listen(t, g.bridge, "")
			l.(*net.UnixListener).SetUnlinkOnClose(false)
			return l.Close()
		}, true},
		{"a link to another bridge", func(t *testing.T, g gates) error {
			listen(t, filepath.Join(g.root, other, "gate", "bridge.sock"), "other")
			return os.Symlink("../../"+other+"/gate/bridge.sock", g.bridge)
		}, false},
		{"an absolute link", func(t *testing.T, g gates) error {
			path := filepath.Join(t.TempDir(), "s")
			listen(t, path, "other")
			return os.Symlink(path, g.bridge)
		}, false},
		{"a linked directory", func(t *testing.T, g gates) error {
			listen(t, filepath.Join(g.root, other, "gate", "bridge.sock"), "other")
			gate := filepath.Dir(g.bridge)
			return errors.Join(os.Remove(gate), os.Symlink("../"+other+"/gate", gate))
		}, false},
		{"a file", func(_ *testing.T, g gates) error { return os.WriteFile(g.bridge, nil, 0o666) }, false},
		{"a pipe", func(_ *testing.T, g gates) error { return unix.Mkfifo(g.bridge, 0o666) }, false},
		{"a directory", func(_ *testing.T, g gates) error { return os.Mkdir(g.bridge, 0o777) }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newGates(t)
			if err := tt.plant(t, g); err != nil {
				t.Fatal(err)
			}
			conn, err := g.engine.Dial(t.Context(), mine)
			if err == nil {
				conn.Close()
				t.Fatal("connected")
			}
			if errors.Is(err, kernels.ErrUnavailable) != tt.unavailable {
				t.Errorf("%v; want ErrUnavailable: %t", err, tt.unavailable)
			}
		})
	}
}

func TestDialRefusesHandles(t *testing.T) {
	g := newGates(t)
	listen(t, g.bridge, "mine")
	for _, handle := range []string{"", ".", "..", "../kernels/aa", "aa/", "AA", "aa\x00", "a a", "/aa"} {
		if _, err := g.engine.Dial(t.Context(), handle); !errors.Is(err, kernels.ErrInvalid) {
			t.Errorf("handle %q: %v", handle, err)
		}
	}
	if _, err := g.engine.Dial(t.Context(), "cc"); !errors.Is(err, kernels.ErrUnavailable) {
		t.Errorf("a kernel that is not there: %v", err)
	}
}
