package main

import (
	"context"
	"runtime"
	"runtime/metrics"
	"time"
)

const (
	collectEvery = time.Second
	quietBytes   = 256 << 10 // allocated in that time at most by a process that has little to do
	busyBytes    = 4 << 20   // so much, when it was allocated, leaves enough behind to be worth a collection
	manyEnded    = 256       // so many goroutines, when they have ended, too
	collections  = 3         // each halves the stacks that have room to spare: from 32 KiB to 4
)

// collector has the memory collected when a busy time is over. The runtime collects when a process has allocated as much
// again as it holds. One that has become idle does not get there, and keeps the garbage of its busiest time, and stacks
// as tall as they grew, until the runtime looks by itself minutes later.
type collector struct {
	seen  uint64 // bytes allocated in the process's life, at the last look
	owed  uint64 // bytes allocated since the last collection
	crowd uint64 // most goroutines since then
}

// Run looks every second until ctx ends, and returns nil then.
func (c *collector) Run(ctx context.Context) error {
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/sched/goroutines:goroutines"}}
	tick := time.NewTicker(collectEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			metrics.Read(samples)
			if c.due(samples[0].Value.Uint64(), samples[1].Value.Uint64()) {
				for range collections {
					runtime.GC()
				}
			}
		}
	}
}

// due reports whether a busy time has ended, given what the process has allocated in its life and its goroutines.
func (c *collector) due(allocated, goroutines uint64) bool {
	grown := allocated - c.seen
	c.seen = allocated
	c.owed += grown
	c.crowd = max(c.crowd, goroutines)
	if grown > quietBytes || c.owed < busyBytes && c.crowd-goroutines < manyEnded {
		return false
	}
	c.owed, c.crowd = 0, goroutines
	return true
}
