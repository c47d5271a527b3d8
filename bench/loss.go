package main

import (
	"context"
	"fmt"
)

const lossMessages = 100_000

func lossKey(rate int, v1 bool) string { return fmt.Sprintf("loss %d %s", rate, formats[v1]) }

// lossGoals are the goals of the rates that have one.
var lossGoals = map[int]string{50_000: "none, idle and reply always", 0: "≤ direct, idle and reply always"}

// lossRates are in messages a second; 0 is flat out. The first and the last have goals; those between show where losses begin.
var lossRates = []int{50_000, 100_000, 200_000, 0}

// roundsOfOthers is how often the other gateways meet a burst that they cannot pass: it takes them long.
const roundsOfOthers = 1

// loss measures what is lost of a burst of a kernel whose socket keeps no more than ipykernel's.
func (b *bench) loss(ctx context.Context) error {
	for _, rate := range lossRates {
		err := b.interleave(ctx, b.rounds(3, 4), func() error {
			o, err := b.direct.echo.burst(ctx, burst{count: lossMessages, bytes: 100, rate: rate})
			b.results.addOutcome(fmt.Sprintf("loss %d", rate), direct, o)
			return err
		}, func(c *contender) error {
			if c.name != cellblock && (c.round == roundsOfOthers || lossGoals[rate] == "") {
				return errEnough
			}
			return b.lossOf(ctx, c.server, c.echo, rate)
		})
		if err != nil {
			return err
		}
	}
	if !b.others {
		return nil
	}
	return b.lossWithDefaults(ctx)
}

// lossOf runs one burst in each format.
func (b *bench) lossOf(ctx context.Context, of *server, kernel string, rate int) error {
	for _, v1 := range []bool{true, false} {
		s, err := dial(ctx, of, kernel, dialOptions{v1: v1})
		if err != nil {
			return err
		}
		defer s.close()
		if _, err := s.kernelInfo(tripLimit); err != nil { // the kernel's channels are connected now
			return err
		}
		o, _, err := s.burst(burst{count: lossMessages, bytes: 100, rate: rate})
		if err != nil {
			return err
		}
		b.results.addOutcome(lossKey(rate, v1), of.name, o)
	}
	return nil
}

// lossWithDefaults does the same with the default limits of the other gateways, once. Cellblock's are its defaults anyway.
func (b *bench) lossWithDefaults(ctx context.Context) error {
	for _, p := range peers {
		if p.unlimited == "" {
			continue // it has none
		}
		s, err := p.start(ctx, b, true)
		if err != nil {
			return err
		}
		defer s.stop()
		kernel, err := s.newKernel(ctx, echoKernel)
		if err != nil {
			return err
		}
		for _, rate := range []int{50_000, 0} {
			if err := b.lossOf(ctx, s, kernel, rate); err != nil {
				b.results.note("%s: %v", s.name, err)
			}
			for _, v1 := range []bool{true, false} {
				if lost := b.results.get(lossKey(rate, v1)+" lost", s.name); len(lost) > 0 {
					b.results.note("%s: %s of 100 000 lost, %s, %s", s.name, thousands(lost.max()), rateText(rate), formats[v1])
				}
			}
		}
	}
	return nil
}
