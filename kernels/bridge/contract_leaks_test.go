package bridge_test

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"

	"cellblock.io/cellblock/kernels/wire"
)

// holds is what this process holds, garbage not counted.
func holds(t *testing.T) (descriptors, goroutines, bytes int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return len(entries), runtime.NumGoroutine(), int(m.HeapAlloc)
}

const spareBytes = 4 << 20

// leaksNothing compares what is held before and after do; warm makes what is kept on purpose.
func leaksNothing(r *rig, warm, do func()) {
	r.Helper()
	warm()
	r.kernel.Raw("hb") // the heartbeat comes a little later than the rest
	fds, goroutines, bytes := holds(r.T)
	do()
	var now [3]int
	defer func() {
		r.Logf("before: %d descriptors, %d goroutines, %d bytes; after: %d", fds, goroutines, bytes, now)
	}()
	r.until("as little is held as before", func() bool {
		now[0], now[1], now[2] = holds(r.T)
		return now[0] <= fds && now[1] <= goroutines+1 && now[2] <= bytes+spareBytes
	})
}

func connectionsLeakNothing(t *testing.T) {
	r := startedRig(t)
	cycle := func(n int) func() {
		return func() {
			t.Run(fmt.Sprint(n), func(t *testing.T) { // at its end the test itself forgets them
				r := &rig{T: t, kernel: r.kernel, socket: r.socket, api: r.api}
				for i := range n {
					c := r.connect(fmt.Sprintf("%d-%d", n, i))
					c.send(wire.Control, "kernel_info_request", map[string]string{})
					c.expect("iopub.status idle")
					c.raw.Close()
					r.until("gone", func() bool { return r.status().Connections == 0 })
				}
			})
		}
	}
	leaksNothing(r, cycle(300), cycle(1000))
}

// restartsLeakNothing restarts a kernel as often as BRIDGE_RESTARTS says.
func restartsLeakNothing(t *testing.T) {
	r := restartable(t)
	generation := 1
	again := func(n int) func() {
		return func() {
			for range n {
				r.restart(generation)
				generation++
			}
		}
	}
	c := r.connect("a")
	go func() {
		for {
			if _, _, err := c.ws.ReadMessage(); err != nil {
				return
			}
		}
	}()
	n := 20 // links that end soon are dialled again only after a pause
	if text := os.Getenv("BRIDGE_RESTARTS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	leaksNothing(r, again(5), again(n))
}
