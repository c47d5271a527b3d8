package main

import (
	"context"
	"fmt"
)

const lossMessages = 100_000

func lossKey(rate int, v1 bool) string { return fmt.Sprintf("loss %d %s", rate, formats[v1]) }

// lossRates are in messages a second; 0 is flat out. The first and the last have goals; those between show where losses begin.
var lossRates = []int{50_000, 100_000, 200_000, 0}

// loss measures what is lost of a burst of a kernel whose socket keeps no more than ipykernel's.
func (b *bench) loss(ctx context.Context) error {
	for _, rate := range lossRates {
		it := burst{count: lossMessages, bytes: 100, rate: rate}
		err := b.interleave(ctx, b.rounds(3, 5), func() error {
			o, err := b.direct.echo.burst(ctx, it)
			b.results.addOutcome(fmt.Sprintf("loss %d", rate), direct, o)
			return err
		}, func(c *contender) error {
			for _, v1 := range []bool{true, false} {
				s, err := dial(ctx, c.server, c.echo, dialOptions{v1: v1})
				if err != nil {
					return err
				}
				if _, err := s.kernelInfo(tripLimit); err != nil { // the kernel's channels are connected now
					s.close()
					return err
				}
				o, _, err := s.burst(it)
				s.close()
				if err != nil {
					return err
				}
				b.results.addOutcome(lossKey(rate, v1), c.name, o)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
