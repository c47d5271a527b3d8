package kernels

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// leaseTime is how long a gateway that was killed keeps others from what it was changing.
const (
	leaseTime  = 10 * time.Second
	leaseRenew = leaseTime / 3
	leaseRetry = 200 * time.Millisecond
	leaseGive  = 2 * time.Second
)

// Why a change was broken off. Nothing is cleaned up then: who comes next finds things as they are.
var (
	errEnding    = errors.New("the kernel is being ended")
	errLeaseLost = errors.New("another gateway has taken over")
	errDraining  = errors.New("the gateway is shutting down")
)

// errBusy is the answer to one who does not wait for its turn.
var errBusy = errors.New("being changed by somebody else")

// turns serialises changes by name within this process; between gateways, leases of the same names do.
type turns struct {
	mu    sync.Mutex
	taken map[string]*turn
}

// turn is the right to change one thing.
type turn struct {
	token chan struct{} // capacity 1, full while the turn is taken
	// exited has room for one notice that the engine saw a process of the kernel end.
	exited chan struct{}

	users  int                     // who has it or waits for it; guarded by turns.mu
	held   bool                    // somebody has it; guarded by turns.mu
	cancel context.CancelCauseFunc // breaks off what the holder does, or nil; guarded by turns.mu
}

// enter takes the turn of that name; errBusy when it is taken and wait is false.
func (ts *turns) enter(ctx context.Context, name string, wait bool) (*turn, error) {
	t := ts.use(name)
	select {
	case t.token <- struct{}{}:
	default:
		if !wait {
			ts.drop(name, t)
			return nil, errBusy
		}
		select {
		case t.token <- struct{}{}:
		case <-ctx.Done():
			ts.drop(name, t)
			return nil, fmt.Errorf("wait for another change: %w", context.Cause(ctx))
		}
	}
	ts.mu.Lock()
	t.held = true
	ts.mu.Unlock()
	return t, nil
}

// leave gives the turn back. It reports whether a notice came that the holder has not looked at.
func (ts *turns) leave(name string, t *turn) (unseen bool) {
	ts.mu.Lock()
	t.held, t.cancel = false, nil
	select {
	case <-t.exited:
		unseen = true
	default:
	}
	ts.mu.Unlock()
	<-t.token
	ts.drop(name, t)
	return unseen
}

// use counts one more user of a turn and makes it if there was none.
func (ts *turns) use(name string) *turn {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.taken[name]
	if t == nil {
		t = &turn{token: make(chan struct{}, 1), exited: make(chan struct{}, 1)}
		if ts.taken == nil {
			ts.taken = make(map[string]*turn)
		}
		ts.taken[name] = t
	}
	t.users++
	return t
}

// drop counts one user less and forgets a turn that nobody uses.
func (ts *turns) drop(name string, t *turn) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t.users--; t.users == 0 {
		delete(ts.taken, name)
	}
}

// breakable lets breakOff end what the holder does.
func (ts *turns) breakable(t *turn, cancel context.CancelCauseFunc) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t.cancel = cancel
}

// breakOff ends what the holder of that turn does, if it allows that.
func (ts *turns) breakOff(name string, cause error) {
	ts.mu.Lock()
	var cancel context.CancelCauseFunc
	if t := ts.taken[name]; t != nil {
		cancel = t.cancel
	}
	ts.mu.Unlock()
	if cancel != nil {
		cancel(cause)
	}
}

// notice tells the holder of that turn, if there is one, that a process ended.
func (ts *turns) notice(name string) (told bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.taken[name]
	if t == nil || !t.held {
		return false
	}
	select {
	case t.exited <- struct{}{}:
	default: // one notice is enough: the holder looks for itself
	}
	return true
}

// alone runs fn while nobody else, in this gateway or another, runs under the same name. The context that fn gets
// ends when the lease is lost. Without wait the answer is errBusy when somebody else does.
func (m *Manager) alone(ctx context.Context, name string, wait bool, fn func(context.Context, *turn) error) error {
	t, err := m.turns.enter(ctx, name, wait)
	if err != nil {
		return err
	}
	defer func() {
		if m.turns.leave(name, t) {
			m.lookAgain(name)
		}
	}()
	if err := m.lease(ctx, name, wait); err != nil {
		return err
	}
	defer m.giveLease(ctx, name)

	ctx, cancel := context.WithCancelCause(ctx)
	var keeper sync.WaitGroup
	keeper.Go(func() { m.keepLease(ctx, name, cancel) })
	defer keeper.Wait()
	defer cancel(nil)
	return fn(ctx, t)
}

// lease takes the lease of that name.
func (m *Manager) lease(ctx context.Context, name string, wait bool) error {
	for {
		ok, err := m.cfg.Leases.Acquire(ctx, name, m.holder, leaseTime)
		switch {
		case err != nil:
			return fmt.Errorf("acquire lease %s: %w", name, err)
		case ok:
			return nil
		case !wait:
			return errBusy
		}
		if !pause(ctx, leaseRetry) {
			return fmt.Errorf("wait for lease %s: %w", name, context.Cause(ctx))
		}
	}
}

// keepLease renews the lease until ctx ends. A store that does not answer is not a lost lease yet.
func (m *Manager) keepLease(ctx context.Context, name string, lost context.CancelCauseFunc) {
	for pause(ctx, leaseRenew) {
		if ok, err := m.cfg.Leases.Acquire(ctx, name, m.holder, leaseTime); err == nil && !ok {
			lost(errLeaseLost)
			return
		}
	}
}

// giveLease returns a lease; one that cannot be returned ends by itself.
func (m *Manager) giveLease(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseGive)
	defer cancel()
	if err := m.cfg.Leases.Give(ctx, name, m.holder); err != nil {
		m.log.Warn("give lease", "name", name, "err", err)
	}
}

// pause waits for d and reports whether ctx has not ended before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
