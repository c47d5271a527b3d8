//go:build e2e

package e2e_test

import (
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// culling needs a gateway that culls.
func culling(t *testing.T, _ *contract) {
	g := startGateway(t, "cull: {idle_timeout: 5s, interval: 1s, connected: true, busy: false}")
	alice := person{g.url, g.user(t, "alice")}

	idle, polled, busy := alice.newKernel(t), alice.newKernel(t), alice.newKernel(t)
	poller, worker := alice.connect(t, polled, randomHex(t, 16)), alice.connect(t, busy, randomHex(t, 16))
	// The cell prints nothing, and so lasts far longer than the timeout without a sign of life.
	work := worker.start(t, "import time\ntime.sleep(25)\nprint('done')")
	poller.execute(t, "x = 1")

	code := make(chan int, 1)
	go poll(poller, code)
	eventually(t, 60*time.Second, gone(t, alice, idle))
	eventually(t, 60*time.Second, gone(t, alice, polled))
	if got := <-code; got != websocket.CloseNormalClosure {
		t.Errorf("the culled kernel's client was closed with %d instead of %d", got, websocket.CloseNormalClosure)
	}
	if state := alice.state(t, busy); state != "busy" {
		t.Errorf("the working kernel is %s", state)
	}
	if work.status != "" || worker.finish(t, work, cellTime) != "done\n" {
		t.Error("the working kernel did not finish its cell after the others had gone")
	}
	eventually(t, 60*time.Second, gone(t, alice, busy))
}

// poll asks a kernel for its kernel_info twice a second until its connection ends, and then tells the close code.
func poll(c *channels, code chan<- int) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case _, open := <-c.messages:
			if !open {
				code <- c.closeCode()
				return
			}
		case <-tick.C:
			// When this fails the connection has ended, and the messages end too.
			_, _ = c.request("shell", "kernel_info_request", map[string]any{})
		}
	}
}
