package kernels_test

import (
	"slices"
	"testing"
	"time"

	"cellblock.io/cellblock/kernels"
)

func TestDeathIsMended(t *testing.T) {
	r := newRig(t)
	meter := &meter{}
	g := r.gateway(func(c *kernels.Config) { c.Meter = meter })
	k := r.started(g, alice)
	entered, release := r.block("revive")
	r.world.KillKernel(k.Handle)
	receive(t, entered)
	if seen, err := g.Get(r.ctx, alice, k.ID); err != nil || seen.State != kernels.Restarting {
		t.Errorf("meanwhile: %v, %v", seen.State, err)
	}
	release()
	r.runs(k, 2)
	seen, err := g.Get(r.ctx, alice, k.ID)
	if err != nil || seen.State != kernels.Idle || seen.Deaths != 1 {
		t.Errorf("afterwards: %+v, %v", seen, err)
	}
	if meter.died.Load() != 1 || meter.bridges.Load() != 0 {
		t.Errorf("counted %d and %d", meter.died.Load(), meter.bridges.Load())
	}
}

func TestSixthDeathInARowIsTheLast(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	k := r.started(g, alice)
	for run := 2; run <= 6; run++ {
		r.world.KillKernel(k.Handle)
		r.runs(k, run)
	}
	r.world.KillKernel(k.Handle)
	r.gone(k)
	const how = "killed by signal 9, which is also what happens when memory runs out."
	told := slices.Repeat([]string{"The kernel died: " + how + " It is started again, without its variables."}, 5)
	told = append(told, "The kernel died 6 times in a row and was not started again, the last time: "+how)
	if got := r.world.Told(k.Handle); !slices.Equal(got, told) {
		t.Errorf("clients read %q", got)
	}
	_, err := g.Get(r.ctx, alice, k.ID)
	wantKind(t, err, kernels.ErrNotFound)
}

func TestStableRunMakesDeathsForgotten(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	k := r.started(g, alice)
	r.change(k, func(rec *kernels.Record) { rec.Deaths, rec.Started = 5, time.Now().Add(-11*time.Second) })
	r.world.KillKernel(k.Handle)
	r.runs(k, 2)
	if n := r.record(k).Deaths; n != 1 {
		t.Errorf("%d deaths in a row", n)
	}
}

func TestDeathOfTheBridgeLeavesTheKernelAlone(t *testing.T) {
	r := newRig(t)
	meter := &meter{}
	g := r.gateway(func(c *kernels.Config) { c.Meter = meter })
	k := r.started(g, alice)
	for death := 1; death <= 5; death++ {
		r.world.KillBridge(k.Handle)
		r.eventually("bridge back", func() bool {
			_, _, bridge := r.world.Processes(k.Handle)
			return bridge && r.record(k).Deaths == death
		})
	}
	if n, kernel, _ := r.world.Processes(k.Handle); n != 1 || !kernel || r.record(k).Runs != 1 {
		t.Errorf("%d kernel processes, running: %v", n, kernel)
	}
	if meter.bridges.Load() != 5 || meter.died.Load() != 0 {
		t.Errorf("counted %d and %d", meter.bridges.Load(), meter.died.Load())
	}
	r.world.KillBridge(k.Handle) // something in this kernel kills every bridge
	r.gone(k)
}

func TestDeathOfBoth(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	k := r.started(g, alice)
	if _, err := g.Restart(r.ctx, alice, k.ID); err != nil { // the lost bridge had counted two processes
		t.Fatal(err)
	}
	entered, release := r.block("list")
	r.world.KillBridge(k.Handle)
	receive(t, entered)
	r.world.KillKernel(k.Handle)
	release()
	r.runs(k, 3)
}

func TestShutdownByAClientIsFinal(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	k := r.started(g, alice)
	r.world.ClientShutdown(k.Handle)
	r.gone(k)
	if n := r.world.Calls("revive", k.Handle); n != 0 {
		t.Errorf("it was started again %d times", n)
	}
	_, err := g.Get(r.ctx, alice, k.ID)
	wantKind(t, err, kernels.ErrNotFound)
}

func TestDeathSeenByTwoGatewaysIsMendedOnce(t *testing.T) {
	r := newRig(t)
	a, b := r.gateway(), r.gateway()
	r.eventually("both watch", func() bool { return r.world.Watchers() == 2 })
	kernelsOf := []kernels.Kernel{r.started(a, alice), r.started(b, alice), r.started(a, bob)}
	for _, k := range kernelsOf {
		r.world.KillKernel(k.Handle)
	}
	for _, k := range kernelsOf {
		r.runs(k, 2)
	}
	a.stop()
	b.stop()
	for _, k := range kernelsOf {
		if n, _, _ := r.world.Processes(k.Handle); n != 2 || r.record(k).Deaths != 1 {
			t.Errorf("%d processes, %d deaths", n, r.record(k).Deaths)
		}
	}
}

func TestDeathWhileTheWatchIsBroken(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	k := r.started(g, alice)
	r.eventually("watching", func() bool { return r.world.Watchers() == 1 })
	entered, release := r.block("watch")
	r.world.BreakWatch()
	receive(t, entered)
	r.world.KillKernel(k.Handle)
	release()
	r.runs(k, 2)
}

func TestReviveThatFailsEndsTheKernel(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	k := r.started(g, alice)
	r.world.Halve(k.Handle)
	r.world.KillKernel(k.Handle)
	r.goneWith(k, "The kernel's container is gone.")
}

func TestStopDuringARevival(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	k := r.started(g, alice)
	entered, _ := r.block("revive")
	r.world.KillKernel(k.Handle)
	receive(t, entered)
	if err := g.Stop(r.ctx, alice, k.ID); err != nil {
		t.Fatal(err)
	}
	r.gone(k)
}

func TestEngineThatDoesNotAnswerCostsNoKernel(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	k := r.started(g, alice)
	failed := make(chan string, 100)
	r.world.On("list", failing(failed))
	r.world.KillKernel(k.Handle)
	receive(t, failed)
	receive(t, failed)
	r.world.On("list", nil)
	r.runs(k, 2)
}
