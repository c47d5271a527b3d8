package kernels

import (
	"context"
	"errors"
	"fmt"
)

// interruptByMessage is the kernelspec's interrupt_mode of kernels that must not get a signal.
const interruptByMessage = "message"

// Interrupt ends what the kernel runs at the moment. The kernel is asked on its control channel; one that does not
// answer gets SIGINT, unless its kernelspec says that it knows messages only. A kernel that is starting or restarting
// has nothing to interrupt. Errors: ErrNotFound, ErrUnavailable.
func (m *Manager) Interrupt(ctx context.Context, owner Owner, id string) error {
	r, err := m.record(ctx, owner, id)
	if err != nil {
		return err
	}
	if r.Phase != PhaseRunning {
		return nil
	}
	specs, err := m.cfg.Specs.Specs(ctx)
	byMessage, timeout := err != nil || specs[r.Spec].Interrupt == interruptByMessage, signalAfter
	if byMessage { // or nobody knows; the kernel can still be asked
		timeout = interruptTimeout
	}
	asking, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	asked := m.cfg.Bridge(r.Handle).Interrupt(asking)
	switch {
	case asked == nil:
		return nil
	case byMessage:
		return fmt.Errorf("interrupt: %w", asked)
	}
	err = m.exclusively(ctx, r, waits, func(ctx context.Context, c *change) error {
		if c.rec.Phase != PhaseRunning {
			return nil
		}
		return m.cfg.Launcher.Interrupt(ctx, r.Handle)
	})
	switch {
	case errors.Is(err, errEnding):
		return ErrNotFound
	case err != nil:
		return fmt.Errorf("interrupt by signal: %w", err)
	}
	return nil
}
