package kernels_test

import (
	"context"
	"fmt"
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
			got, _ := kernels.Judge(tt.cull, tt.k, time.Time{}, kernels.Spec{CullIdleTimeout: tt.spec}, now)
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestWarning(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	const minute = time.Minute
	const will = " to free its memory. Run a cell to keep it."
	const end = " and was shut down to free its memory. Run a cell to start a new one."
	for _, tt := range []struct {
		name              string
		timeout, warning  time.Duration
		idle, warned, due time.Duration // ago; due from now
		alone             bool
		want              string
	}{
		{name: "in use", timeout: 60 * minute, warning: minute, idle: 58 * minute},
		{name: "soon", timeout: 60 * minute, warning: minute, idle: 59*minute + time.Second, due: minute,
			want: "warned: This kernel was idle for 59 min and will be shut down in 1 min" + will},
		{name: "late", timeout: 60 * minute, warning: minute, idle: 80 * minute, due: minute,
			want: "warned: This kernel was idle for 1 h 20 min and will be shut down in 1 min" + will},
		{name: "a tenth", timeout: 5 * minute, warning: minute, idle: 4*minute + 31*time.Second, due: 30 * time.Second,
			want: "warned: This kernel was idle for 4 min and will be shut down in 30 s" + will},
		{name: "warned just now", timeout: 60 * minute, warning: minute, idle: 70 * minute, warned: 59 * time.Second, due: time.Second},
		{name: "warned", timeout: 60 * minute, warning: minute, idle: 70 * minute, warned: 61 * time.Second,
			want: "This kernel was idle for 1 h 10 min" + end},
		{name: "warned long before its time", timeout: 60 * minute, warning: minute, idle: 59 * minute, warned: 5 * minute},
		{name: "nobody there", timeout: 60 * minute, warning: minute, idle: 61 * minute, alone: true,
			want: "This kernel was idle for 1 h 1 min" + end},
		{name: "nobody there yet", timeout: 60 * minute, warning: minute, idle: 60 * minute, alone: true},
		{name: "no warnings", timeout: 60 * minute, idle: 61 * minute, want: "This kernel was idle for 1 h 1 min" + end},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := kernels.Kernel{Record: kernels.Record{Phase: kernels.PhaseRunning}, State: kernels.Idle, LastActivity: ago(tt.idle)}
			if !tt.alone {
				k.Connections = 1
			}
			var warned, due time.Time
			if tt.warned > 0 {
				warned = ago(tt.warned)
			}
			if tt.due > 0 {
				due = now.Add(tt.due)
			}
			cull := kernels.Cull{IdleTimeout: tt.timeout, Warning: tt.warning, Connected: true}
			if got, at := kernels.Judge(cull, k, warned, kernels.Spec{}, now); got != tt.want || !at.Equal(due) {
				t.Errorf("%q, due %v; want %q, due %v", got, at, tt.want, due)
			}
		})
	}
}

func TestWarningComesBeforeTheEnd(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	warned, rescued, old := r.started(g, alice), r.started(g, alice), r.started(g, alice)
	for _, k := range []kernels.Kernel{warned, rescued, old} {
		r.used(k, 2*time.Hour, kernels.Idle)
		r.world.SetStatus(k.Handle, func(st *kernels.BridgeStatus) { st.Connections = 1 })
	}
	r.world.On(string(kernels.Warned), func(_ context.Context, handle string) error {
		switch handle {
		case old.Handle:
			return kernels.ErrNotFound
		case rescued.Handle: // its person runs a cell
			r.world.SetStatus(handle, func(st *kernels.BridgeStatus) { st.LastActivity = time.Now() })
		}
		return nil
	})
	r.gateway(culling, func(c *kernels.Config) { c.Cull.Connected, c.Cull.Warning = true, 300*time.Millisecond })
	r.eventually("warned", func() bool { return len(r.world.Told(warned.Handle)) > 0 })
	told := time.Now()
	r.gone(warned)
	if d := time.Since(told); d < 200*time.Millisecond {
		t.Errorf("it ended %v after the warning", d)
	}
	r.gone(old)
	const want = "[This kernel was idle for 2 h 0 min and will be shut down in 0 s to free its memory. Run a cell to keep it. " +
		"This kernel was idle for 2 h 0 min and was shut down to free its memory. Run a cell to start a new one.]"
	if got := fmt.Sprint(r.world.Told(warned.Handle)); got != want {
		t.Errorf("clients read %s", got)
	}
	r.runs(rescued, 1)
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
