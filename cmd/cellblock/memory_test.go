package main

import "testing"

// The memory is collected once for each busy time, when it has ended.
func TestTheMemoryIsCollectedWhenABusyTimeIsOver(t *testing.T) {
	var c collector
	allocated := uint64(0)
	for i, step := range []struct {
		grown, goroutines uint64
		due               bool
	}{
		{0, 30, false},
		{busyBytes - 1, 30, false}, // busy
		{0, 30, false},             // over, but not worth it
		{1, 30, true},              // with this it is
		{quietBytes, 30, false},    // it was done
		{50 * busyBytes, 1000, false},
		{quietBytes + 1, 1000, false}, // still busy
		{quietBytes, 1000, true},
		{0, 1000, false},
		{0, 1001 - manyEnded, false},
		{quietBytes + 1, 1000 - manyEnded, false}, // busy with their end
		{0, 1000 - manyEnded, true},
		{0, 1000 - manyEnded, false},
	} {
		allocated += step.grown
		if got := c.due(allocated, step.goroutines); got != step.due {
			t.Errorf("step %d: due is %v after %d bytes more", i, got, step.grown)
		}
	}
}
