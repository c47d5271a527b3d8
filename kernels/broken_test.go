package kernels_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"cellblock.io/cellblock/kernels"
)

// breaks has a kernel's bridge say what is wrong with its process, since when.
func (r *rig) breaks(k kernels.Kernel, since time.Time) {
	r.world.SetStatus(k.Handle, func(st *kernels.BridgeStatus) {
		st.State, st.Broken, st.BrokenSince = kernels.Restarting, "it did not answer any more", since
	})
}

func TestBrokenKernelIsReplaced(t *testing.T) {
	r := newRig(t)
	meter := &meter{}
	g := r.gateway(func(c *kernels.Config) { c.Meter = meter })
	k, well := r.started(g, alice), r.started(g, bob)
	r.breaks(k, time.Now())
	r.runs(k, 2)
	seen, err := g.Get(r.ctx, alice, k.ID)
	if err != nil || seen.State != kernels.Idle || seen.Deaths != 1 {
		t.Errorf("afterwards: %+v, %v", seen, err)
	}
	if n := r.world.Calls("restart", k.Handle); n != 1 {
		t.Errorf("%d restarts", n)
	}
	if got := r.world.Told(k.Handle); !slices.Equal(got, []string{"The kernel died: it did not answer any more. It is started again, without its variables."}) {
		t.Errorf("clients read %q", got)
	}
	if meter.died.Load() != 1 || r.world.Calls("restart", well.Handle) != 0 || r.record(well).Runs != 1 {
		t.Errorf("%d died", meter.died.Load())
	}
}

func TestKernelThatKeepsBreakingIsGivenUp(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	k := r.started(g, alice)
	r.change(k, func(rec *kernels.Record) { rec.Deaths, rec.Started = 5, time.Now().Add(-11*time.Second) })
	r.breaks(k, time.Now().Add(-5*time.Second)) // it ran well for 6 s only
	r.goneWith(k, "The kernel died 6 times in a row and was not started again, the last time: it did not answer any more.")
}

func TestStableRunBeforeTheBreakMakesDeathsForgotten(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	k := r.started(g, alice)
	r.change(k, func(rec *kernels.Record) { rec.Deaths, rec.Started = 5, time.Now().Add(-21*time.Second) })
	r.breaks(k, time.Now().Add(-5*time.Second))
	r.runs(k, 2)
	if n := r.record(k).Deaths; n != 1 {
		t.Errorf("%d deaths in a row", n)
	}
}

// What comes back between the look and the turn is left alone.
func TestKernelThatComesBackIsLeftAlone(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	k := r.started(g, alice)
	looks, again := 0, make(chan string)
	r.world.On("status", func(_ context.Context, handle string) error {
		if looks++; looks == 2 { // in its turn; nobody else asks in this test
			r.world.SetStatus(handle, func(st *kernels.BridgeStatus) { st.State, st.Broken = kernels.Idle, "" })
			close(again)
		}
		return nil
	})
	r.breaks(k, time.Now())
	receive(t, again)
	g.stop()
	if n := r.world.Calls("restart", k.Handle); n != 0 || r.record(k).Deaths != 0 {
		t.Errorf("%d restarts, %d deaths", n, r.record(k).Deaths)
	}
}

func TestBrokenKernelThatWasAskedToEndIsEnded(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	k := r.started(g, alice)
	r.world.SetStatus(k.Handle, func(st *kernels.BridgeStatus) { st.ShutdownRequested = true })
	r.breaks(k, time.Now())
	r.gone(k)
	if n := r.world.Calls("restart", k.Handle); n != 0 {
		t.Errorf("%d restarts", n)
	}
}

func TestBrokenKernelOfTwoGatewaysIsReplacedOnce(t *testing.T) {
	r := newRig(t)
	a, b := r.gateway(), r.gateway()
	var all []kernels.Kernel
	for range 5 {
		all = append(all, r.started(a, alice))
	}
	for _, k := range all {
		r.breaks(k, time.Now())
	}
	for _, k := range all {
		r.runs(k, 2)
	}
	a.stop()
	b.stop()
	for _, k := range all {
		if n, _, _ := r.world.Processes(k.Handle); n != 2 || r.record(k).Deaths != 1 {
			t.Errorf("%d processes, %d deaths", n, r.record(k).Deaths)
		}
		if told := strings.Join(r.world.Told(k.Handle), "\n"); strings.Count(told, "died") != 1 {
			t.Errorf("clients read %q", told)
		}
	}
}
