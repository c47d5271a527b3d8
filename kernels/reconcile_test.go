package kernels_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"cellblock.io/cellblock/internal/redisserver/redistest"
	"cellblock.io/cellblock/kernels"
)

// made is a record as a gateway that is no more may have left it.
func made(phase kernels.Phase, age time.Duration) kernels.Record {
	id := uuid.New()
	return kernels.Record{ID: id.String(), Owner: alice, Handle: id.String()[:8], Spec: "python3", Phase: phase,
		Created: time.Now().Add(-age).UTC().Truncate(time.Second)}
}

// reserve stores a record.
func (r *rig) reserve(rec kernels.Record) kernels.Kernel {
	r.t.Helper()
	if err := r.store.Reserve(r.ctx, rec, kernels.Quota{MaxKernels: 100}); err != nil {
		r.t.Fatal(err)
	}
	return kernels.Kernel{Record: rec}
}

func TestReconcileMendsWhatAKilledGatewayLeft(t *testing.T) {
	r := newRig(t)
	plant := func(rec kernels.Record, half bool) kernels.Record { r.world.Plant(rec, half); return rec }
	ended := made(kernels.PhaseEnding, time.Hour)
	ended.Reason = "Shut down by its owner."
	leave := map[string]kernels.Kernel{
		"reserved, not launched, long ago": r.reserve(made(kernels.PhaseStarting, time.Minute)),
		"reserved, half made":              r.reserve(plant(made(kernels.PhaseStarting, time.Second), true)),
		"running, half gone":               r.reserve(plant(made(kernels.PhaseRunning, time.Hour), true)),
		"running, gone":                    r.reserve(made(kernels.PhaseRunning, time.Hour)),
		"ending":                           r.reserve(plant(ended, false)),
	}
	stay := map[string]kernels.Kernel{
		"made, no answer recorded":      r.reserve(plant(made(kernels.PhaseStarting, time.Hour), false)),
		"restarting, not seen to be up": r.reserve(plant(made(kernels.PhaseRestarting, time.Hour), false)),
	}
	half := r.reserve(plant(made(kernels.PhaseRestarting, time.Hour), false))
	r.world.SetStatus(half.Handle, func(st *kernels.BridgeStatus) { st.State = kernels.Restarting })
	stay["restart begun only"] = half
	young := r.reserve(made(kernels.PhaseStarting, time.Second))
	dead := r.reserve(plant(made(kernels.PhaseRunning, time.Hour), false))
	r.world.KillKernel(dead.Handle)
	final := r.reserve(plant(made(kernels.PhaseRunning, time.Hour), false))
	r.world.ClientShutdown(final.Handle)
	leave["ended by a client"] = final
	stay["dead"] = dead

	r.gateway()
	for name, k := range leave {
		t.Run(name, func(t *testing.T) { r.gone(k) })
	}
	for name, k := range stay {
		t.Run(name, func(t *testing.T) { r.runs(k, 1) })
	}
	if r.record(young).Phase != kernels.PhaseStarting {
		t.Error("a start that another gateway may have in hand was touched")
	}
	if n, _, _ := r.world.Processes(half.Handle); n != 2 {
		t.Errorf("the restart that was begun was not done: %d processes", n)
	}
	if got := r.world.Farewell(ended.Handle); got != ended.Reason {
		t.Errorf("clients of the ending kernel read %q", got)
	}
	if n := len(r.world.Handles()); n != len(stay) {
		t.Errorf("%d kernels exist", n)
	}
}

func TestReconcileLeavesAloneWhatAnotherGatewayHolds(t *testing.T) {
	r := newRig(t)
	rec := made(kernels.PhaseStarting, time.Hour)
	k := r.reserve(rec)
	const soon = time.Second // the time a killed gateway's lease has left
	if ok, err := r.store.Acquire(r.ctx, "kernel."+rec.Handle, "killed gateway", soon); !ok || err != nil {
		t.Fatal(ok, err)
	}
	begun := time.Now()
	r.gateway()
	r.gone(k)
	if time.Since(begun) < soon {
		t.Error("released in spite of the lease")
	}
}

