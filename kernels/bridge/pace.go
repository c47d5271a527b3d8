package bridge

import (
	"sync/atomic"
	"time"
)

// Writes that go out at once in a window of time, before the rest of the window is waited for.
const (
	paceWindow = 2 * time.Millisecond
	paceWrites = 8
)

// pace lets few messages leave at once and many together: each write wakes the gateway and the client, which in a
// stream of thousands a second leaves the kernel too little of the processor, and its outputs get lost. What answers a
// request never waits.
type pace struct {
	asked  atomic.Bool // the client has asked for something since the last write
	began  time.Time   // what follows is the writer's
	writes int
}

// wait is called after each write.
func (p *pace) wait() {
	now := time.Now()
	if p.asked.Swap(false) || now.Sub(p.began) >= paceWindow {
		p.began, p.writes = now, 0
	}
	if p.writes++; p.writes > paceWrites {
		time.Sleep(p.began.Add(paceWindow).Sub(now))
	}
}
