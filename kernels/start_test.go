package kernels_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"cellblock.io/cellblock/kernels"
)

func TestStartReturnsBeforeTheLaunch(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	entered, release := r.block("launch")
	k, err := g.Start(r.ctx, alice, kernels.StartRequest{Spec: "python", Env: map[string]string{"A": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	receive(t, entered)
	if k.State != kernels.Starting || k.Spec != "python3" || !kernels.ValidID(k.ID) || k.Owner != alice {
		t.Errorf("got %+v", k)
	}
	seen, err := g.Get(r.ctx, alice, k.ID)
	if err != nil || seen.State != kernels.Starting || !seen.LastActivity.Equal(k.Created) {
		t.Errorf("while starting: %+v, %v", seen, err)
	}
	release()
	r.runs(k, 1)
	l := r.world.Launched(k.Handle)
	if l.Env["A"] != "b" || l.Spec.Image != "sha256:aa" || l.UID == 0 {
		t.Errorf("launched with %+v", l)
	}
	if seen, err = g.Get(r.ctx, alice, k.ID); err != nil || seen.State != kernels.Idle {
		t.Errorf("when it runs: %+v, %v", seen, err)
	}
}

func TestStartRefusals(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	const id = "11111111-2222-3333-4444-555555555555"
	if _, err := g.Start(r.ctx, alice, kernels.StartRequest{ID: id}); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Start(r.ctx, bob, kernels.StartRequest{ID: id}); err != nil {
		t.Errorf("an id that somebody else has: %v", err)
	}
	if err := r.store.SetQuota(r.ctx, "mallory", kernels.Quota{}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		owner kernels.Owner
		req   kernels.StartRequest
		kind  error
		says  string
	}{
		{"own id twice", alice, kernels.StartRequest{ID: id}, kernels.ErrExists, id},
		{"no id at all", alice, kernels.StartRequest{ID: "../x"}, kernels.ErrInvalid, `"../x"`},
		{"no owner", "", kernels.StartRequest{}, kernels.ErrInvalid, "cannot own"},
		{"unknown spec", alice, kernels.StartRequest{Spec: "julia"}, kernels.ErrUnknownSpec, "brief, python3, r."},
		{"long spec", alice, kernels.StartRequest{Spec: strings.Repeat("x", 1e6)}, kernels.ErrUnknownSpec, "xxx…"},
		{"no quota", "mallory", kernels.StartRequest{}, kernels.ErrQuota, "may not run kernels"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := g.Start(r.ctx, tt.owner, tt.req)
			wantKind(t, err, tt.kind)
			if err == nil || !strings.Contains(err.Error(), tt.says) || len(err.Error()) > 300 {
				t.Errorf("the sentence is %q", err)
			}
		})
	}
}

func TestFiftyParallelStartsWithALimitOfThree(t *testing.T) {
	r := newRig(t)
	gateways := []gateway{r.gateway(), r.gateway()}
	if err := r.store.SetQuota(r.ctx, alice, kernels.Quota{MaxKernels: 3}); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var begun []kernels.Kernel
	var refused int
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			k, err := gateways[i%2].Start(r.ctx, alice, kernels.StartRequest{})
			mu.Lock()
			defer mu.Unlock()
			var q *kernels.QuotaError
			switch {
			case err == nil:
				begun = append(begun, k)
			case errors.As(err, &q) && err.Error() == "Quota reached: 3 of 3 kernels are running. Stop one first.":
				refused++
			default:
				t.Errorf("unexpected: %v", err)
			}
		})
	}
	wg.Wait()
	if len(begun) != 3 || refused != 47 {
		t.Fatalf("%d started, %d refused", len(begun), refused)
	}
	for _, k := range begun {
		r.runs(k, 1)
	}
	if n := len(r.world.Handles()); n != 3 {
		t.Errorf("%d kernels exist", n)
	}
	if err := gateways[1].Stop(r.ctx, alice, begun[0].ID); err != nil {
		t.Fatal(err)
	}
	r.started(gateways[0], alice)
}

