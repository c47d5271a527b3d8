package kernels

import (
	"context"
	"errors"
	"fmt"
)

// stoppedByOwner is what clients of a stopped kernel read.
const stoppedByOwner = "Shut down by its owner."

// ending says how a kernel ends.
type ending struct {
	reason string // one sentence for its clients
	ask    bool   // ask the kernel first, so that its exit handlers run
}

// Stop ends a kernel for good at its owner's wish; see StopFor.
func (m *Manager) Stop(ctx context.Context, owner Owner, id string) error {
	return m.StopFor(ctx, owner, id, stoppedByOwner)
}

// StopFor ends a kernel for good, for a reason that its clients will read: it is asked to shut down and given a moment for that, its clients are told, and all
// that was made for it is removed. It wins over a start or restart in flight. From its begin on the kernel does not
// exist for its owner any more, so of two calls one gets ErrNotFound. The end of ctx does not stop it half-way.
func (m *Manager) StopFor(ctx context.Context, owner Owner, id, reason string) error {
	r, err := m.record(ctx, owner, id)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), waitTimeout)
	defer cancel()
	r.Phase, r.Reason = PhaseEnding, reason
	if err := m.cfg.Store.Update(ctx, r); err != nil {
		return fmt.Errorf("record the end: %w", err)
	}
	m.turns.breakOff(kernelTurn(r.Handle), errEnding)
	return m.exclusively(ctx, r, waits|ends, func(ctx context.Context, c *change) error {
		return c.end(ctx, ending{reason: reason, ask: true})
	})
}

// end ends the kernel and all that belongs to it, whatever becomes of ctx. When the engine or the store fails the
// record stays in PhaseEnding, and reconciling tries again.
func (c *change) end(ctx context.Context, e ending) error {
	ctx = context.WithoutCancel(ctx)
	if c.rec.Phase != PhaseEnding {
		c.rec.Phase, c.rec.Reason = PhaseEnding, e.reason
		if err := c.save(ctx); err != nil && !errors.Is(err, errEnding) {
			c.log.Warn("record the end", "err", err)
		}
	}
	if e.ask {
		c.within(ctx, shutdownTimeout, "ask kernel to shut down", func(ctx context.Context) error {
			return c.bridge().Shutdown(ctx, false)
		})
	}
	c.within(ctx, farewellTimeout, "tell clients", func(ctx context.Context) error {
		return c.bridge().Tell(ctx, Over, e.reason)
	})
	removing, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	if err := c.m.cfg.Launcher.Remove(removing, c.rec.Handle); err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	c.remember(ctx) // before the record goes, so that it is known all the time
	releasing, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	if err := c.m.cfg.Store.Release(releasing, c.rec); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	c.m.known.forget(c.rec.Handle)
	c.log.Info("kernel ended", "reason", c.rec.Reason)
	return nil
}
