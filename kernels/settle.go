package kernels

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	lookInterval = 3 * time.Second       // between two looks at the processes of a kernel that does not answer
	readyRetry   = 25 * time.Millisecond // after a bridge that is not there yet
)

var (
	// errNoAnswer is the cause of a start or restart that took too long.
	errNoAnswer = errors.New("no answer in time")
	// errLook ends a wait for an answer, to look whether the processes still run.
	errLook = errors.New("time to look")
)

// settle waits until a kernel process of a generation after the given one has answered. Processes that end meanwhile
// are started again, up to the limit of deaths in a row. It returns when ctx ends at the latest.
func (c *change) settle(ctx context.Context, after int) error {
	next := time.Now().Add(lookInterval)
	for {
		err := c.answer(ctx, after, next)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("wait for the kernel: %w", context.Cause(ctx))
		case errors.Is(err, errLook):
			next = time.Now().Add(lookInterval)
			bridgeToo, err := c.reviveDead(ctx)
			if err != nil {
				return err
			}
			if bridgeToo {
				after = 0 // a new bridge counts from 1 again
			}
		default:
			pause(ctx, readyRetry)
		}
	}
}

// answer waits for the kernel's answer until ctx ends, a process of the kernel ends or the time has come to look:
// errLook.
func (c *change) answer(ctx context.Context, after int, lookAt time.Time) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var notice sync.WaitGroup
	defer notice.Wait()
	defer cancel(nil)
	notice.Go(func() {
		timer := time.NewTimer(time.Until(lookAt))
		defer timer.Stop()
		select {
		case <-c.exited:
			cancel(errLook)
		case <-timer.C:
			cancel(errLook)
		case <-ctx.Done():
		}
	})
	_, err := c.bridge().Ready(ctx, after)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// reviveDead looks at the kernel's processes and starts again what has ended. An engine that does not answer now will
// be asked again.
func (c *change) reviveDead(ctx context.Context) (bridgeToo bool, err error) {
	i, found, err := c.look(ctx)
	switch {
	case err != nil:
		c.log.Warn("look at a kernel that does not answer", "err", err)
		return false, nil
	case !found || !i.Complete:
		return false, refuse(ErrDead, "The kernel's container is gone.")
	case i.KernelRunning && i.BridgeRunning:
		return false, nil
	}
	if err := c.count(ctx, i); err != nil {
		return false, err
	}
	if err := c.m.cfg.Launcher.Revive(ctx, c.rec.Handle); err != nil {
		return false, fmt.Errorf("revive: %w", err)
	}
	return !i.BridgeRunning, nil
}

// count takes note of the death of one or both of the kernel's processes: ErrDead when it was one too many.
func (c *change) count(ctx context.Context, i Instance) error {
	c.m.cfg.Meter.Died(i.KernelRunning)
	well := time.Now()
	if i.Death.Broken != "" && i.Death.Since.Before(well) {
		well = i.Death.Since
	}
	if c.rec.Phase == PhaseRunning && well.Sub(c.rec.Started) >= stableRun {
		c.rec.Deaths = 0
	}
	if c.rec.Deaths++; c.rec.Deaths > maxDeaths {
		if i.KernelRunning {
			return refuse(ErrDead, "What runs this kernel died %d times in a row and was not started again.", c.rec.Deaths)
		}
		return refuse(ErrDead, "The kernel died %d times in a row and was not started again, the last time: %s.", c.rec.Deaths, i.Death)
	}
	if !i.KernelRunning && i.BridgeRunning {
		c.tellDeath(ctx, i.Death)
	}
	if c.rec.Phase == PhaseRunning && !i.KernelRunning {
		c.rec.Phase = PhaseRestarting
	}
	if i.KernelRunning {
		c.log.Warn("bridge died", "deaths", c.rec.Deaths)
	} else {
		c.log.Warn("kernel died", "deaths", c.rec.Deaths, "how", i.Death.String())
	}
	err := c.save(ctx)
	if err != nil && !errors.Is(err, errEnding) {
		c.log.Warn("count a death", "err", err) // a store that does not answer must not cost a kernel
		return nil
	}
	return err
}

// settled takes the outcome of a launch or restart to the record: running, or removed when it did not come to life.
// A change that was broken off leaves everything to whoever broke it off or comes next.
func (c *change) settled(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("broken off: %w", context.Cause(ctx))
	case err == nil:
		c.rec.Phase, c.rec.Started = PhaseRunning, time.Now().UTC()
		c.rec.Runs++
		return c.save(ctx)
	case errors.Is(err, errEnding):
		return err
	}
	sentence := "The kernel could not be started."
	var dead *RequestError
	switch {
	case errors.As(err, &dead):
		sentence = dead.Sentence
	case errors.Is(err, errNoAnswer), errors.Is(err, context.DeadlineExceeded):
		sentence = fmt.Sprintf("The kernel did not answer within %s and was shut down.", spoken(c.limit))
	}
	c.giveUp(ctx, sentence, err)
	return refuse(ErrDead, "%s", sentence)
}

// giveUp ends a kernel that cannot be helped. It logs the cause, which nobody else will.
func (c *change) giveUp(ctx context.Context, sentence string, cause error) {
	c.log.Error("kernel given up", "reason", sentence, "err", cause)
	if err := c.end(ctx, ending{reason: sentence}); err != nil {
		c.log.Error("end kernel", "err", err) // it stays recorded as ending; reconciling tries again
	}
}
