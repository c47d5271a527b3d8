package kernelstest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"cellblock.io/cellblock/kernels"
)

// patience is how long the suites wait for what must come.
const patience = 10 * time.Second

// Store is all that a store of this program does.
type Store interface {
	kernels.Store
	kernels.SessionStore
	kernels.Quotas
	kernels.Leases
}

// StoreSuite holds a Store to its contract. newStore returns an empty one, ready for concurrent calls; it may end with
// the test that it is given.
func StoreSuite(t *testing.T, newStore func(t *testing.T) Store) {
	tests := []struct {
		name string
		run  func(t *testing.T, s Store)
	}{
		{"records are kept whole", recordsWhole},
		{"oldest first", oldestFirst},
		{"parallel starts keep the quota", parallelReserve},
		{"an id is its owner's", sameIDTwoOwners},
		{"a reservation repeated", reserveAgain},
		{"names that cannot be", badNames},
		{"release frees the place", releaseFrees},
		{"update after release", updateAfterRelease},
		{"an end is final", endIsFinal},
		{"another handle is another kernel", otherHandle},
		{"sessions", sessions},
		{"sessions go with their kernel", sessionsGo},
		{"a session needs its kernel", sessionNeedsKernel},
		{"user ids", userIDs},
		{"leases", leases},
		{"leases under contention", leasesContended},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, newStore(t)) })
	}
}

// ID makes a kernel or session id from a number.
func ID(n int) string { return fmt.Sprintf("00000000-0000-0000-0000-%012d", n) }

// newRecord is a record of the given owner, the younger the larger n.
func newRecord(owner kernels.Owner, n int) kernels.Record {
	return kernels.Record{
		ID: ID(n), Owner: owner, Handle: fmt.Sprintf("%s-%d", owner, n), Spec: "python3", Phase: kernels.PhaseStarting,
		Created: time.Date(2026, 1, 2, 3, 4, 5, n, time.UTC),
	}
}

// hold reserves a place for a record and returns it.
func hold(t *testing.T, s Store, owner kernels.Owner, n int) kernels.Record {
	t.Helper()
	r := newRecord(owner, n)
	if err := s.Reserve(t.Context(), r, kernels.Quota{MaxKernels: 100}); err != nil {
		t.Fatalf("reserve: %v", err)
	}
	return r
}

