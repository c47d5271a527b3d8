package kernels_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"cellblock.io/cellblock/kernels"
)

func TestDrain(t *testing.T) {
	t.Run("a launch in flight finishes", func(t *testing.T) {
		r := newRig(t)
		g := r.gateway(func(c *kernels.Config) { c.Grace = patience })
		entered, release := r.block("launch")
		k := r.start(g, alice)
		receive(t, entered)
		stopped := async(func() error { g.stop(); return nil })
		accepted := make(map[string]bool)
		r.eventually("closed", func() bool {
			k, err := g.Start(r.ctx, bob, kernels.StartRequest{})
			accepted[k.ID] = true
			return err != nil && strings.Contains(err.Error(), "Try again soon")
		})
		release()
		receive(t, stopped)
		r.runs(k, 1)
		left, err := r.store.Records(r.ctx, bob)
		for _, rec := range left {
			if !accepted[rec.ID] {
				t.Errorf("a refused start left %+v", rec)
			}
		}
		if err != nil {
			t.Error(err)
		}
	})
	t.Run("what takes longer is left to the next gateway", func(t *testing.T) {
		r := newRig(t)
		g := r.gateway(func(c *kernels.Config) { c.Grace = time.Millisecond })
		entered, release := r.block("ready")
		k := r.start(g, alice)
		receive(t, entered)
		g.stop()
		if r.record(k).Phase != kernels.PhaseStarting || len(r.world.Handles()) != 1 {
			t.Errorf("left as %+v", r.record(k))
		}
		release()
		r.gateway()
		r.runs(k, 1)
	})
	t.Run("what waits in the queue is refused", func(t *testing.T) {
		r := newRig(t)
		g := r.gateway(func(c *kernels.Config) { c.Grace = time.Millisecond })
		entered, _ := r.block("launch")
		for range 8 {
			r.start(g, alice)
			receive(t, entered)
		}
		k := r.start(g, bob)
		g.stop()
		r.gone(k)
	})
}

func TestLeaseThatIsLost(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	entered, left := make(chan struct{}), make(chan error, 1)
	r.world.On("launch", func(ctx context.Context, _ string) error {
		close(entered)
		<-ctx.Done()
		left <- context.Cause(ctx)
		return ctx.Err()
	})
	k := r.start(g, alice)
	receive(t, entered)
	key := "cellblock:lease:kernel." + k.Handle
	if err := r.redis.Client.Set(r.ctx, key, "another gateway", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	if cause := receive(t, left); !strings.Contains(cause.Error(), "another gateway has taken over") {
		t.Errorf("the launch was given up for %v", cause)
	}
	g.stop()
	if r.record(k).Phase != kernels.PhaseStarting {
		t.Error("the record was touched without the lease")
	}
}

func TestValidate(t *testing.T) {
	err := kernels.Config{StartTimeout: -1, Cull: kernels.Cull{Interval: -1}}.Validate()
	if err == nil {
		t.Fatal("an empty configuration is accepted")
	}
	for _, name := range []string{"Launcher", "Observer", "Specs", "Store", "Sessions", "Quotas", "Leases", "Bridge", "Log",
		"DefaultSpec", "StartTimeout", "Cull.Interval"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("not named: %s", name)
		}
	}
}
