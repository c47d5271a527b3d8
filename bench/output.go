package main

import (
	"context"
	"fmt"
	"time"
)

// maxBurstBytes keeps a burst of a kernel without a high-water mark within what a bridge keeps for a client that is slower
// than the kernel: how fast output passes is one row, what becomes of too much of it is another.
const maxBurstBytes = 48_000_000

const (
	mostMessages  = 90_000          // in one burst, for the same reason
	fewMessages   = 2_000           // in the first one, which shows how long the next may be
	outputTime    = 2 * time.Second // that a burst should take
	messagesOfCPU = 100_000
)

// outputSizes are the lengths of the texts, in bytes.
var outputSizes = []int{100, 10_000, 1_000_000}

func outputKey(bytes int, v1 bool) string { return fmt.Sprintf("output %d %s", bytes, formats[v1]) }

// output measures how many messages of each size pass, and what they cost in processor time.
func (b *bench) output(ctx context.Context) error {
	for _, size := range outputSizes {
		if b.quick && size == 10_000 {
			continue
		}
		most := min(mostMessages, maxBurstBytes/size)
		err := b.interleave(ctx, b.rounds(3, 5), func() error {
			o, err := b.direct.whole.burst(ctx, burst{count: most, bytes: size})
			b.results.addOutcome(fmt.Sprintf("output %d", size), direct, o)
			return err
		}, func(c *contender) error {
			for _, v1 := range []bool{true, false} {
				if err := b.outputOf(ctx, c, burst{count: most, bytes: size}, v1); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// outputOf runs one burst through a contender, of as many messages as it can pass in outputTime.
func (b *bench) outputOf(ctx context.Context, c *contender, burst burst, v1 bool) error {
	key := outputKey(burst.bytes, v1)
	s, err := dial(ctx, c.server, c.whole, dialOptions{v1: v1})
	if err != nil {
		return err
	}
	defer s.close()
	if c.pace[key] == 0 {
		probe := burst
		probe.count = min(fewMessages, burst.count)
		o, _, err := s.burst(probe)
		if err != nil {
			return err
		}
		c.pace[key] = o.rate()
	}
	burst.count = max(min(burst.count, int(c.pace[key]*outputTime.Seconds())), min(fewMessages, burst.count))
	pids := c.server.pids()
	before, err := cpuSeconds(pids)
	if err != nil {
		return err
	}
	o, _, err := s.burst(burst)
	if err != nil {
		return err
	}
	after, err := cpuSeconds(pids)
	if err != nil {
		return err
	}
	b.results.addOutcome(key, c.name, o)
	b.results.add(key+" cpu", c.name, (after-before)/float64(max(o.Received, 1))*messagesOfCPU)
	return nil
}
