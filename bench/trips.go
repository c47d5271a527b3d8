package main

import (
	"context"
	"fmt"
	"time"
)

// What one round of round trips may take, of one contender, format and client: so many, or so long.
const (
	tripsPerRound = 300
	tripsTime     = 1500 * time.Millisecond
	tripLimit     = 10 * time.Second
)

// Clients and formats, as they are called in the table.
var (
	formats = map[bool]string{true: "v1", false: "JSON"}
	clients = map[bool]string{true: "quick", false: "ordinary"}
)

func tripKey(kind string, o dialOptions) string {
	return fmt.Sprintf("%s %s %s", kind, formats[o.v1], clients[o.quick])
}

// trips measures small round trips of the echo kernel.
func (b *bench) trips(ctx context.Context) error {
	for _, kind := range []string{"kernel_info", "execute"} {
		err := b.interleave(ctx, b.rounds(2, 3), func() error {
			times, err := b.direct.echo.trips(ctx, kind, tripsPerRound)
			b.results.addTimes(kind, direct, times)
			return err
		}, func(c *contender) error {
			for _, o := range []dialOptions{{v1: true}, {v1: true, quick: true}, {}, {quick: true}} {
				times, err := c.trips(ctx, c.echo, kind, o)
				if err != nil {
					return err
				}
				b.results.addTimes(tripKey(kind, o), c.name, times)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// trips makes one round on a kernel with a client of its own.
func (c *contender) trips(ctx context.Context, kernel, kind string, o dialOptions) (times []time.Duration, err error) {
	s, err := dial(ctx, c.server, kernel, o)
	if err != nil {
		return nil, err
	}
	defer s.close()
	once := func() (time.Duration, error) { return s.kernelInfo(tripLimit) }
	if kind == "execute" {
		once = func() (time.Duration, error) {
			t, _, err := s.cell("", tripLimit)
			return t, err
		}
	}
	if _, err := s.kernelInfo(tripLimit); err != nil { // the first one waits for the kernel's channels
		return nil, err
	}
	for end := time.Now().Add(tripsTime); len(times) < tripsPerRound && time.Now().Before(end); {
		t, err := once()
		if err != nil {
			return nil, err
		}
		times = append(times, t)
	}
	return times, nil
}
