package kernels

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/sync/errgroup"
)

// reconcileNow asks for reconciling at once.
func (m *Manager) reconcileNow() {
	select {
	case m.kick <- struct{}{}:
	default:
	}
}

// runReconciling compares records with the engine at every interval and whenever it is asked to, until ctx ends. What
// was in somebody else's hands, perhaps of a gateway that was killed, is looked at again soon.
func (m *Manager) runReconciling(ctx, work context.Context) {
	wait := reconcileSoon
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-m.kick:
			timer.Stop()
			wait = reconcileSoon // once more: ends may have been missed just before the watch began
		case <-timer.C:
			wait = min(2*wait, reconcileInterval)
		}
		whole, err := m.reconcile(work)
		if err != nil {
			m.log.Warn("reconcile", "err", err)
		}
		if err != nil || !whole {
			wait = min(wait, reconcileInterval/2)
		}
	}
}

// reconcile compares all records with all that exists and mends what differs. It reports whether it could look at
// everything. One gateway does it at a time.
func (m *Manager) reconcile(ctx context.Context) (whole bool, err error) {
	whole = true
	err = m.alone(ctx, "reconcile", false, func(ctx context.Context, _ *turn) error {
		// In this order: an instance has a record before it exists, so one without was really left alone.
		instances, err := m.cfg.Observer.List(ctx)
		if err != nil {
			return fmt.Errorf("list instances: %w", err)
		}
		records, err := m.cfg.Store.Records(ctx, "")
		if err != nil {
			return fmt.Errorf("list records: %w", err)
		}
		m.known.keep(records)
		whole, err = m.mendAll(ctx, compare(instances, records, time.Now().Add(-m.cfg.StartTimeout)))
		return err
	})
	if errors.Is(err, errBusy) {
		return false, nil
	}
	return whole, err
}

// differences is what records and engine do not agree on.
type differences struct {
	mend    []Record // records of kernels that need a look
	orphans []Record // instances without a record, as their labels tell
}

// compare finds what needs a look. Records of starts younger than notBefore may have no instance yet.
func compare(instances []Instance, records []Record, notBefore time.Time) differences {
	var d differences
	byHandle := make(map[string]Instance, len(instances))
	for _, i := range instances {
		byHandle[i.Record.Handle] = i
	}
	for _, r := range records {
		i, found := byHandle[r.Handle]
		delete(byHandle, r.Handle)
		switch {
		case !found && r.Phase == PhaseStarting && r.Created.After(notBefore):
		case found && r.Phase == PhaseRunning && i.Complete && i.KernelRunning && i.BridgeRunning:
		default:
			d.mend = append(d.mend, r)
		}
	}
	for _, i := range byHandle {
		d.orphans = append(d.orphans, i.Record)
	}
	return d
}

// mendAll looks after all differences, a few at a time.
func (m *Manager) mendAll(ctx context.Context, d differences) (whole bool, err error) {
	outcomes := make([]outcome, len(d.mend)+len(d.orphans))
	var g errgroup.Group
	g.SetLimit(maxAtOnce)
	for i, r := range d.mend {
		g.Go(func() error {
			looked, err := m.mend(ctx, r)
			outcomes[i] = outcome{looked, err}
			return nil
		})
	}
	for i, r := range d.orphans {
		g.Go(func() error {
			looked, err := m.adopt(ctx, r)
			outcomes[len(d.mend)+i] = outcome{looked, err}
			return nil
		})
	}
	_ = g.Wait() // each outcome has its own error
	whole = true
	var errs []error
	for _, o := range outcomes {
		whole = whole && o.looked
		errs = append(errs, o.err)
	}
	return whole, errors.Join(errs...)
}

// outcome is what became of one difference.
type outcome struct {
	looked bool
	err    error
}

// adopt makes a record for an instance that has none, as after a loss of the store, or removes the instance when it
// is only half there or its id is taken. Adopting passes no quota: the kernel runs already and counts from now on.
func (m *Manager) adopt(ctx context.Context, label Record) (looked bool, err error) {
	if !ValidHandle(label.Handle) {
		return true, fmt.Errorf("an instance of %q has the handle %q", label.Owner, label.Handle)
	}
	err = m.alone(ctx, kernelTurn(label.Handle), false, func(ctx context.Context, t *turn) error {
		c := &change{m: m, log: m.kernelLog(label), rec: label, exited: t.exited}
		i, found, err := c.look(ctx) // again: it may have been on its way out
		switch {
		case err != nil:
			return err
		case !found:
			return nil
		case !i.Complete || !label.Owner.Valid() || !ValidID(label.ID):
			c.log.Warn("removing the remains of a kernel")
			return m.cfg.Launcher.Remove(ctx, label.Handle)
		}
		return c.adopt(ctx)
	})
	if errors.Is(err, errBusy) {
		return false, nil
	}
	if err == nil {
		return m.mend(ctx, label)
	}
	return true, err
}

// adopt records the kernel as running.
func (c *change) adopt(ctx context.Context) error {
	stored, err := c.m.cfg.Store.Record(ctx, c.rec.Owner, c.rec.ID)
	if err == nil && stored.Handle == c.rec.Handle {
		return nil
	}
	if errors.Is(err, ErrNotFound) {
		c.rec.Phase, c.rec.Runs, c.rec.Started = PhaseRunning, 1, time.Now().UTC()
		err = c.m.cfg.Store.Reserve(ctx, c.rec, Quota{MaxKernels: math.MaxInt32})
		if err == nil {
			c.log.Info("kernel adopted")
			return nil
		}
	}
	if err == nil || errors.Is(err, ErrExists) {
		c.log.Warn("removing a kernel whose id belongs to another one now")
		return c.m.cfg.Launcher.Remove(ctx, c.rec.Handle)
	}
	return fmt.Errorf("adopt: %w", err)
}
