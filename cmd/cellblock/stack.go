package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// stack runs the long-lived parts of a gateway. A part may use those below it for as long as it runs: they are stopped
// one after the other, the last that was started first.
type stack struct {
	group *errgroup.Group
	// broken ends when a part has ended before it was told to; its cause is the part's error.
	broken context.Context
	parts  []part
}

type part struct {
	cancel context.CancelFunc
	done   chan struct{}
}

func newStack() *stack {
	group, broken := errgroup.WithContext(context.Background())
	return &stack{group: group, broken: broken}
}

// start runs a part until stop.
func (s *stack) start(name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	s.parts = append(s.parts, part{cancel, done})
	s.group.Go(func() error {
		defer close(done)
		err := run(ctx)
		switch {
		case err != nil && !(ctx.Err() != nil && errors.Is(err, context.Canceled)):
			return fmt.Errorf("%s: %w", name, err)
		case ctx.Err() == nil:
			return fmt.Errorf("%s has ended by itself", name)
		}
		return nil
	})
}

// await calls wait with a context that ends with ctx, after limit, or when a part has broken; then that part's error is
// returned.
func (s *stack) await(ctx context.Context, limit time.Duration, wait func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	defer context.AfterFunc(s.broken, cancel)()
	err := wait(ctx)
	if err != nil && s.broken.Err() != nil {
		return context.Cause(s.broken)
	}
	return err
}

// stop ends all parts and returns the first error of one.
func (s *stack) stop() error {
	for _, p := range slices.Backward(s.parts) {
		p.cancel()
		<-p.done
	}
	return s.group.Wait()
}
