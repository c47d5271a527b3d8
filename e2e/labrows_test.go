//go:build e2e

package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// outage is how long a gateway is away that somebody restarts.
const outage = 3 * time.Second

// TestLab is what a person at JupyterLab meets when things go wrong: one Lab, one browser, all that can happen.
func TestLab(t *testing.T) {
	g := startGateway(t, "")
	alice := person{g.url, g.user(t, "alice")}
	far, farURL := newProxy(t, g.url) // between Lab's server and the gateway
	l := g.newLab(t, person{farURL, alice.token})
	near, nearURL := newProxy(t, l.url) // between the browser and Lab's server
	l.do(t, "sit", what{"url": nearURL})

	l.open(t)
	t.Run("a cell run right after a restart", func(t *testing.T) {
		l.result(t, "x = 1; print(x)", "^1\n$")
		l.do(t, "restart", nil)
		l.result(t, "print('x' in globals())", "^False\n$")
		l.shot(t, "restart")
	})
	for _, row := range []struct{ name, end, why string }{
		{"exit", "os._exit(3)", "its process ended with exit status 3"},
		{"SIGKILL", "os.kill(os.getpid(), 9)", "killed by signal 9, which is also what happens when memory runs out"},
		{"SIGSEGV", "import ctypes; ctypes.string_at(0)", `signal 11 \(segmentation fault\)`},
	} {
		t.Run("a kernel that kills itself by "+row.name, func(t *testing.T) { l.dies(t, row.name, row.end, row.why) })
	}
	t.Run("5 MB printed at once", func(t *testing.T) {
		if got := l.result(t, "print('x' * 5_000_000)", "x").Text; got != strings.Repeat("x", 5_000_000)+"\n" {
			t.Errorf("%d bytes are shown, which end in %q", len(got), end(got))
		}
		l.shot(t, "5mb")
	})
	t.Run("12 MB in one message", func(t *testing.T) {
		l.result(t, "display({'text/plain': 'y' * 12_000_000}, raw=True); print('after')",
			`^\[A display_data message of 12\.0 MB was left out: .*\]`+"\nafter\n$")
		l.shot(t, "12mb")
	})

	id := l.open(t)
	t.Run("a cut between Lab and the gateway", func(t *testing.T) { l.survivesCut(t, far, alice.watch(t, id), "far", "") })
	t.Run("a cut between the browser and Lab", func(t *testing.T) {
		// That its own server is away Lab says itself, and nobody can keep it from doing so.
		l.survivesCut(t, near, alice.watch(t, id), "near", "A connection to the Jupyter server could not be established")
	})
	t.Run("the gateway killed", func(t *testing.T) { l.survivesOutage(t, g, g.kill, "killed") })
	t.Run("the gateway stopped", func(t *testing.T) { l.survivesOutage(t, g, g.stop, "stopped") })
	t.Run("a restart while the engine is away", func(t *testing.T) { l.restartsAnyway(t, g) })
	t.Run("a WebSocket that is refused for a while", func(t *testing.T) { l.comesBackAnyway(t, g, far, alice, id) })
	t.Run("the page reloaded while a cell prints", func(t *testing.T) { l.reloads(t, alice, id) })
	t.Run("a kernel that is refused", func(t *testing.T) { l.refused(t, g) })
	t.Run("a kernel that is culled", func(t *testing.T) { l.culled(t, g, alice, id) })
}

// dies runs a cell that ends its kernel in some way. The cell says why, and the next one runs.
func (l *lab) dies(t *testing.T, name, way, why string) {
	// A moment for the words to leave the process: what is in its own queue dies with it.
	l.result(t, "import os, time; print('before', flush=True); time.sleep(0.5); "+way,
		"^before\nThe kernel died: "+why+`\. It is started again, without its variables\.`+"\n$")
	l.shot(t, "died-"+name)
	if said := fmt.Sprint(l.do(t, "dialog", nil)); !strings.Contains(said, "restart automatically") {
		t.Errorf("Lab says: %s", said)
	}
	l.result(t, "print(6 * 7)", "^42\n$")
}

// survivesCut cuts a connection for 5 s of a cell that prints, with RST, and wants all of the cell afterwards, once. Lab
// may say nothing but said meanwhile.
func (l *lab) survivesCut(t *testing.T, network *proxy, w *watcher, name, said string) {
	// The cut comes in a pause of the cell: what Lab's server has taken and the browser has not nobody else can know of.
	one := l.run(t, pausing(450, 50))
	l.shows(t, one, "\n50\n$")
	network.cut()
	w.sees(t, 50+4*50)
	network.mend()
	l.counted(t, one, 450)
	l.shot(t, "cut-"+name)
	for _, text := range l.dialogs(t) {
		if said == "" || !strings.Contains(text, said) {
			t.Errorf("Lab says: %s", text)
		}
	}
	l.result(t, "print(6 * 7)", "^42\n$")
}

// survivesOutage ends the gateway in the midst of a cell that prints, and starts it again after a while.
func (l *lab) survivesOutage(t *testing.T, g *gateway, end func(*testing.T), name string) {
	l.result(t, "kept = 42", "^$")
	one := l.run(t, counting(450))
	l.shows(t, one, "\n40\n")
	end(t)
	<-time.After(outage)
	g.start(t)
	l.counted(t, one, 450)
	if said := l.dialogs(t); len(said) > 0 {
		t.Errorf("Lab says: %s", said)
	}
	l.result(t, "print(kept)", "^42\n$")
	l.shot(t, "gateway-"+name)
}

// counted waits for the end of a cell that counts to n and fails the test unless it shows each number once, in order.
func (l *lab) counted(t *testing.T, cell, n int) {
	t.Helper()
	got, want := l.shown(t, cell, fmt.Sprintf("\n%d\n$", n-1)).Text, counted(n)
	if got != want {
		at := 0
		for at < min(len(got), len(want)) && got[at] == want[at] {
			at++
		}
		t.Errorf("the numbers differ after %q: then %.60q", strings.TrimSpace(want[max(0, at-20):at]), got[at:])
	}
}

// watcher is a client of the gateway's own beside Lab.
type watcher struct {
	c    *channels
	text strings.Builder
}

func (p person) watch(t *testing.T, id string) *watcher {
	return &watcher{c: p.connect(t, id, randomHex(t, 16))}
}

// sees waits until some cell has printed a number.
func (w *watcher) sees(t *testing.T, n int) {
	t.Helper()
	deadline := time.After(countTime)
	for !strings.Contains(w.text.String(), fmt.Sprintf("\n%d\n", n)) {
		if m := w.c.next(t, deadline, fmt.Sprintf("number %d", n)); m.Header.Type == "stream" {
			w.text.WriteString(m.Content.Text)
		}
	}
}
