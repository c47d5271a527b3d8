package kernels

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// runCulling ends kernels for want of use, one look at every interval until ctx ends.
func (m *Manager) runCulling(ctx, work context.Context) {
	for pause(ctx, m.cfg.Cull.Interval) {
		if err := m.cull(work); err != nil && !errors.Is(err, errBusy) {
			m.log.Warn("cull", "err", err)
		}
	}
}

// cull ends all kernels that are due. One gateway does it at a time.
func (m *Manager) cull(ctx context.Context) error {
	return m.alone(ctx, "cull", false, func(ctx context.Context, _ *turn) error {
		specs, err := m.cfg.Specs.Specs(ctx)
		if err != nil {
			return fmt.Errorf("list kernelspecs: %w", err)
		}
		records, err := m.cfg.Store.Records(ctx, "")
		if err != nil {
			return fmt.Errorf("list records: %w", err)
		}
		now := time.Now()
		var g errgroup.Group
		g.SetLimit(maxAtOnce)
		for i, st := range m.ask(ctx, records) {
			r := records[i]
			if st == nil || m.cfg.Cull.verdict(merge(r, st, now), specs[r.Spec], now) == "" {
				continue
			}
			g.Go(func() error {
				if err := m.cullOne(ctx, r, specs[r.Spec]); err != nil {
					m.kernelLog(r).Warn("cull", "err", err)
				}
				return nil
			})
		}
		return g.Wait()
	})
}

// cullOne ends one kernel if it is still due: a client may have come back since.
func (m *Manager) cullOne(ctx context.Context, r Record, spec Spec) error {
	err := m.exclusively(ctx, r, 0, func(ctx context.Context, c *change) error {
		st, ok := c.status(ctx)
		if !ok {
			return nil
		}
		now := time.Now()
		reason := m.cfg.Cull.verdict(merge(c.rec, &st, now), spec, now)
		if reason == "" {
			return nil
		}
		m.cfg.Meter.Culled()
		return c.end(ctx, ending{reason: reason, ask: st.State != Dead})
	})
	if errors.Is(err, errBusy) || errors.Is(err, ErrNotFound) || errors.Is(err, errEnding) {
		return nil
	}
	return err
}

// verdict returns the sentence that tells a kernel's clients why it is ended, or "" when it may live on. k must come
// from its bridge's own answer: nothing is culled on hearsay.
func (c Cull) verdict(k Kernel, spec Spec, now time.Time) string {
	timeout := c.IdleTimeout
	if spec.CullIdleTimeout > 0 {
		timeout = spec.CullIdleTimeout
	}
	idle := now.Sub(k.LastActivity)
	switch {
	case k.Phase != PhaseRunning:
		return ""
	case k.State == Dead:
		return "This kernel was dead and was removed. Run a cell to start a new one."
	case timeout <= 0 || idle <= timeout:
		return ""
	case k.State == Busy && !c.Busy:
		return ""
	case k.Connections > 0 && !c.Connected:
		return ""
	case k.State == Busy:
		return fmt.Sprintf("This kernel showed no activity for %s and was shut down to free its memory. "+
			"Run a cell to start a new one.", spoken(idle))
	}
	return fmt.Sprintf("This kernel was idle for %s and was shut down to free its memory. "+
		"Run a cell to start a new one.", spoken(idle))
}

// spoken writes a duration for people: "42 s", "5 min", "1 h 0 min".
func spoken(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
}
