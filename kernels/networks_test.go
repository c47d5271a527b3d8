package kernels_test

import (
	"context"
	"maps"
	"sync"
	"testing"

	"cellblock.io/cellblock/kernels"
)

// said remembers what was applied last.
type said struct {
	mu   sync.Mutex
	last map[kernels.Owner]string
}

// Apply implements kernels.Networks.
func (s *said) Apply(_ context.Context, inForce map[kernels.Owner]string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = inForce
	return nil
}

func (s *said) is(want map[kernels.Owner]string) func() bool {
	return func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return maps.Equal(s.last, want)
	}
}

func TestNetworksAreSaidForOwnersWithKernels(t *testing.T) {
	r := newRig(t)
	if err := r.store.SetQuota(r.ctx, alice, kernels.Quota{MaxKernels: 9, Network: "pypi"}); err != nil {
		t.Fatal(err)
	}
	var s said
	g := r.gateway(func(c *kernels.Config) { c.Networks = &s })
	hers := r.start(g, alice)
	r.runs(hers, 1)
	r.runs(r.start(g, bob), 1)
	if got := r.world.Launched(hers.Handle).Network; got != "pypi" {
		t.Errorf("launched with network %q", got)
	}
	r.eventually("both", s.is(map[kernels.Owner]string{alice: "pypi", bob: ""}))
	if err := r.store.SetQuota(r.ctx, alice, kernels.Quota{MaxKernels: 9, Network: "none"}); err != nil {
		t.Fatal(err)
	}
	r.eventually("changed", s.is(map[kernels.Owner]string{alice: "none", bob: ""}))
	if err := r.redis.Client.HSet(r.ctx, "cellblock:quotas", string(alice), "x").Err(); err != nil {
		t.Fatal(err)
	}
	r.eventually("unreadable", s.is(map[kernels.Owner]string{bob: ""}))
}