func isNot(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func recordsWhole(t *testing.T, s Store) {
	want := hold(t, s, "alice", 1)
	check := func(step string) {
		t.Helper()
		got, err := s.Record(t.Context(), "alice", want.ID)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", step, got, err, want)
		}
	}
	check("reserved")
	want.Phase, want.Reason, want.Deaths, want.Runs = kernels.PhaseRestarting, "died \"badly\": é\x00", 3, 4
	want.Started = want.Created.Add(time.Hour)
	if err := s.Update(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	check("updated")
	for _, owner := range []kernels.Owner{"bob", "", "alice:x", "*"} {
		_, err := s.Record(t.Context(), owner, want.ID)
		isNot(t, fmt.Sprintf("record for owner %q", owner), err, kernels.ErrNotFound)
	}
	for _, id := range []string{ID(2), "", "*"} {
		_, err := s.Record(t.Context(), "alice", id)
		isNot(t, fmt.Sprintf("record with id %q", id), err, kernels.ErrNotFound)
	}
}

func oldestFirst(t *testing.T, s Store) {
	var want []kernels.Record
	for n := range 40 {
		want = append(want, newRecord([]kernels.Owner{"alice", "bob"}[n%2], n))
	}
	for _, i := range []int{1, 0} { // young before old, each half
		for n := len(want) - 1 - i; n >= 0; n -= 2 {
			if err := s.Reserve(t.Context(), want[n], kernels.Quota{MaxKernels: 100}); err != nil {
				t.Fatal(err)
			}
		}
	}
	all, err := s.Records(t.Context(), "")
	if err != nil || !slices.Equal(all, want) {
		t.Errorf("everybody's: %v, %v", all, err)
	}
	alices, err := s.Records(t.Context(), "alice")
	want = slices.DeleteFunc(want, func(r kernels.Record) bool { return r.Owner != "alice" })
	if err != nil || !slices.Equal(alices, want) {
		t.Errorf("alice's: %v, %v", alices, err)
	}
	if none, err := s.Records(t.Context(), "carol"); err != nil || len(none) != 0 {
		t.Errorf("carol's: %v, %v", none, err)
	}
}

func parallelReserve(t *testing.T, s Store) {
	const attempts, limit = 50, 3
	errs := make([]error, attempts)
	var wg sync.WaitGroup
	for n := range attempts {
		wg.Go(func() {
			errs[n] = s.Reserve(t.Context(), newRecord("alice", n), kernels.Quota{MaxKernels: limit})
		})
	}
	wg.Wait()
	granted := 0
	for _, err := range errs {
		var q *kernels.QuotaError
		switch {
		case err == nil:
			granted++
		case !errors.As(err, &q) || !errors.Is(err, kernels.ErrQuota):
			t.Errorf("refused with %v", err)
		case q.Used != limit || q.Limit != limit:
			t.Errorf("refused with %d of %d", q.Used, q.Limit)
		}
	}
	if granted != limit {
		t.Errorf("%d were granted, want %d", granted, limit)
	}
	if all, err := s.Records(t.Context(), "alice"); err != nil || len(all) != limit {
		t.Errorf("%d records, %v", len(all), err)
	}
	var q *kernels.QuotaError
	for _, none := range []int{0, -1} {
		err := s.Reserve(t.Context(), newRecord("bob", 1), kernels.Quota{MaxKernels: none})
		if !errors.As(err, &q) || q.Limit != 0 || q.Used != 0 {
			t.Errorf("a quota of %d: %v", none, err)
		}
	}
	if all, err := s.Records(t.Context(), ""); err != nil || len(all) != limit {
		t.Errorf("a refusal left something: %v, %v", all, err)
	}
}

func sameIDTwoOwners(t *testing.T, s Store) {
	a, b := hold(t, s, "alice", 1), hold(t, s, "bob", 1)
	for _, want := range []kernels.Record{a, b} {
		if got, err := s.Record(t.Context(), want.Owner, want.ID); err != nil || got != want {
			t.Errorf("%s's: %+v, %v", want.Owner, got, err)
		}
	}
	second := a
	second.Handle = "another"
	isNot(t, "the id again", s.Reserve(t.Context(), second, kernels.Quota{MaxKernels: 100}), kernels.ErrExists)
	isNot(t, "the id again, quota full", s.Reserve(t.Context(), second, kernels.Quota{MaxKernels: 1}), kernels.ErrExists)
	if err := s.Release(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Record(t.Context(), "alice", a.ID); err != nil || got != a {
		t.Errorf("alice's after bob's release: %+v, %v", got, err)
	}
}

// reserveAgain: the answer to a reservation may be lost, and then it is asked for again.
func reserveAgain(t *testing.T, s Store) {
	r := hold(t, s, "alice", 1)
	if err := s.Reserve(t.Context(), r, kernels.Quota{MaxKernels: 1}); err != nil {
		t.Errorf("the same reservation again: %v", err)
	}
	if all, err := s.Records(t.Context(), "alice"); err != nil || len(all) != 1 {
		t.Errorf("%d records, %v", len(all), err)
	}
}

func badNames(t *testing.T, s Store) {
	good := newRecord("alice", 1)
	for _, r := range []kernels.Record{
		{ID: good.ID, Owner: "", Handle: "h"}, {ID: good.ID, Owner: "Alice", Handle: "h"},
		{ID: good.ID, Owner: "a:b", Handle: "h"}, {ID: "x", Owner: "alice", Handle: "h"}, {ID: "", Owner: "alice", Handle: "h"},
	} {
		isNot(t, fmt.Sprintf("reserve %q of %q", r.ID, r.Owner), s.Reserve(t.Context(), r, kernels.Quota{MaxKernels: 9}), kernels.ErrInvalid)
		isNot(t, fmt.Sprintf("update %q of %q", r.ID, r.Owner), s.Update(t.Context(), r), kernels.ErrNotFound)
		if err := s.Release(t.Context(), r); err != nil {
			t.Errorf("release %q of %q: %v", r.ID, r.Owner, err)
		}
	}
	good.Reason = string(make([]byte, 1<<20))
	isNot(t, "a record of a megabyte", s.Reserve(t.Context(), good, kernels.Quota{MaxKernels: 9}), kernels.ErrInvalid)
}

func releaseFrees(t *testing.T, s Store) {
	one := kernels.Quota{MaxKernels: 1}
	first, second := newRecord("alice", 1), newRecord("alice", 2)
	if err := s.Reserve(t.Context(), first, one); err != nil {
		t.Fatal(err)
	}
	isNot(t, "a second", s.Reserve(t.Context(), second, one), kernels.ErrQuota)
	for range 2 { // the second time there is none
		if err := s.Release(t.Context(), first); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Reserve(t.Context(), second, one); err != nil {
		t.Errorf("after the release: %v", err)
	}
	_, err := s.Record(t.Context(), "alice", first.ID)
	isNot(t, "the released one", err, kernels.ErrNotFound)
}

func updateAfterRelease(t *testing.T, s Store) {
	r := hold(t, s, "alice", 1)
	if err := s.Release(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	isNot(t, "update", s.Update(t.Context(), r), kernels.ErrNotFound)
	if all, err := s.Records(t.Context(), ""); err != nil || len(all) != 0 {
		t.Errorf("an update brought it back: %v, %v", all, err)
	}
}

func endIsFinal(t *testing.T, s Store) {
	r := hold(t, s, "alice", 1)
	r.Phase = kernels.PhaseEnding
	for range 2 {
		if err := s.Update(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		r.Reason = "culled"
	}
	late := r
	late.Phase = kernels.PhaseRunning
	isNot(t, "an update after the end", s.Update(t.Context(), late), kernels.ErrNotFound)
	if got, err := s.Record(t.Context(), "alice", r.ID); err != nil || got != r {
		t.Errorf("%+v, %v; want %+v", got, err, r)
	}
}

// otherHandle: what comes late for a kernel that has gone does not touch the one that has its id now.
func otherHandle(t *testing.T, s Store) {
	old := hold(t, s, "alice", 1)
	if err := s.Release(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	now := newRecord("alice", 1)
	now.Handle = "another"
	if err := s.Reserve(t.Context(), now, kernels.Quota{MaxKernels: 1}); err != nil {
		t.Fatal(err)
	}
	session := kernels.Session{ID: ID(7), Owner: "alice", KernelID: now.ID}
	if err := s.PutSession(t.Context(), session); err != nil {
		t.Fatal(err)
	}
	isNot(t, "a late update", s.Update(t.Context(), old), kernels.ErrNotFound)
	if err := s.Release(t.Context(), old); err != nil {
		t.Errorf("a late release: %v", err)
	}
	if got, err := s.Record(t.Context(), "alice", now.ID); err != nil || got != now {
		t.Errorf("%+v, %v; want %+v", got, err, now)
	}
	if _, err := s.Session(t.Context(), "alice", session.ID); err != nil {
		t.Errorf("its session: %v", err)
	}
}
