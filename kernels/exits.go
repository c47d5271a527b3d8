package kernels

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// runWatch follows the engine's reports until ctx ends. Whenever it begins anew, reconciling finds what was missed.
func (m *Manager) runWatch(ctx context.Context) {
	for ctx.Err() == nil {
		m.reconcileNow()
		err := m.cfg.Observer.Watch(ctx, m.exited)
		if ctx.Err() != nil {
			return
		}
		m.log.Warn("watch on the engine ended; trying again", "err", err)
		pause(ctx, watchRetry)
	}
}

// exited takes note of the end of a process. It is no more than a hint: what is done about it is decided by a look at
// what really runs, so a report that comes late, twice or in another gateway too does no harm.
func (m *Manager) exited(e Exit) {
	m.log.Debug("process ended", "handle", e.Handle, "bridge", e.Bridge, "code", e.Code)
	if !m.turns.notice(kernelTurn(e.Handle)) {
		m.lookAgain(kernelTurn(e.Handle))
	}
}

// lookAgain asks for a look at the kernel of that turn; when too many wait, reconciling will do it.
func (m *Manager) lookAgain(turn string) {
	handle, ok := strings.CutPrefix(turn, kernelTurn(""))
	if !ok {
		return
	}
	select {
	case m.exits <- handle:
	default:
		m.reconcileNow()
	}
}

// runMending looks after one reported kernel after the other until ctx ends; a restart in flight goes on under work.
func (m *Manager) runMending(ctx, work context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case handle := <-m.exits:
			if err := m.lookAfter(work, handle); err != nil {
				m.log.Warn("look after a kernel", "handle", handle, "err", err)
				m.reconcileNow()
			}
		}
	}
}

// lookAfter mends the kernel of that handle, if there still is one.
func (m *Manager) lookAfter(ctx context.Context, handle string) error {
	records, err := m.cfg.Store.Records(ctx, "")
	if err != nil {
		return fmt.Errorf("list records: %w", err)
	}
	for _, r := range records {
		if r.Handle != handle || r.Phase == PhaseEnding {
			continue
		}
		looked, err := m.mend(ctx, r)
		if !looked {
			m.turns.notice(kernelTurn(handle)) // whoever is at it here passes it on
		}
		return err
	}
	return nil
}

// mend looks at a kernel and does what it needs to be what its record says, unless somebody else is at it. It reports
// whether it could look.
func (m *Manager) mend(ctx context.Context, r Record) (looked bool, err error) {
	var kind turnKind
	if r.Phase == PhaseEnding {
		kind = ends
	}
	err = m.exclusively(ctx, r, kind, func(ctx context.Context, c *change) error { return c.mend(ctx) })
	switch {
	case errors.Is(err, errBusy):
		return false, nil
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrDead), errors.Is(err, errEnding), errors.Is(err, errDraining):
		return true, nil // it has come to an end, or others see to it
	}
	return true, err
}

// mend compares the record with what runs, and acts.
func (c *change) mend(ctx context.Context) error {
	if c.rec.Phase == PhaseEnding {
		return c.end(ctx, ending{reason: c.rec.Reason})
	}
	i, found, err := c.look(ctx)
	switch {
	case err != nil:
		return err
	case !found && c.rec.Phase == PhaseStarting:
		return c.end(ctx, ending{reason: "The kernel was not started in time."})
	case !found || !i.Complete:
		return c.end(ctx, ending{reason: "The kernel's container is gone."})
	case !i.KernelRunning:
		return c.mendKernel(ctx, i)
	case c.rec.Phase != PhaseRunning:
		return c.takeOver(ctx)
	case !i.BridgeRunning:
		return c.mendBridge(ctx, i)
	}
	return c.mendBroken(ctx, i)
}

// takeOver brings to its end a start or restart whose gateway has gone.
func (c *change) takeOver(ctx context.Context) error {
	st, ok := c.status(ctx)
	if ok && st.State == Restarting { // requests are held already for a process that may never have been started
		return c.restart(ctx)
	}
	return c.resume(ctx, 0)
}

// mendKernel deals with a kernel process that has ended: for good when a client had asked it to, otherwise it is
// started again.
func (c *change) mendKernel(ctx context.Context, i Instance) error {
	st, _ := c.status(ctx)
	if st.ShutdownRequested {
		return c.end(ctx, ending{reason: "Shut down by a client."})
	}
	if err := c.revive(ctx, i); err != nil {
		return err
	}
	if !i.BridgeRunning {
		st.Generation = 0
	}
	return c.resume(ctx, st.Generation)
}

// mendBridge deals with a bridge that has ended beside a living kernel: another one takes its place, while the kernel
// goes on with what it does.
func (c *change) mendBridge(ctx context.Context, i Instance) error {
	if err := c.revive(ctx, i); err != nil {
		return err
	}
	c.rec.Started = time.Now().UTC()
	return c.save(ctx)
}

// revive counts a death and starts again what has ended.
func (c *change) revive(ctx context.Context, i Instance) error {
	err := c.count(ctx, i)
	if err == nil {
		err = c.m.cfg.Launcher.Revive(ctx, c.rec.Handle)
	}
	if err != nil {
		return c.settled(ctx, fmt.Errorf("revive: %w", err))
	}
	return nil
}

// resume waits for a started process to answer and records the outcome.
func (c *change) resume(ctx context.Context, after int) error {
	limited, cancel := context.WithTimeoutCause(ctx, c.limit, errNoAnswer)
	defer cancel()
	return c.settled(ctx, c.settle(limited, after))
}