func TestClientsOwnTimeout(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	r.block("ready")
	k, err := g.Start(r.ctx, alice, kernels.StartRequest{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	r.goneWith(k, "The kernel did not answer within 1 s and was shut down.")
}

func TestStartThatFails(t *testing.T) {
	r := newRig(t)
	meter := &meter{}
	g := r.gateway(func(c *kernels.Config) { c.StartTimeout, c.Meter = time.Second, meter })
	for _, tt := range []struct {
		name     string
		prepare  func()
		farewell string
	}{
		{"launch fails", func() {
			r.world.On("launch", func(context.Context, string) error { return errors.New("no space left") })
		}, ""},
		{"launch takes too long", func() { r.block("launch") }, ""},
		{"kernel never answers", func() { r.block("ready") }, "The kernel did not answer within 1 s and was shut down."},
		{"kernel dies again and again", func() {
			r.world.On("ready", func(_ context.Context, handle string) error {
				r.world.KillKernel(handle)
				return nil
			})
		}, "The kernel died 6 times in a row and was not started again, the last time: " +
			"killed by signal 9, which is also what happens when memory runs out."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := meter.failed.Load()
			tt.prepare()
			k := r.start(g, alice)
			r.gone(k)
			r.world.On("launch", nil)
			r.world.On("ready", nil)
			if got := r.world.Farewell(k.Handle); got != tt.farewell {
				t.Errorf("clients read %q", got)
			}
			r.eventually("counted", func() bool { return meter.failed.Load() == before+1 })
			_, err := g.Get(r.ctx, alice, k.ID)
			wantKind(t, err, kernels.ErrNotFound)
		})
	}
}

func TestStopDuringStart(t *testing.T) {
	for _, verb := range []string{"launch", "ready"} {
		for _, other := range []bool{false, true} {
			name := verb
			if other {
				name += " by another gateway"
			}
			t.Run(name, func(t *testing.T) {
				r := newRig(t)
				g, stopper := r.gateway(), gateway{}
				if stopper = g; other {
					stopper = r.gateway()
				}
				entered, _ := r.block(verb)
				k := r.start(g, alice)
				receive(t, entered)
				if err := stopper.Stop(r.ctx, alice, k.ID); err != nil {
					t.Fatal(err)
				}
				r.gone(k)
				wantKind(t, stopper.Stop(r.ctx, alice, k.ID), kernels.ErrNotFound)
			})
		}
	}
}

func TestStopOfAQueuedStart(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	entered, release := r.block("launch")
	for range 8 {
		r.start(g, alice)
		receive(t, entered)
	}
	waiting := r.start(g, alice)
	if err := g.Stop(r.ctx, alice, waiting.ID); err != nil {
		t.Fatal(err)
	}
	last := r.start(g, alice)
	release()
	r.runs(last, 1) // whoever was before it in the queue has had its turn
	if r.world.Calls("launch", waiting.Handle) != 0 {
		t.Error("the stopped start was launched")
	}
	r.gone(waiting)
}

func TestTwoStopsAtOnce(t *testing.T) {
	r := newRig(t)
	a, b := r.gateway(), r.gateway()
	k := r.started(a, alice)
	first := async(func() error { return a.Stop(r.ctx, alice, k.ID) })
	second := async(func() error { return b.Stop(r.ctx, alice, k.ID) })
	one, two := receive(t, first), receive(t, second)
	if one != nil {
		one, two = two, one
	}
	if one != nil || !errors.Is(two, kernels.ErrNotFound) {
		t.Errorf("got %v and %v", one, two)
	}
	r.goneWith(k, "Shut down by its owner.")
}

func TestStopGoesOnWithoutItsCaller(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	k := r.started(g, alice)
	entered, release := r.block("remove")
	ctx, cancel := context.WithCancel(r.ctx)
	stopped := async(func() error { return g.Stop(ctx, alice, k.ID) })
	receive(t, entered)
	cancel()
	release()
	if err := receive(t, stopped); err != nil {
		t.Error(err)
	}
	r.gone(k)
}
