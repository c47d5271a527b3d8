package redisstore_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/kernels/kernelstest"
)

func ended(owner kernels.Owner, n int, ago time.Duration) kernels.Ended {
	at := time.Now().UTC().Truncate(time.Millisecond).Add(-ago)
	return kernels.Ended{ID: kernelstest.ID(n), Owner: owner, Spec: "python3", Reason: fmt.Sprintf("End %d.", n), Born: at.Add(-time.Hour), At: at}
}

func TestHistory(t *testing.T) {
	s, inst := open(t)
	a, b, old := ended("alice", 1, time.Minute), ended("bob", 2, time.Hour), ended("bob", 3, 25*time.Hour)
	for _, e := range []kernels.Ended{b, a, old} {
		if err := s.Remember(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.Recall(t.Context(), "alice", a.ID); err != nil || got != a {
		t.Errorf("recalled %+v, %v", got, err)
	}
	for owner, id := range map[kernels.Owner]string{"bob": a.ID, "alice": b.ID, "": a.ID, "carol": a.ID} {
		if _, err := s.Recall(t.Context(), owner, id); !errors.Is(err, kernels.ErrNotFound) {
			t.Errorf("%q recalls %s: %v", owner, id, err)
		}
	}
	if _, err := s.Recall(t.Context(), "bob", old.ID); !errors.Is(err, kernels.ErrNotFound) {
		t.Errorf("recalled after a day: %v", err)
	}
	if all, err := s.Recollect(t.Context(), ""); err != nil || !slices.Equal(all, []kernels.Ended{a, b}) {
		t.Errorf("everybody's: %+v, %v", all, err)
	}
	if all, err := s.Recollect(t.Context(), "bob"); err != nil || !slices.Equal(all, []kernels.Ended{b}) {
		t.Errorf("bob's: %+v, %v", all, err)
	}
	if ttl := inst.Admin.TTL(t.Context(), "cellblock:ended:alice").Val(); ttl < 23*time.Hour || ttl > 24*time.Hour {
		t.Errorf("kept for %v", ttl)
	}
	if err := s.Remember(t.Context(), kernels.Ended{Owner: "A", ID: a.ID}); !errors.Is(err, kernels.ErrNotFound) {
		t.Errorf("nobody's end: %v", err)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	s, inst := open(t)
	for n := range 105 {
		if err := s.Remember(t.Context(), ended("alice", n, time.Duration(200-n)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	all, err := s.Recollect(t.Context(), "alice")
	if err != nil || len(all) != 100 || all[0].ID != kernelstest.ID(104) || all[99].ID != kernelstest.ID(5) {
		t.Errorf("%d ends, %v", len(all), err)
	}
	inst.Client.Del(t.Context(), "cellblock:ended:alice") // as time does
	if all, err := s.Recollect(t.Context(), ""); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
	if got := keys(t, inst.Admin); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}
