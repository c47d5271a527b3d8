package kernels_test

import (
	"context"
	"testing"
	"time"

	"cellblock.io/cellblock/kernels"
)

func TestMerge(t *testing.T) {
	created := time.Now().Add(-time.Hour)
	started, used, now := created.Add(time.Minute), created.Add(10*time.Minute), created.Add(time.Hour)
	rec := func(p kernels.Phase) kernels.Record {
		return kernels.Record{Phase: p, Created: created, Started: started}
	}
	says := func(s kernels.State) *kernels.BridgeStatus {
		return &kernels.BridgeStatus{State: s, LastActivity: used, Connections: 2}
	}
	for _, tt := range []struct {
		name  string
		r     kernels.Record
		st    *kernels.BridgeStatus
		state kernels.State
		last  time.Time
		conns int
	}{
		{"just reserved", kernels.Record{Phase: kernels.PhaseStarting, Created: created}, nil, kernels.Starting, created, 0},
		{"starting", rec(kernels.PhaseStarting), says(kernels.Idle), kernels.Starting, used, 2},
		{"busy", rec(kernels.PhaseRunning), says(kernels.Busy), kernels.Busy, used, 2},
		{"died, not yet looked at", rec(kernels.PhaseRunning), says(kernels.Restarting), kernels.Restarting, used, 2},
		{"restarting", rec(kernels.PhaseRestarting), says(kernels.Idle), kernels.Restarting, used, 2},
		{"nothing known", rec(kernels.PhaseRunning), nil, kernels.Starting, started, 0},
		{"nonsense", rec(kernels.PhaseRunning), &kernels.BridgeStatus{State: "unknown", Connections: -1,
			LastActivity: now.Add(time.Hour)}, kernels.Starting, now, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := kernels.Merge(tt.r, tt.st, now)
			if k.State != tt.state || !k.LastActivity.Equal(tt.last) || k.Connections != tt.conns {
				t.Errorf("got %v %v %d", k.State, k.LastActivity, k.Connections)
			}
		})
	}
}

func TestListNeverLacksAKernel(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	mine, other := r.started(g, alice), r.started(g, bob)
	r.world.SetStatus(mine.Handle, func(st *kernels.BridgeStatus) { st.State, st.Connections = kernels.Busy, 3 })
	if k, err := g.Get(r.ctx, alice, mine.ID); err != nil || k.State != kernels.Busy || k.Connections != 3 {
		t.Fatalf("%+v, %v", k, err)
	}
	r.block("status") // bridges that hang
	list, err := g.List(r.ctx, alice)
	if err != nil || len(list) != 1 || list[0].State != kernels.Busy || list[0].Connections != 3 {
		t.Errorf("hers: %+v, %v", list, err)
	}
	list, err = g.List(r.ctx, "")
	if err != nil || len(list) != 2 || list[0].ID != mine.ID || list[1].ID != other.ID {
		t.Errorf("everybody's: %+v, %v", list, err)
	}
	list, err = g.List(r.ctx, "mallory")
	if err != nil || len(list) != 0 {
		t.Errorf("nobody's: %+v, %v", list, err)
	}
	_, err = g.Get(r.ctx, bob, mine.ID)
	wantKind(t, err, kernels.ErrNotFound)
	wantKind(t, g.Stop(r.ctx, bob, mine.ID), kernels.ErrNotFound)
	wantKind(t, g.Interrupt(r.ctx, bob, mine.ID), kernels.ErrNotFound)
}

func TestSpecs(t *testing.T) {
	r := newRig(t)
	got, name, err := r.gateway().Specs(r.ctx)
	if err != nil || name != "python3" || len(got) != len(specs) {
		t.Errorf("%v, %q, %v", got, name, err)
	}
}

func TestInterrupt(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	k := r.started(g, alice)
	byMessage, err := g.Start(r.ctx, alice, kernels.StartRequest{Spec: "r"})
	if err != nil {
		t.Fatal(err)
	}
	r.runs(byMessage, 1)
	if err := g.Interrupt(r.ctx, alice, k.ID); err != nil {
		t.Fatal(err)
	}
	if r.world.Calls("interrupt", k.Handle) != 1 || r.world.Calls("signal", k.Handle) != 0 {
		t.Error("not by message alone")
	}
	r.world.On("interrupt", failing(make(chan string)))
	if err := g.Interrupt(r.ctx, alice, k.ID); err != nil {
		t.Fatal(err)
	}
	if r.world.Calls("signal", k.Handle) != 1 {
		t.Error("no signal")
	}
	r.world.On("interrupt", func(ctx context.Context, _ string) error { // C code that computes: the kernel answers nothing
		<-ctx.Done()
		return ctx.Err()
	})
	began := time.Now()
	if err := g.Interrupt(r.ctx, alice, k.ID); err != nil || r.world.Calls("signal", k.Handle) != 2 || time.Since(began) > time.Second {
		t.Errorf("%d signals after %v: %v", r.world.Calls("signal", k.Handle), time.Since(began), err)
	}
	r.world.On("interrupt", failing(make(chan string)))
	wantKind(t, g.Interrupt(r.ctx, alice, byMessage.ID), kernels.ErrUnavailable)
	if r.world.Calls("signal", byMessage.Handle) != 0 {
		t.Error("a signal to a kernel that knows none")
	}
	r.block("launch")
	starting := r.start(g, alice)
	if err := g.Interrupt(r.ctx, alice, starting.ID); err != nil || r.world.Calls("interrupt", starting.Handle) != 0 {
		t.Errorf("a kernel that starts: %v", err)
	}
}
