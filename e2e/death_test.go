//go:build e2e

package e2e_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

const (
	noticeTime  = 2 * time.Second  // until clients must know that their kernel has died
	revivalTime = 30 * time.Second // until the next process must be idle
	goneTime    = 10 * time.Second // until an ended kernel must be 404
)

func TestDeath(t *testing.T) {
	g := startGateway(t, "")
	alice := person{g.url, g.user(t, "alice")}

	t.Run("the next cell runs", func(t *testing.T) {
		id := alice.newKernel(t)
		c, other := alice.connect(t, id, randomHex(t, 16)), alice.connect(t, id, randomHex(t, 16))
		c.execute(t, "x = 1")
		g.killKernel(t, id)
		c.waitStatus(t, "restarting", noticeTime)
		early := c.start(t, "print('x' in globals())") // before the new process is there
		other.waitStatus(t, "restarting", noticeTime)
		other.waitStatus(t, "idle", revivalTime)
		if got := c.finish(t, early, cellTime); got != "False\n" {
			t.Errorf("the cell sent right after the death gave %q", got)
		}
		if got := c.execute(t, "print(6 * 7)"); got != "42\n" {
			t.Errorf("the next cell gave %q", got)
		}
	})

	t.Run("a cell sent at once after a confirmed restart runs", func(t *testing.T) {
		id := alice.newKernel(t)
		c := alice.connect(t, id, randomHex(t, 16))
		c.execute(t, "x = 1")
		for range 3 {
			alice.expect(t, http.StatusOK, "POST", "/api/kernels/"+id+"/restart", "")
			if got := c.execute(t, "print('x' in globals()); x = 1"); got != "False\n" {
				t.Fatalf("after the restart: %q", got)
			}
		}
	})

	t.Run("repeated deaths are final", func(t *testing.T) { diesForGood(t, g, alice) })

	t.Run("an exit that a client asked for is final", func(t *testing.T) {
		id := alice.newKernel(t)
		c := alice.connect(t, id, randomHex(t, 16))
		c.execute(t, "x = 1")
		c.send(t, "control", "shutdown_request", map[string]any{"restart": false})
		eventually(t, goneTime, gone(t, alice, id))
	})
}

// diesForGood kills a kernel as often as it comes back: five times it is started again, the sixth death is its last.
func diesForGood(t *testing.T, g *gateway, p person) {
	id := p.newKernel(t)
	c := p.connect(t, id, randomHex(t, 16))
	c.execute(t, "x = 1")
	for range 5 {
		g.killKernel(t, id)
		c.waitStatus(t, "restarting", noticeTime)
		c.waitStatus(t, "idle", revivalTime)
	}
	g.killKernel(t, id)
	c.waitStatus(t, "dead", noticeTime)
	if code := c.drain(t, endTime, nil); code != websocket.CloseNormalClosure {
		t.Errorf("close code %d instead of %d, after which clients do not come back", code, websocket.CloseNormalClosure)
	}
	eventually(t, goneTime, gone(t, p, id))
	if _, err := p.dial(id, randomHex(t, 16)); err == nil {
		t.Error("the dead kernel accepts a WebSocket")
	}
}

// gone returns a check that a kernel is 404.
func gone(t *testing.T, p person, id string) func() string {
	return func() string {
		if state := p.state(t, id); state != "404" {
			return "the kernel is " + state + " and not 404"
		}
		return ""
	}
}