func TestRedisLosesEverything(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	if err := r.store.SetQuota(r.ctx, bob, kernels.Quota{MaxKernels: 1}); err != nil {
		t.Fatal(err)
	}
	before := []kernels.Kernel{r.started(g, alice), r.started(g, alice), r.started(g, bob)}
	r.world.Plant(kernels.Record{ID: "not an id", Owner: alice, Handle: "beef"}, false)
	r.world.Plant(kernels.Record{ID: uuid.NewString(), Owner: "NOT AN OWNER", Handle: "deaf"}, false)
	r.world.Plant(made("", time.Hour), true)
	taken := kernels.Record{ID: before[0].ID, Owner: alice, Handle: "babe"}

	if err := r.redis.Admin.FlushAll(r.ctx).Err(); err != nil {
		t.Fatal(err)
	}
	r.world.BreakWatch()
	for _, k := range before {
		r.runs(k, 1)
		was, is := k.Record, r.record(k)
		was.Phase, was.Runs, was.Started = is.Phase, is.Runs, is.Started
		if was != is {
			t.Errorf("was %+v, is %+v", was, is)
		}
		if n, kernel, bridge := r.world.Processes(k.Handle); n != 1 || !kernel || !bridge {
			t.Errorf("the kernel was touched: %d %v %v", n, kernel, bridge)
		}
	}
	r.eventually("remains removed", func() bool { return len(r.world.Handles()) == len(before) })

	t.Run("adopted kernels count", func(t *testing.T) {
		if err := r.store.SetQuota(r.ctx, alice, kernels.Quota{MaxKernels: 2}); err != nil {
			t.Fatal(err)
		}
		_, err := g.Start(r.ctx, alice, kernels.StartRequest{})
		wantKind(t, err, kernels.ErrQuota)
	})
	t.Run("an id that is taken by now", func(t *testing.T) {
		r.world.Plant(taken, false)
		r.world.BreakWatch()
		r.eventually("removed", func() bool { return r.world.Calls("remove", taken.Handle) == 1 })
		if r.record(before[0]).Handle != before[0].Handle {
			t.Error("the record went to the other kernel")
		}
	})
	t.Run("adopted kernels end like others", func(t *testing.T) {
		if err := g.Stop(r.ctx, bob, before[2].ID); err != nil {
			t.Fatal(err)
		}
		r.gone(before[2])
	})
}

// TestForgedRecordsHarmNoKernel: who may write Redis, but has not the key, makes no kernel end and none another's.
func TestForgedRecordsHarmNoKernel(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	hers, his := r.started(g, alice), r.started(g, bob)
	admin := r.redis.Admin
	read := func(owner kernels.Owner, id string) string {
		text, err := admin.HGet(r.ctx, "cellblock:kernels:"+string(owner), id).Result()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for name, forged := range map[string]string{
		"another handle": strings.Replace(read(alice, hers.ID), hers.Handle, his.Handle, 1),
		"ending":         strings.Replace(read(alice, hers.ID), `"running"`, `"ending"`, 1),
		"another's":      read(bob, his.ID),
		"garbage":        "garbage",
	} {
		if err := admin.HSet(r.ctx, "cellblock:kernels:alice", hers.ID, forged).Err(); err != nil {
			t.Fatal(err)
		}
		if _, err := g.Get(r.ctx, alice, hers.ID); !errors.Is(err, kernels.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		r.world.BreakWatch() // reconciles at once
		r.eventually(name+": adopted", func() bool { return r.record(hers).Handle == hers.Handle })
		if n, kernel, bridge := r.world.Processes(hers.Handle); n != 1 || !kernel || !bridge || r.world.Calls("remove", hers.Handle) > 0 {
			t.Errorf("%s: the kernel was touched: %d %v %v", name, n, kernel, bridge)
		}
	}
}

func TestRedisGoesAwayForAWhile(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	k := r.started(g, alice)

	r.redis.Stop()
	r.world.KillKernel(k.Handle)
	_, err := g.Get(r.ctx, alice, k.ID)
	wantKind(t, err, kernels.ErrUnavailable)
	_, err = g.Start(r.ctx, alice, kernels.StartRequest{})
	wantKind(t, err, kernels.ErrUnavailable)
	if n, _, bridge := r.world.Processes(k.Handle); n != 1 || !bridge {
		t.Errorf("%d processes, bridge runs: %v", n, bridge)
	}
	redistest.StartIn(t, r.dir)
	r.runs(k, 2)
}

func TestRedisGoesAwayDuringAStart(t *testing.T) {
	r := newRig(t)
	meter := &meter{}
	g := r.gateway(func(c *kernels.Config) { c.Meter = meter })
	entered, release := r.block("ready")
	k := r.start(g, alice)
	receive(t, entered)
	r.redis.Stop()
	release()
	r.eventually("the outcome could not be recorded", func() bool { return meter.failed.Load() == 1 })
	redistest.StartIn(t, r.dir)
	r.runs(k, 1)
	if n, kernel, _ := r.world.Processes(k.Handle); n != 1 || !kernel {
		t.Errorf("%d processes, running: %v", n, kernel)
	}
}
