package kernels_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"cellblock.io/cellblock/kernels"
)

// TestStorm lets three gateways, one of which goes away in between, and a bad engine do everything at once. What
// must hold: no two calls for one kernel at a time, no quota exceeded, and in the end nothing that nobody owns.
func TestStorm(t *testing.T) {
	r := newRig(t)
	quick := func(c *kernels.Config) { c.Grace, c.StartTimeout = time.Millisecond, 10*time.Second }
	gateways := []gateway{r.gateway(quick), r.gateway(quick), r.gateway(quick)}
	owners := []kernels.Owner{"ann", "ben", "cid"}
	for _, o := range owners {
		if err := r.store.SetQuota(r.ctx, o, kernels.Quota{MaxKernels: 4}); err != nil {
			t.Fatal(err)
		}
	}
	var workers sync.WaitGroup
	for w := range 6 {
		workers.Go(func() {
			dice := rand.New(rand.NewPCG(uint64(w), 42))
			for range 80 {
				r.anything(gateways[dice.IntN(3)], owners[dice.IntN(len(owners))], dice)
			}
		})
	}
	gateways[2].stop()
	workers.Wait()

	gateways = append(gateways[:2], r.gateway(quick))
	for _, o := range owners {
		r.eventually("all stopped", func() bool {
			list, err := gateways[2].List(r.ctx, o)
			for _, k := range list {
				if err := gateways[0].Stop(r.ctx, o, k.ID); err != nil && !errors.Is(err, kernels.ErrNotFound) {
					t.Error(err)
				}
			}
			return err == nil && len(list) == 0
		})
	}
	r.eventually("nothing left", func() bool {
		records, err := r.store.Records(r.ctx, "")
		return err == nil && len(records) == 0 && len(r.world.Handles()) == 0
	})
}

// anything does one thing to one of the owner's kernels, or starts one.
func (r *rig) anything(g gateway, owner kernels.Owner, dice *rand.Rand) {
	list, err := g.List(r.ctx, owner)
	if err != nil || len(list) > 4 {
		r.t.Errorf("%d kernels, %v", len(list), err)
	}
	if len(list) == 0 || dice.IntN(3) == 0 {
		_, err = g.Start(r.ctx, owner, kernels.StartRequest{})
	} else {
		k := list[dice.IntN(len(list))]
		switch dice.IntN(7) {
		case 0, 1:
			err = g.Stop(r.ctx, owner, k.ID)
		case 2:
			_, err = g.Restart(r.ctx, owner, k.ID)
		case 3:
			r.world.KillKernel(k.Handle)
		case 4:
			r.world.KillBridge(k.Handle)
		case 5:
			r.world.ClientShutdown(k.Handle)
		case 6:
			r.world.BreakWatch()
		}
	}
	for _, expected := range []error{nil, kernels.ErrNotFound, kernels.ErrQuota, kernels.ErrUnavailable, kernels.ErrDead} {
		if errors.Is(err, expected) {
			return
		}
	}
	r.t.Error(err)
}
