package main

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
)

const (
	connectsPerRound = 20
	replayMessages   = 10_000
	replayWait       = 3 * time.Second // until even a slow server has what its kernel published
	replayDelay      = 300             // milliseconds that the kernel waits, so that the client is gone by then
)

// connect measures how soon a new client has its first answer.
func (b *bench) connect(ctx context.Context) error {
	return b.interleave(ctx, b.rounds(2, 4), func() error { return nil }, func(c *contender) error {
		for range connectsPerRound {
			start := time.Now()
			s, err := dial(ctx, c.server, c.echo, dialOptions{v1: true})
			if err != nil {
				return err
			}
			_, err = s.kernelInfo(tripLimit)
			taken := time.Since(start)
			s.close()
			if err != nil {
				return err
			}
			b.results.addTimes("connect", c.name, []time.Duration{taken})
		}
		return nil
	})
}

// replay measures how soon a client that was cut off has what its kernel published meanwhile. It comes back with the
// same session id, when all has long been published.
func (b *bench) replay(ctx context.Context) error {
	return b.interleave(ctx, b.rounds(2, 3), func() error { return nil }, func(c *contender) error {
		session := uuid.NewString()
		gone := burst{count: replayMessages, bytes: 100, wait: replayDelay}
		s, err := dial(ctx, c.server, c.whole, dialOptions{v1: true, session: session})
		if err != nil {
			return err
		}
		defer s.close()
		if _, err := s.kernelInfo(tripLimit); err != nil {
			return err
		}
		id, err := s.execute(gone.code())
		if err != nil {
			return err
		}
		if err := sleep(ctx, replayDelay*time.Millisecond/2); err != nil { // the server has read it then
			return err
		}
		s.close()
		if err := sleep(ctx, replayWait); err != nil {
			return err
		}
		start := time.Now()
		if s, err = dial(ctx, c.server, c.whole, dialOptions{v1: true, session: session}); err != nil {
			return fmt.Errorf("come back: %w", err)
		}
		defer s.close()
		o, _, err := s.collect(id, gone)
		if err != nil {
			return fmt.Errorf("come back: %w", err)
		}
		if o.Received > 0 {
			b.results.addTimes("replay", c.name, []time.Duration{o.end.Sub(start)})
		}
		b.results.addOutcome("replay", c.name, o)
		return nil
	})
}
