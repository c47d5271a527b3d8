package main

import (
	"context"
	"sync"
	"time"
)

const (
	manyKernels = 20
	manyTime    = 1500 * time.Millisecond // that the bursts of all together should take
)

// many measures what passes when many kernels publish at once, each to a client of its own.
func (b *bench) many(ctx context.Context) error {
	kernels := map[*contender][]string{}
	defer func() {
		for c, ids := range kernels {
			b.endKernels(c.server, ids)
		}
	}()
	return b.interleave(ctx, b.rounds(1, 3), func() error { return nil }, func(c *contender) (err error) {
		if kernels[c] == nil {
			if kernels[c], err = b.newKernels(ctx, c.server, wholeKernel); err != nil {
				return err
			}
		}
		return b.manyAtOnce(ctx, c, kernels[c])
	})
}

// newKernels starts manyKernels kernels, one after the other.
func (b *bench) newKernels(ctx context.Context, s *server, spec string) (ids []string, err error) {
	for range manyKernels {
		id, err := s.newKernel(ctx, spec)
		if err != nil {
			return ids, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func (b *bench) endKernels(s *server, ids []string) {
	for _, id := range ids {
		if err := s.endKernel(context.Background(), id); err != nil {
			b.results.note("%s: end of a kernel: %v", s.name, err)
		}
	}
}

// manyAtOnce runs one burst in each kernel. The time counts from the first message of any to the last of any, and the
// kernels that prepare theirs meanwhile take some of the machine: the sum is rather too low than too high.
func (b *bench) manyAtOnce(ctx context.Context, c *contender, ids []string) error {
	key := outputKey(100, true) + " rate"
	if len(b.results.get(key, c.name)) == 0 { // that section was left out
		if err := b.outputOf(ctx, c, burst{count: mostMessages, bytes: 100}, true); err != nil {
			return err
		}
	}
	pace := b.results.get(key, c.name).median()
	each := min(max(int(pace*manyTime.Seconds())/len(ids), 100), maxBurstBytes/10_000)
	outcomes, errs := make([]outcome, len(ids)), make([]error, len(ids))
	var wg sync.WaitGroup
	for i, id := range ids {
		s, err := dial(ctx, c.server, id, dialOptions{v1: true})
		if err != nil {
			return err
		}
		defer s.close()
		if _, err := s.kernelInfo(startTime); err != nil {
			return err
		}
		wg.Go(func() { outcomes[i], _, errs[i] = s.burst(burst{count: each, bytes: 100}) })
	}
	wg.Wait()
	first, last, sum := time.Time{}, time.Time{}, outcome{Idle: true, Reply: true}
	for i, o := range outcomes {
		if errs[i] != nil {
			return errs[i]
		}
		sum.Received += o.Received
		sum.Lost += o.Lost
		sum.Doubled += o.Doubled
		sum.Disordered += o.Disordered
		sum.Idle = sum.Idle && o.Idle
		sum.Reply = sum.Reply && o.Reply
		if first.IsZero() || o.first.Before(first) {
			first = o.first
		}
		if o.end.After(last) {
			last = o.end
		}
	}
	sum.Seconds = last.Sub(first).Seconds()
	b.results.addOutcome("many", c.name, sum)
	return nil
}
