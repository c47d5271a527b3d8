package kernels

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// soonest is the shortest time between two looks.
const soonest = 100 * time.Millisecond

// runCulling ends kernels for want of use, one look at every interval until ctx ends, and one more when the time of a
// kernel that was warned is up.
func (m *Manager) runCulling(ctx, work context.Context) {
	for next := m.cfg.Cull.Interval; pause(ctx, next); {
		due, err := m.cull(work)
		if err != nil && !errors.Is(err, errBusy) {
			m.log.Warn("cull", "err", err)
		}
		next = m.cfg.Cull.Interval
		if !due.IsZero() {
			next = min(next, max(soonest, time.Until(due)))
		}
	}
}

// cull ends all kernels that are due and warns the clients of those that soon will be. It returns when the first of
// them is; zero when there is none. One gateway does it at a time.
func (m *Manager) cull(ctx context.Context) (due time.Time, err error) {
	err = m.alone(ctx, "cull", false, func(ctx context.Context, _ *turn) error {
		specs, err := m.cfg.Specs.Specs(ctx)
		if err != nil {
			return fmt.Errorf("list kernelspecs: %w", err)
		}
		records, err := m.cfg.Store.Records(ctx, "")
		if err != nil {
			return fmt.Errorf("list records: %w", err)
		}
		now := time.Now()
		verdicts := make([]verdict, len(records))
		var g errgroup.Group
		g.SetLimit(maxAtOnce)
		for i, st := range m.ask(ctx, records) {
			r := records[i]
			if st == nil || m.cfg.Cull.judge(suspect{merge(r, st, now), st.Warned, specs[r.Spec]}, now) == (verdict{}) {
				continue
			}
			g.Go(func() (err error) {
				if verdicts[i], err = m.cullOne(ctx, r, specs[r.Spec]); err != nil {
					m.kernelLog(r).Warn("cull", "err", err)
				}
				return nil
			})
		}
		err = g.Wait()
		for _, v := range verdicts {
			if !v.due.IsZero() && (due.IsZero() || v.due.Before(due)) {
				due = v.due
			}
		}
		return err
	})
	return due, err
}

// cullOne ends or warns one kernel if it still has to: a client may have come back since.
func (m *Manager) cullOne(ctx context.Context, r Record, spec Spec) (v verdict, err error) {
	err = m.exclusively(ctx, r, 0, func(ctx context.Context, c *change) error {
		st, ok := c.status(ctx)
		if !ok {
			return nil
		}
		now := time.Now()
		who := suspect{merge(c.rec, &st, now), st.Warned, spec}
		v = m.cfg.Cull.judge(who, now)
		if v.news == Warned {
			err := c.bridge().Tell(ctx, Warned, v.sentence)
			if !errors.Is(err, ErrNotFound) {
				return err
			}
			silent := m.cfg.Cull // an older bridge, which cannot warn
			silent.Warning = 0
			v = silent.judge(who, now)
		}
		if v.news != Over {
			return nil
		}
		m.cfg.Meter.Culled()
		return c.end(ctx, ending{reason: v.sentence, ask: st.State != Dead})
	})
	if errors.Is(err, errBusy) || errors.Is(err, ErrNotFound) || errors.Is(err, errEnding) {
		err = nil
	}
	return v, err
}

// suspect is a kernel that may have to be ended. What is known of it must come from its bridge's own answer: nothing
// is culled on hearsay.
type suspect struct {
	Kernel
	warned time.Time // zero: not since it was used last
	spec   Spec
}

// verdict says what is to be done with a kernel: nothing when it is zero.
type verdict struct {
	news     News // Warned or Over; empty for one that was warned and has some time left
	sentence string
	due      time.Time // of its end, if it was or is to be warned
}

// judge decides over a kernel. Clients that are connected are warned first; an end never comes sooner after a warning
// than the warning said.
func (c Cull) judge(k suspect, now time.Time) verdict {
	timeout := c.IdleTimeout
	if k.spec.CullIdleTimeout > 0 {
		timeout = k.spec.CullIdleTimeout
	}
	switch {
	case k.Phase != PhaseRunning:
		return verdict{}
	case k.State == Dead:
		return verdict{news: Over, sentence: "This kernel was dead and was removed. Run a cell to start a new one."}
	case timeout <= 0, k.State == Busy && !c.Busy, k.Connections > 0 && !c.Connected:
		return verdict{}
	}
	ahead := min(c.Warning, timeout/10)
	if k.Connections == 0 {
		ahead = 0
	}
	what := "was idle"
	if k.State == Busy {
		what = "showed no activity"
	}
	what = fmt.Sprintf("This kernel %s for %s and ", what, spoken(now.Sub(k.LastActivity)))
	due := k.LastActivity.Add(timeout)
	switch {
	case !now.After(due.Add(-ahead)):
		return verdict{}
	case ahead > 0 && k.warned.IsZero():
		if earliest := now.Add(ahead); due.Before(earliest) {
			due = earliest
		}
		return verdict{Warned, what + fmt.Sprintf("will be shut down in %s to free its memory. Run a cell to keep it.", spoken(due.Sub(now))), due}
	}
	if earliest := k.warned.Add(ahead); ahead > 0 && due.Before(earliest) {
		due = earliest
	}
	if !now.After(due) {
		return verdict{due: due}
	}
	return verdict{news: Over, sentence: what + "was shut down to free its memory. Run a cell to start a new one."}
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
