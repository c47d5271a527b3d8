package kernels_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"cellblock.io/cellblock/kernels"
)

// marked is the key of contexts whose looks at records a spyStore reports.
type marked struct{}

// spyStore tells of each look at a record that was made under a marked context.
type spyStore struct {
	kernels.Store
	looked chan struct{}
}

func (s spyStore) Record(ctx context.Context, owner kernels.Owner, id string) (kernels.Record, error) {
	r, err := s.Store.Record(ctx, owner, id)
	if ctx.Value(marked{}) != nil {
		s.looked <- struct{}{}
	}
	return r, err
}

func TestRestart(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	k := r.started(g, alice)
	r.change(k, func(rec *kernels.Record) { rec.Deaths = 4 })
	fresh, err := g.Restart(r.ctx, alice, k.ID)
	if err != nil {
		t.Fatal(err)
	}
	if fresh.ID != k.ID || fresh.State != kernels.Idle || fresh.Runs != 2 || fresh.Deaths != 0 {
		t.Errorf("got %+v", fresh)
	}
	if n, kernel, bridge := r.world.Processes(k.Handle); n != 2 || !kernel || !bridge {
		t.Errorf("%d processes, running: %v %v", n, kernel, bridge)
	}
	if r.world.Calls("shutdown", k.Handle) != 1 {
		t.Error("the kernel was not asked to end")
	}
	if _, err = g.Restart(r.ctx, alice, k.ID); err != nil {
		t.Fatal(err)
	}
	if n, _, _ := r.world.Processes(k.Handle); n != 3 {
		t.Errorf("a later restart gave %d processes in all", n)
	}
	for _, id := range []string{"no id", "11111111-2222-3333-4444-555555555555"} {
		_, err = g.Restart(r.ctx, alice, id)
		wantKind(t, err, kernels.ErrNotFound)
	}
	_, err = g.Restart(r.ctx, bob, k.ID)
	wantKind(t, err, kernels.ErrNotFound)
}

func TestRestartDuringARestartSharesItsResult(t *testing.T) {
	for _, other := range []bool{false, true} {
		t.Run(map[bool]string{false: "same gateway", true: "another gateway"}[other], func(t *testing.T) {
			r := newRig(t)
			spy := spyStore{Store: r.store, looked: make(chan struct{}, 100)}
			second := r.gateway(func(c *kernels.Config) { c.Store = spy })
			first := second
			if other {
				first = r.gateway()
			}
			k := r.started(first, alice)
			entered, release := r.block("restart")
			one := async(func() error { _, err := first.Restart(r.ctx, alice, k.ID); return err })
			receive(t, entered)
			mark := context.WithValue(r.ctx, marked{}, true)
			two := async(func() error { _, err := second.Restart(mark, alice, k.ID); return err })
			receive(t, spy.looked)
			release()
			if err := errors.Join(receive(t, one), receive(t, two)); err != nil {
				t.Fatal(err)
			}
			if n, _, _ := r.world.Processes(k.Handle); n != 2 {
				t.Errorf("%d processes", n)
			}
		})
	}
}

func TestStopWinsOverRestart(t *testing.T) {
	for _, verb := range []string{"restart", "ready"} {
		for _, other := range []bool{false, true} {
			name := verb
			if other {
				name += " by another gateway"
			}
			t.Run(name, func(t *testing.T) {
				r := newRig(t)
				g := r.gateway()
				stopper := g
				if other {
					stopper = r.gateway()
				}
				k := r.started(g, alice)
				entered, _ := r.block(verb)
				restarted := async(func() error { _, err := g.Restart(r.ctx, alice, k.ID); return err })
				receive(t, entered)
				if err := stopper.Stop(r.ctx, alice, k.ID); err != nil {
					t.Fatal(err)
				}
				wantKind(t, receive(t, restarted), kernels.ErrNotFound)
				r.gone(k)
			})
		}
	}
}

func TestRestartWithoutAnAnswerEndsTheKernel(t *testing.T) {
	r := newRig(t)
	g := r.gateway(func(c *kernels.Config) { c.StartTimeout = time.Second })
	k := r.started(g, alice)
	r.world.Mute(k.Handle, 1)
	_, err := g.Restart(r.ctx, alice, k.ID)
	wantKind(t, err, kernels.ErrDead)
	r.goneWith(k, "The kernel did not answer within 1 s and was shut down.")
	var said *kernels.RequestError
	if !errors.As(err, &said) || said.Sentence != r.world.Farewell(k.Handle) {
		t.Errorf("the caller reads %v", err)
	}
}

func TestRestartOfAKernelThatDoesNotAnswer(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	k := r.started(g, alice)
	r.block("shutdown")
	if _, err := g.Restart(r.ctx, alice, k.ID); err != nil {
		t.Fatal(err)
	}
	r.runs(k, 2)
}

func TestRestartDuringStartWaitsForIt(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	entered, release := r.block("launch")
	for range 8 {
		r.start(g, alice)
		receive(t, entered)
	}
	k := r.start(g, alice) // waits in the queue
	restarted := async(func() error { _, err := g.Restart(r.ctx, alice, k.ID); return err })
	release()
	if err := receive(t, restarted); err != nil {
		t.Fatal(err)
	}
	if n, _, _ := r.world.Processes(k.Handle); n < 1 || n > 2 {
		t.Errorf("%d processes", n)
	}
}

func TestDeathDuringRestart(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	k := r.started(g, alice)
	died := make(chan struct{}, 1)
	r.world.On("ready", func(_ context.Context, handle string) error {
		select {
		case died <- struct{}{}:
			r.world.KillKernel(handle)
		default:
		}
		return nil
	})
	fresh, err := g.Restart(r.ctx, alice, k.ID)
	if err != nil {
		t.Fatal(err)
	}
	if n, _, _ := r.world.Processes(k.Handle); n != 3 || fresh.Runs != 2 || fresh.Deaths != 1 {
		t.Errorf("%d processes, %+v", n, fresh)
	}
}

func TestRestartWaitsForTheEngine(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	k := r.started(g, alice)
	var asked atomic.Int64
	r.world.On("restart", func(context.Context, string) error {
		if asked.Add(1) < 3 {
			return fmt.Errorf("dial: %w", kernels.ErrUnavailable)
		}
		return nil
	})
	if _, err := g.Restart(r.ctx, alice, k.ID); err != nil || asked.Load() != 3 {
		t.Errorf("asked %d times, then %v", asked.Load(), err)
	}
	r.runs(k, 2)
}
