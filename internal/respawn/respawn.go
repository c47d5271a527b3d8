// Package respawn runs a program that should not end again and again: the one rule for what serve looks after.
package respawn

import (
	"context"
	"log/slog"
	"time"
)

const (
	firstPause = 100 * time.Millisecond // after the first end
	longPause  = 5 * time.Second        // the longest pause
	stableRun  = time.Minute            // a run this long makes the next pause short again
)

// Program is one that Keep keeps running.
type Program struct {
	Name string // for the log
	// Run is one run. It returns when the program has ended, with nil only when ctx asked for that.
	Run func(ctx context.Context) error
	// Final reports whether an end is for good: another run would end in the same way. nil means never.
	Final func(error) bool
	// Ended is told of each end that is followed by another run; nil means nobody.
	Ended func(error)
}

// Keep calls p.Run until ctx ends or an end is final, and returns what that last call returned. Between runs it pauses,
// longer each time unless a run was long.
func Keep(ctx context.Context, log *slog.Logger, p Program) error {
	pause := firstPause
	for {
		began := time.Now()
		err := p.Run(ctx)
		if ctx.Err() != nil || p.Final != nil && p.Final(err) {
			return err
		}
		if time.Since(began) > stableRun {
			pause = firstPause
		}
		if p.Ended != nil {
			p.Ended(err)
		}
		log.Warn(p.Name+" ended", "err", err, "next_start_in", pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, longPause)
	}
}
