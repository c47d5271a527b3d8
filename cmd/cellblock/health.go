package main

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"cellblock.io/cellblock/gateway"
)

const (
	healthInterval = 5 * time.Second
	healthTimeout  = 4 * time.Second // for all checks of one look
)

// check is one thing that can be wrong while a gateway runs.
type check struct {
	problem string // the sentence for /healthz; anybody can read it
	vital   bool   // without it requests cannot be served
	// ask returns more that is wrong, in sentences of the same kind.
	ask func(context.Context) ([]string, error)
}

// health looks at the parts from time to time and remembers what it saw, so that nobody who asks has to wait.
type health struct {
	checks []check
	log    *slog.Logger

	mu  sync.Mutex
	now gateway.Health
}

// Run looks until ctx ends.
func (h *health) Run(ctx context.Context) error {
	tick := time.NewTicker(healthInterval)
	defer tick.Stop()
	for {
		h.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// look asks all parts and logs what has changed.
func (h *health) look(ctx context.Context) {
	seen := gateway.Health{OK: true}
	asking, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	for _, c := range h.checks {
		more, err := c.ask(asking)
		if ctx.Err() != nil {
			return
		}
		if was := slices.Contains(h.state().Problems, c.problem); was != (err != nil) {
			h.log.Info("health has changed", "problem", c.problem, "there", err != nil, "err", err)
		}
		if err != nil {
			seen.OK = seen.OK && !c.vital
			seen.Problems = append(seen.Problems, c.problem)
		}
		seen.Problems = append(seen.Problems, more...)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = seen
}

// state is what was seen last. It must not be changed.
func (h *health) state() gateway.Health {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}
