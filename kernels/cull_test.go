package kernels_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"cellblock.io/cellblock/kernels"
)

func TestVerdict(t *testing.T) {
	const hour = time.Hour
	now := time.Now()
	off, on := kernels.Cull{}, kernels.Cull{IdleTimeout: hour}
	all := kernels.Cull{IdleTimeout: hour, Connected: true, Busy: true}
	idle := func(state kernels.State, d time.Duration, connections int) kernels.Kernel {
		return kernels.Kernel{Record: kernels.Record{Phase: kernels.PhaseRunning}, State: state,
			LastActivity: now.Add(-d), Connections: connections}
	}
	starting := idle(kernels.Idle, 2*hour, 0)
	starting.Phase = kernels.PhaseStarting
	const end = " and was shut down to free its memory. Run a cell to start a new one."
	for _, tt := range []struct {
		name string
		cull kernels.Cull
		k    kernels.Kernel
		spec time.Duration
		want string
	}{
		{"in use", on, idle(kernels.Idle, hour-time.Second, 0), 0, ""},
		{"just in time", on, idle(kernels.Idle, hour, 0), 0, ""},
		{"idle", on, idle(kernels.Idle, hour+time.Second, 0), 0, "This kernel was idle for 1 h 0 min" + end},
		{"idle and off", off, idle(kernels.Idle, 999*hour, 0), 0, ""},
		{"busy", on, idle(kernels.Busy, 2*hour, 0), 0, ""},
		{"busy counts as well", all, idle(kernels.Busy, 99*time.Minute, 0), 0,
			"This kernel showed no activity for 1 h 39 min" + end},
		{"connected", on, idle(kernels.Idle, 2*hour, 1), 0, ""},
		{"connected counts as well", all, idle(kernels.Idle, 25*hour, 3), 0, "This kernel was idle for 25 h 0 min" + end},
		{"own shorter timeout", on, idle(kernels.Idle, 11*time.Minute, 0), 10 * time.Minute,
			"This kernel was idle for 11 min" + end},
		{"own longer timeout", on, idle(kernels.Idle, 2*hour, 0), 3 * hour, ""},
		{"own timeout, else off", off, idle(kernels.Idle, 31*time.Second, 0), 30 * time.Second,
			"This kernel was idle for 31 s" + end},
		{"starting", on, starting, 0, ""},
		{"dead, even when off", off, idle(kernels.Dead, 0, 5), 0,
			"This kernel was dead and was removed. Run a cell to start a new one."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := kernels.Verdict(tt.cull, tt.k, kernels.Spec{CullIdleTimeout: tt.spec}, now)
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// used sets when a kernel was used last and what it does since.
func (r *rig) used(k kernels.Kernel, ago time.Duration, state kernels.State) {
	at := time.Now().Add(-ago)
	r.change(k, func(rec *kernels.Record) { rec.Created, rec.Started = at, at })
	r.world.SetStatus(k.Handle, func(st *kernels.BridgeStatus) { st.LastActivity, st.State = at, state })
}

func culling(c *kernels.Config) {
	c.Cull = kernels.Cull{IdleTimeout: time.Hour, Interval: 50 * time.Millisecond}
}

func TestCulling(t *testing.T) {
	r := newRig(t)
	meter := &meter{}
	for range 2 {
		r.gateway(culling, func(c *kernels.Config) { c.Meter = meter })
	}
	g := r.gateway()
	idle, busy, fresh, deaf := r.started(g, alice), r.started(g, alice), r.started(g, alice), r.started(g, bob)
	brief, err := g.Start(r.ctx, alice, kernels.StartRequest{Spec: "brief"})
	if err != nil {
		t.Fatal(err)
	}
	r.runs(brief, 1)
	r.world.On("status", func(_ context.Context, handle string) error {
		if handle == deaf.Handle {
			return context.DeadlineExceeded
		}
		return nil
	})
	r.used(deaf, 2*time.Hour, kernels.Idle)
	r.used(busy, 2*time.Hour, kernels.Busy)
	r.used(fresh, 59*time.Minute, kernels.Idle)
	r.used(brief, 2*time.Second, kernels.Idle)
	r.used(idle, 2*time.Hour, kernels.Idle)
	r.gone(idle)
	r.gone(brief)
	const want = "This kernel was idle for 2 h 0 min and was shut down to free its memory. Run a cell to start a new one."
	if got := r.world.Farewell(idle.Handle); got != want {
		t.Errorf("clients read %q", got)
	}
	begun := r.world.Calls("status", busy.Handle)
	r.eventually("more looks", func() bool { return r.world.Calls("status", busy.Handle) > begun+3 })
	if n := len(r.world.Handles()); n != 3 {
		t.Errorf("%d kernels are left", n)
	}
	if n := meter.culled.Load(); n != 2 {
		t.Errorf("%d culled", n)
	}
}

func TestCullingLooksTwice(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	k := r.started(g, alice)
	r.used(k, 2*time.Hour, kernels.Idle)
	var looks atomic.Int64
	r.world.On("status", func(context.Context, string) error {
		if looks.Add(1) > 1 { // between the first look and the second, somebody runs a cell
			r.world.SetStatus(k.Handle, func(st *kernels.BridgeStatus) { st.LastActivity = time.Now() })
		}
		return nil
	})
	r.gateway(culling)
	r.eventually("more looks", func() bool { return looks.Load() > 4 })
	r.runs(k, 1)
}
