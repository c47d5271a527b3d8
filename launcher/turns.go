package launcher

import (
	"context"
	"sync"
)

// turns lets one call at a time change a kernel. An engine relies on that, and who asks need not be believed.
type turns struct {
	mu sync.Mutex
	of map[string]*turn
}

type turn struct {
	free  chan struct{} // holds one token while nobody has the turn
	users int           // who has it or waits for it
}

// take waits for a kernel's turn; give ends it.
func (t *turns) take(ctx context.Context, handle string) (give func(), err error) {
	t.mu.Lock()
	one := t.of[handle]
	if one == nil {
		one = &turn{free: make(chan struct{}, 1)}
		one.free <- struct{}{}
		t.of[handle] = one
	}
	one.users++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if one.users--; one.users == 0 {
			delete(t.of, handle)
		}
	}
	select {
	case <-one.free:
		return func() { one.free <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
