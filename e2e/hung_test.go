//go:build e2e

package e2e_test

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// hungTime is until clients read of a kernel that hangs, and replaceTime until its next process answers.
const (
	hungTime    = 12 * time.Second
	replaceTime = 20 * time.Second
)

// hungs stops kernels' processes, which nobody sees from outside: they live and keep their sockets open.
func hungs(t *testing.T, c *contract) {
	for name, check := range map[string]func(*testing.T, *contract){
		"stopped while idle": func(t *testing.T, c *contract) {
			id := c.alice.newKernel(t)
			ch := c.alice.connect(t, id, randomHex(t, 16))
			ch.execute(t, "x = 1")
			signalKernel(t, c.g, id, syscall.SIGSTOP)
			comesAnew(t, ch, ch.start(t, "print(x)"))
		},
		"stops itself in its first cell": func(t *testing.T, c *contract) {
			ch := c.alice.connect(t, c.alice.newKernel(t), randomHex(t, 16))
			comesAnew(t, ch, ch.start(t, "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"))
		},
		"stopped for a while only": func(t *testing.T, c *contract) {
			id := c.alice.newKernel(t)
			ch := c.alice.connect(t, id, randomHex(t, 16))
			ch.execute(t, "x = 1")
			signalKernel(t, c.g, id, syscall.SIGSTOP)
			began := time.Now()
			one := ch.start(t, "print(x)")
			time.AfterFunc(4*time.Second, func() { signalKernel(t, c.g, id, syscall.SIGCONT) })
			if got := ch.finish(t, one, cellTime); got != "1\n" || time.Since(began) < 4*time.Second {
				t.Errorf("after %v the cell gave %q", time.Since(began), got)
			}
		},
		"its bridge is stopped for 12 s": func(t *testing.T, c *contract) {
			id := c.alice.newKernel(t)
			ch := c.alice.connect(t, id, randomHex(t, 16))
			ch.execute(t, "x = 1")
			bridge := c.g.processOf(t, id, "bridge", "cellblock")
			if err := syscall.Kill(bridge, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			one := ch.start(t, "import time; time.sleep(8); print(x)") // it sees the first beats that come afterwards
			<-time.After(12 * time.Second)
			if err := syscall.Kill(bridge, syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			if got := ch.finish(t, one, cellTime); got != "1\n" {
				t.Errorf("the cell gave %q", got)
			}
		},
		"lets no thread run for 12 s": func(t *testing.T, c *contract) {
			ch := c.alice.connect(t, c.alice.newKernel(t), randomHex(t, 16))
			got := ch.execute(t, "import ctypes; ctypes.PyDLL(None).sleep(12); print('done')")
			if !strings.HasSuffix(got, "done\n") { // ipykernel may say before that it could not flush
				t.Errorf("the cell gave %q", got)
			}
		},
	} {
		// Each is a person of its own: a kernel that is stopped may hold the lock of its owner's IPython history, of which
		// that owner's other kernels then complain in their cells.
		owner := "hung-" + randomHex(t, 4)
		own := &contract{g: c.g, alice: person{c.g.url, c.g.user(t, owner)}}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, own)
		})
	}
}

func signalKernel(t *testing.T, g *gateway, id string, signal syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(g.processOf(t, id, "kernel", "ipykernel"), signal); err != nil {
		t.Errorf("signal %v to the kernel: %v", signal, err)
	}
}

// comesAnew waits until clients have read why a kernel that hangs is given up, with the end of the cell that it has
// taken, and that it is started again; then the next cell must run in a new process of the same kernel.
func comesAnew(t *testing.T, ch *channels, taken *cell) {
	t.Helper()
	began := time.Now()
	var said strings.Builder
	for state, deadline := "", time.After(hungTime); state != "restarting"; {
		m := ch.next(t, deadline, "word of the hung kernel")
		taken.take(m)
		if state = m.Content.State; m.Header.Type == "stream" {
			said.WriteString(m.Content.Text)
		}
	}
	t.Logf("told after %v", time.Since(began).Round(time.Millisecond))
	if !strings.Contains(said.String(), "does not answer any more") || taken.status != "error" || !taken.idle {
		t.Errorf("clients read %q; the cell has the reply %q, idle: %v", said.String(), taken.status, taken.idle)
	}
	if got := ch.finish(t, ch.start(t, "print('x' in globals())"), replaceTime); got != "False\n" {
		t.Errorf("the next cell gave %q", got)
	}
	t.Logf("answers again after %v", time.Since(began).Round(time.Millisecond))
}
