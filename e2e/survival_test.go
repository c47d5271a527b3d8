//go:build e2e

package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

const (
	countTime = 90 * time.Second // for the longest counting cell, disturbed
	endTime   = 10 * time.Second // until a client knows that its connection has ended
)

// counting is a cell that prints n numbers, one each 20 ms.
func counting(n int) string {
	return fmt.Sprintf("import time\nfor i in range(%d):\n    print(i, flush=True)\n    time.sleep(0.02)", n)
}

// pausing is the same with a pause after a number.
func pausing(n, after int) string {
	return counting(n) + fmt.Sprintf("\n    if i == %d: time.sleep(1)", after)
}

// counted is what counting(n) must have given: each number once, in order.
func counted(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintln(&text, i)
	}
	return text.String()
}

// has reports whether the cell has printed number n.
func (one *cell) has(n int) func() bool {
	return func() bool { return strings.Contains(one.text.String(), fmt.Sprintf("\n%d\n", n)) }
}

// checkCounted fails the test unless the cell has each number once, in order, and a good reply.
func checkCounted(t *testing.T, one *cell, n int) {
	t.Helper()
	got, want := one.text.String(), counted(n)
	if got != want {
		at := 0
		for at < min(len(got), len(want)) && got[at] == want[at] {
			at++
		}
		t.Errorf("the numbers differ after %q: then %.60q", end(want[:at]), got[at:])
	}
	if one.status != "ok" {
		t.Errorf("execute_reply says %q", one.status)
	}
}

func gatewayRestarts(t *testing.T, shared *contract) {
	g, alice := shared.g, shared.alice
	t.Run("gateway killed", func(t *testing.T) {
		survives(t, g, alice, func(c *channels, one *cell) {
			g.kill(t)
			c.drain(t, endTime, one)
		})
	})
	t.Run("gateway drained", func(t *testing.T) {
		survives(t, g, alice, func(c *channels, one *cell) {
			g.stop(t)
			if code := c.drain(t, endTime, one); code != websocket.CloseServiceRestart {
				t.Errorf("close code %d instead of %d", code, websocket.CloseServiceRestart)
			}
		})
	})
}

// survives runs a counting cell of 20 s, ends the gateway in its midst, starts it again, and comes back. A real
// jupyter_server in gateway mode does the same beside it, with a kernel of its own.
func survives(t *testing.T, g *gateway, p person, endGateway func(*channels, *cell)) {
	lab := g.startScript(t, p, "server_counts.py")
	if !lab.line() {
		lab.finish(t)
	}
	id, session := p.newKernel(t), randomHex(t, 16)
	c := p.connect(t, id, session)
	c.execute(t, "kept = 42")
	one := c.start(t, counting(1000))
	c.follow(t, one, countTime, one.has(100))
	endGateway(c, one)
	g.start(t)

	c = p.connect(t, id, session)
	c.finish(t, one, countTime)
	checkCounted(t, one, 1000)
	if got := c.execute(t, "print(kept)"); got != "42\n" {
		t.Errorf("after the restart the kernel says %q: not the same one", got)
	}
	if got := p.call(t, "GET", "/api/kernels", ""); got.status != http.StatusOK || !strings.Contains(got.body, id) {
		t.Errorf("GET /api/kernels after the restart: %d %s", got.status, got.body)
	}
	t.Log("jupyter_server: ", lab.finish(t))
}

// survivesCuts cuts a client's connection in three ways. A second client, whose connection stays whole, tells how far
// the cell is meanwhile. The cut comes in a pause of the cell, when the client has confirmed all that it has: of what
// is under way when a connection ends nobody can know whether it arrived.
func survivesCuts(t *testing.T, p person) {
	network, url := newProxy(t, p.url)
	far := person{url, p.token}
	cuts := []struct {
		name string
		cut  func(passed func())
		// early is whether the client comes back while its old connection still looks whole to the gateway.
		early bool
	}{
		{"reset", func(passed func()) { network.reset(); passed() }, false},
		{"black hole, then reset", func(passed func()) { network.swallow(); passed(); network.reset() }, false},
		{"black hole, back before the reset", func(passed func()) { network.swallow(); passed() }, true},
	}
	for _, row := range cuts {
		t.Run(row.name, func(t *testing.T) {
			id, session := p.newKernel(t), randomHex(t, 16)
			watcher := p.connect(t, id, randomHex(t, 16))
			c := far.connect(t, id, session)
			one := c.start(t, pausing(300, 50))
			seen := &cell{id: one.id, status: "not ours"} // the watcher gets outputs but no reply
			c.follow(t, one, countTime, one.has(50))
			c.confirm(t, one)
			row.cut(func() { watcher.follow(t, seen, countTime, seen.has(200)) })

			if row.early {
				c.take(one)
				c = p.connect(t, id, session)
				network.reset()
			} else {
				c.drain(t, endTime, one)
				c = far.connect(t, id, session)
			}
			c.finish(t, one, countTime)
			checkCounted(t, one, 300)
			if got := watcher.finish(t, seen, countTime); got != counted(300) {
				t.Error("the client whose connection stayed whole has not each number once")
			}
		})
	}
}
