package kernels

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"cellblock.io/cellblock/internal/turns"
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

// turnTable serialises changes by name within this process; between gateways, leases of the same names do.
type turnTable struct {
	queue turns.Turns

	mu   sync.Mutex
	held map[string]*turn // of those who have theirs
}

// turn is the right to change one thing.
type turn struct {
	give func()
	// exited has room for one notice that the engine saw a process of the kernel end.
	exited chan struct{}
	cancel context.CancelCauseFunc // breaks off what the holder does, or nil; guarded by turnTable.mu
}

// enter takes the turn of that name; errBusy when it is taken and wait is false.
func (ts *turnTable) enter(ctx context.Context, name string, wait bool) (*turn, error) {
	give, err := ts.queue.Try(name), errBusy
	if give == nil && wait {
		if give, err = ts.queue.Take(ctx, name); err != nil {
			err = fmt.Errorf("wait for another change: %w", err)
		}
	}
	if give == nil {
		return nil, err
	}
	t := &turn{give: give, exited: make(chan struct{}, 1)}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.held == nil {
		ts.held = make(map[string]*turn)
	}
	ts.held[name] = t
	return t, nil
}

// leave gives the turn back. It reports whether a notice came that the holder has not looked at.
func (ts *turnTable) leave(name string, t *turn) (unseen bool) {
	ts.mu.Lock()
	delete(ts.held, name)
	select {
	case <-t.exited:
		unseen = true
	default:
	}
	ts.mu.Unlock()
	t.give()
	return unseen
}

// breakable lets breakOff end what the holder does.
func (ts *turnTable) breakable(t *turn, cancel context.CancelCauseFunc) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t.cancel = cancel
}

// breakOff ends what the holder of that turn does, if it allows that.
func (ts *turnTable) breakOff(name string, cause error) {
	ts.mu.Lock()
	var cancel context.CancelCauseFunc
	if t := ts.held[name]; t != nil {
		cancel = t.cancel
	}
	ts.mu.Unlock()
	if cancel != nil {
		cancel(cause)
	}
}

// notice tells the holder of that turn, if there is one, that a process ended.
func (ts *turnTable) notice(name string) (told bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.held[name]
	if t == nil {
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
