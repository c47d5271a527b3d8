package kernels

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// startPoll is the time between two looks whether a kernel that is to be restarted has started at all.
const startPoll = 200 * time.Millisecond

// engineWait is how long an engine may be away that is to restart a kernel.
const engineWait = 10 * time.Second

// Restart replaces the kernel's process by a fresh one under the same id and returns when that has answered. Whoever
// asks while a restart is going on waits for it and shares its result; what begins later restarts again. The end of
// ctx does not stop it half-way. Errors: ErrNotFound, also when the kernel is stopped meanwhile, and ErrDead when the
// fresh process did not answer: the kernel is gone then.
func (m *Manager) Restart(ctx context.Context, owner Owner, id string) (Kernel, error) {
	asked, err := m.record(ctx, owner, id)
	if err != nil {
		return Kernel{}, err
	}
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), waitTimeout+m.cfg.StartTimeout)
	defer cancel()
	err = errBusy
	for errors.Is(err, errBusy) {
		err = m.exclusively(work, asked, waits, func(ctx context.Context, c *change) error {
			switch {
			case c.rec.Phase == PhaseStarting:
				return errBusy // it waits for its launch, which is as good as a restart
			case c.rec.Phase == PhaseRunning && c.rec.Runs != asked.Runs:
				return nil // a process that is fresh enough: it came after this call
			}
			return c.restart(ctx)
		})
		if errors.Is(err, errBusy) && !pause(work, startPoll) {
			return Kernel{}, refuse(ErrUnavailable, "The kernel is still starting. Try again soon.")
		}
	}
	switch {
	case errors.Is(err, errEnding):
		return Kernel{}, ErrNotFound
	case err != nil:
		return Kernel{}, fmt.Errorf("restart: %w", err)
	}
	return m.Get(work, owner, id)
}

// restart replaces the kernel's process.
func (c *change) restart(ctx context.Context) error {
	c.rec.Phase, c.rec.Deaths = PhaseRestarting, 0
	if err := c.save(ctx); err != nil {
		return err
	}
	st, _ := c.status(ctx)
	c.within(ctx, restartTimeout, "ask kernel to shut down", func(ctx context.Context) error {
		return c.bridge().Shutdown(ctx, true)
	})
	return c.replace(ctx, st.Generation)
}

// replace has the engine restart the process and waits for the answer of one of a generation after the given one.
func (c *change) replace(ctx context.Context, after int) error {
	limited, cancel := context.WithTimeoutCause(ctx, c.limit, errNoAnswer)
	defer cancel()
	err := c.restartProcess(limited)
	if err != nil {
		err = fmt.Errorf("restart process: %w", err)
	} else {
		err = c.settle(limited, after)
	}
	return c.settled(ctx, err)
}

// restartProcess has the engine restart the process. An engine that does not answer is asked again for a while: it may be
// starting itself, and whoever asked for the restart would not learn that it was refused.
func (c *change) restartProcess(ctx context.Context) error {
	for begun := time.Now(); ; {
		err := c.m.cfg.Launcher.Restart(ctx, c.rec.Handle)
		if !errors.Is(err, ErrUnavailable) || time.Since(begun) > engineWait || !pause(ctx, startPoll) {
			return err
		}
		c.log.Warn("the engine does not answer; asking again for the restart", "err", err)
	}
}
