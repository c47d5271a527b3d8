package bridge_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"cellblock.io/cellblock/kernels/bridge"
	"cellblock.io/cellblock/kernels/kernelstest"
	"cellblock.io/cellblock/kernels/wire"
)

// heartOf rewrites a connection file to another port of the heartbeat.
func heartOf(t *testing.T, file string, port int) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(text, []byte(`"hb_port":4`), fmt.Appendf(nil, `"hb_port":%d`, port), 1)
	if bytes.Equal(changed, text) {
		t.Fatalf("no heartbeat in %s", text)
	}
	if err := os.WriteFile(file, changed, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestKernelWithoutHeartbeatWorks(t *testing.T) {
	for name, port := range map[string]int{"none is named": 0, "nobody listens": 9} {
		t.Run(name, func(t *testing.T) {
			r := startedRig(t, func(c *bridge.Config) { heartOf(t, c.ConnectionFile, port) })
			c := r.connect("s")
			c.run("1")
			if st := r.status(); st.Broken != "" || st.Generation != 1 {
				t.Errorf("%+v", st)
			}
		})
	}
}

func TestHeartbeatPortMustBeOne(t *testing.T) {
	for _, port := range []int{-1, 65536} {
		k := kernelstest.NewFakeKernel(t)
		heartOf(t, k.ConnectionFile(), port)
		err := bridge.Run(context.Background(), bridge.Config{ConnectionFile: k.ConnectionFile(),
			Listen: "unix:" + filepath.Join(k.Dir(), "b"), Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
		if err == nil {
			t.Errorf("hb_port %d was taken", port)
		}
	}
}

// A kernel that is cut off again and again is broken until another process takes its place.
func TestKernelThatKeepsBreakingTheProtocol(t *testing.T) {
	r := startedRig(t)
	for link := 1; link <= 3; link++ {
		if st := r.status(); st.Broken != "" {
			t.Fatalf("broken on link %d: %s", link, st.Broken)
		}
		if _, err := r.kernel.Raw(wire.IOPub).Write([]byte{8, 0}); err != nil { // reserved flags
			t.Fatal(err)
		}
		r.ready(link)
	}
	if st := r.status(); st.Broken == "" || time.Since(st.BrokenSince) > patience {
		t.Errorf("%+v", st)
	}
	r.kernel.Kill()
	r.kernel.Start()
	r.ready(4)
	if st := r.status(); st.Broken != "" {
		t.Errorf("%+v", st)
	}
}
