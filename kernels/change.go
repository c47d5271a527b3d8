package kernels

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// endPoll is the time between two looks whether another gateway ends the kernel.
const endPoll = time.Second

// change is one change of one kernel, made while nobody else makes another.
type change struct {
	m      *Manager
	log    *slog.Logger
	rec    Record          // as stored last
	exited <-chan struct{} // the engine saw a process of this kernel end
	limit  time.Duration   // for a process that starts, to its first answer
}

// turnKind says how one comes to a turn and what may break it off.
type turnKind int

const (
	waits turnKind = 1 << iota // waits for its turn; without it the answer is errBusy
	ends                       // is there to end the kernel; without it, an end by somebody else breaks it off
)

// kernelTurn is the name of the turn and lease for changes of one kernel.
func kernelTurn(handle string) string { return "kernel." + handle }

// exclusively runs fn with the stored record of r's kernel while nobody else changes that kernel. Errors: ErrNotFound
// when the record is gone, errBusy, and, as the cause of fn's context as well, errEnding, errLeaseLost, errDraining.
func (m *Manager) exclusively(ctx context.Context, r Record, kind turnKind,
	fn func(context.Context, *change) error,
) error {
	return m.alone(ctx, kernelTurn(r.Handle), kind&waits != 0, func(ctx context.Context, t *turn) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		if kind&ends == 0 {
			m.turns.breakable(t, cancel) // before the look at the record, so that no end is missed
		}
		stored, err := m.cfg.Store.Record(ctx, r.Owner, r.ID)
		switch {
		case err != nil:
			return fmt.Errorf("look up kernel: %w", err)
		case stored.Handle != r.Handle:
			return ErrNotFound
		case kind&ends != 0:
		case stored.Phase == PhaseEnding:
			return errEnding
		default:
			var watcher sync.WaitGroup
			watcher.Go(func() { m.watchEnd(ctx, r, cancel) })
			defer watcher.Wait()
			defer cancel(nil)
		}
		return fn(ctx, &change{m: m, log: m.kernelLog(r), rec: stored, exited: t.exited, limit: m.cfg.StartTimeout})
	})
}

// watchEnd breaks a change off when the record says that the kernel is being ended by another gateway.
func (m *Manager) watchEnd(ctx context.Context, r Record, breakOff context.CancelCauseFunc) {
	for pause(ctx, endPoll) {
		stored, err := m.cfg.Store.Record(ctx, r.Owner, r.ID)
		if errors.Is(err, ErrNotFound) || err == nil && (stored.Handle != r.Handle || stored.Phase == PhaseEnding) {
			breakOff(errEnding)
			return
		}
	}
}

// bridge is the control side of the kernel's bridge.
func (c *change) bridge() Bridge { return c.m.cfg.Bridge(c.rec.Handle) }

// save stores the record. When it was released or is being ended meanwhile the change is over: errEnding.
func (c *change) save(ctx context.Context) error {
	err := c.m.cfg.Store.Update(ctx, c.rec)
	if errors.Is(err, ErrNotFound) {
		return errEnding
	}
	if err != nil {
		return fmt.Errorf("update record: %w", err)
	}
	return nil
}

// look asks the engine what there is of the kernel; false when there is nothing.
func (c *change) look(ctx context.Context) (Instance, bool, error) {
	instances, err := c.m.cfg.Observer.List(ctx)
	if err != nil {
		return Instance{}, false, fmt.Errorf("list instances: %w", err)
	}
	for _, i := range instances {
		if i.Record.Handle == c.rec.Handle {
			return i, true, nil
		}
	}
	return Instance{}, false, nil
}

// within runs a step that may fail or take too long without harm.
func (c *change) within(ctx context.Context, limit time.Duration, step string, fn func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := fn(ctx); err != nil {
		c.log.Debug(step, "err", err)
	}
}

// status asks the kernel's bridge; false when it does not answer.
func (c *change) status(ctx context.Context) (BridgeStatus, bool) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	st, err := c.bridge().Status(ctx)
	return st, err == nil
}
