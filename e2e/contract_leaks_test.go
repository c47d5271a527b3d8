//go:build e2e

package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	// What may come and go in any process: connections to Redis and Podman, the runtime's own, what is not collected yet.
	spareDescriptors = 8
	spareMemory      = 12 << 20
	warmCycles       = 300 // before the first look; a bridge remembers so many sessions
	settleTime       = 30 * time.Second
)

// usage is what a process holds.
type usage struct {
	descriptors int
	memory      int // bytes of its own
}

// noLeaks has clients come and go, and a kernel restarted, and compares what gateway and bridge hold before and after.
// E2E_CONNECTS and E2E_RESTARTS set the counts.
func noLeaks(t *testing.T, c *contract) {
	id := c.alice.newKernel(t)
	cycle := func(n int) {
		for i := range n {
			offered := [][]string{nil, {subprotocolV1}}[i%2]
			p := c.alice.peer(t, id, randomHex(t, 16), offered...)
			p.finish(p.write(request{channel: "control", kind: "kernel_info_request"}), cellTime)
			if i%3 == 0 {
				p.conn.NetConn().Close() // without a goodbye
			}
			p.conn.Close()
		}
	}
	t.Run("clients that come and go", func(t *testing.T) {
		cycle(warmCycles)
		c.constant(t, id, func() { cycle(count(t, "E2E_CONNECTS", 1000)) })
	})
	t.Run("restarts", func(t *testing.T) {
		again := func() { c.alice.expect(t, http.StatusOK, "POST", "/api/kernels/"+id+"/restart", "") }
		again()
		c.constant(t, id, func() {
			for range count(t, "E2E_RESTARTS", 5) {
				again()
			}
		})
		c.alice.peer(t, id, randomHex(t, 16)).run("x = 1")
	})
}

// constant fails the test unless gateway and bridge hold no more after do than before it.
func (c *contract) constant(t *testing.T, id string, do func()) {
	t.Helper()
	pids := map[string]int{"gateway": c.g.process.Process.Pid, "bridge": c.g.processOf(t, id, "bridge", "cellblock")}
	before := map[string]usage{}
	for name, pid := range pids {
		before[name] = usageOf(t, pid)
	}
	goroutines := c.g.goroutines(t)
	began := time.Now()
	do()
	took := time.Since(began)
	eventually(t, settleTime, func() string {
		var more []string
		for name, pid := range pids {
			now, was := usageOf(t, pid), before[name]
			if now.descriptors > was.descriptors+spareDescriptors || now.memory > was.memory+spareMemory {
				more = append(more, fmt.Sprintf("the %s has %+v and had %+v", name, now, was))
			}
		}
		if now := c.g.goroutines(t); now > goroutines+spareGoroutines {
			more = append(more, fmt.Sprintf("%d goroutines instead of %d", now, goroutines))
		}
		return strings.Join(more, "; ")
	})
	for name, pid := range pids {
		t.Logf("%s: %+v, before %+v", name, usageOf(t, pid), before[name])
	}
	t.Logf("goroutines of the gateway: %d, before %d; it took %v", c.g.goroutines(t), goroutines, took.Round(time.Millisecond))
}

func usageOf(t *testing.T, pid int) usage {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kb int
		if _, err := fmt.Sscanf(line, "RssAnon: %d kB", &kb); err == nil {
			return usage{len(entries), kb << 10}
		}
	}
	t.Fatalf("no RssAnon in the status of process %d", pid)
	return usage{}
}

// bridgeMemory is how many bytes of its own a kernel's bridge holds.
func (g *gateway) bridgeMemory(t *testing.T, id string) int {
	t.Helper()
	return usageOf(t, g.processOf(t, id, "bridge", "cellblock")).memory
}

// count is a number from the environment.
func count(t *testing.T, name string, otherwise int) int {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		return otherwise
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is not a count", name, value)
	}
	return n
}
