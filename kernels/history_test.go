package kernels_test

import (
	"testing"
	"time"

	"cellblock.io/cellblock/kernels"
)

// Whose kernel it was can read why it ended; for all others it never was.
func TestReasonIsReadableAfterTheEnd(t *testing.T) {
	r := newRig(t)
	g := r.gateway(culling)
	culled, stopped, present := r.started(g, alice), r.started(g, alice), r.started(g, alice)
	r.used(culled, 2*time.Hour, kernels.Idle)
	r.gone(culled)
	if err := g.StopFor(r.ctx, alice, stopped.ID, "Shut down by an administrator."); err != nil {
		t.Fatal(err)
	}
	for id, why := range map[string]string{
		culled.ID:  "This kernel was idle for 2 h 0 min and was shut down to free its memory. Run a cell to start a new one.",
		stopped.ID: "Shut down by an administrator.",
	} {
		_, err := g.Get(r.ctx, alice, id)
		wantKind(t, err, kernels.ErrNotFound)
		e, missing := r.store.Recall(r.ctx, alice, id)
		want := "Kernel does not exist: " + id + ". It ended on " + e.At.Format("2 January at 15:04 UTC") + ": " + why
		if got := err.Error(); got != want || missing != nil {
			t.Errorf("alice reads %q, want %q", got, want)
		}
		if _, err := g.Get(r.ctx, bob, id); err != kernels.ErrNotFound {
			t.Errorf("bob reads %v", err)
		}
	}
	if _, err := g.Get(r.ctx, alice, present.ID); err != nil {
		t.Errorf("the one that runs: %v", err)
	}
	all, err := r.store.Recollect(r.ctx, alice)
	if err != nil || len(all) != 2 || all[0].ID != stopped.ID || !all[0].Born.Equal(stopped.Created) {
		t.Errorf("alice's ends: %+v, %v", all, err)
	}
}
