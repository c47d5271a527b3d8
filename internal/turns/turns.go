// Package turns lets one at a time do something with each of many things, by name.
package turns

import (
	"context"
	"sync"
)

// Turns remembers no more names than are in use. The zero value is ready, and safe for concurrent use.
type Turns struct {
	mu    sync.Mutex
	taken map[string]*turn
}

type turn struct {
	token chan struct{} // full while somebody has the turn
	users int           // who has it or waits for it; guarded by Turns.mu
}

// Try gives the caller the turn, which give ends; nil when somebody else has it.
func (t *Turns) Try(name string) (give func()) {
	one := t.use(name)
	select {
	case one.token <- struct{}{}:
		return func() { t.give(name, one) }
	default:
		t.drop(name, one)
		return nil
	}
}

// Take waits until it is the caller's turn, which give ends, or until ctx ends: then give is nil, and err the cause.
func (t *Turns) Take(ctx context.Context, name string) (give func(), err error) {
	one := t.use(name)
	select {
	case one.token <- struct{}{}:
		return func() { t.give(name, one) }, nil
	case <-ctx.Done():
		t.drop(name, one)
		return nil, context.Cause(ctx)
	}
}

func (t *Turns) give(name string, one *turn) {
	<-one.token
	t.drop(name, one)
}

// use counts one more user of a turn and makes it if there was none.
func (t *Turns) use(name string) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	one := t.taken[name]
	if one == nil {
		one = &turn{token: make(chan struct{}, 1)}
		if t.taken == nil {
			t.taken = make(map[string]*turn)
		}
		t.taken[name] = one
	}
	one.users++
	return one
}

// drop counts one user less and forgets a turn that nobody uses.
func (t *Turns) drop(name string, one *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if one.users--; one.users == 0 {
		delete(t.taken, name)
	}
}
