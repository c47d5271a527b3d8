package kernelstest

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cellblock.io/cellblock/kernels"
)

func sessions(t *testing.T, s Store) {
	k := hold(t, s, "alice", 1)
	want := []kernels.Session{
		{ID: ID(12), Owner: "alice", Path: "a.ipynb", Name: "a", Type: "notebook", KernelID: k.ID},
		{ID: ID(11), Owner: "alice", Path: "b é.ipynb", Name: "", Type: "console", KernelID: k.ID},
	}
	for _, v := range want {
		if err := s.PutSession(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := s.Sessions(t.Context(), "alice"); err != nil || !slices.Equal(all, want) {
		t.Errorf("sessions: %v, %v", all, err)
	}
	moved := want[0]
	moved.Path, moved.Name = "c.ipynb", "c"
	if err := s.PutSession(t.Context(), moved); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Session(t.Context(), "alice", moved.ID); err != nil || got != moved {
		t.Errorf("replaced: %+v, %v", got, err)
	}
	for owner, id := range map[kernels.Owner]string{"bob": moved.ID, "alice": ID(99), "": moved.ID} {
		_, err := s.Session(t.Context(), owner, id)
		isNot(t, fmt.Sprintf("session %q of %q", id, owner), err, kernels.ErrNotFound)
		isNot(t, fmt.Sprintf("delete %q of %q", id, owner), s.DeleteSession(t.Context(), owner, id), kernels.ErrNotFound)
	}
	if err := s.DeleteSession(t.Context(), "alice", moved.ID); err != nil {
		t.Errorf("delete: %v", err)
	}
	isNot(t, "delete again", s.DeleteSession(t.Context(), "alice", moved.ID), kernels.ErrNotFound)
	if all, err := s.Sessions(t.Context(), "alice"); err != nil || !slices.Equal(all, want[1:]) {
		t.Errorf("left: %v, %v", all, err)
	}
	if all, err := s.Sessions(t.Context(), "bob"); err != nil || len(all) != 0 {
		t.Errorf("bob's: %v, %v", all, err)
	}
}

func sessionsGo(t *testing.T, s Store) {
	a, b, other := hold(t, s, "alice", 1), hold(t, s, "alice", 2), hold(t, s, "bob", 1)
	put := func(owner kernels.Owner, n int, kernel string) kernels.Session {
		t.Helper()
		v := kernels.Session{ID: ID(n), Owner: owner, Path: fmt.Sprint(n), KernelID: kernel}
		if err := s.PutSession(t.Context(), v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	put("alice", 11, a.ID)
	put("alice", 12, a.ID)
	stays := []kernels.Session{put("alice", 13, b.ID)}
	bobs := []kernels.Session{put("bob", 11, other.ID)} // the same ids, another owner's
	if err := s.Release(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if all, err := s.Sessions(t.Context(), "alice"); err != nil || !slices.Equal(all, stays) {
		t.Errorf("alice's: %v, %v", all, err)
	}
	if all, err := s.Sessions(t.Context(), "bob"); err != nil || !slices.Equal(all, bobs) {
		t.Errorf("bob's: %v, %v", all, err)
	}
}

func sessionNeedsKernel(t *testing.T, s Store) {
	k := hold(t, s, "alice", 1)
	v := kernels.Session{ID: ID(11), Owner: "alice", KernelID: k.ID}
	if err := s.Release(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	isNot(t, "a session of a released kernel", s.PutSession(t.Context(), v), kernels.ErrNotFound)
	v.KernelID = hold(t, s, "bob", 2).ID
	isNot(t, "a session of another owner's kernel", s.PutSession(t.Context(), v), kernels.ErrNotFound)
	if all, err := s.Sessions(t.Context(), "alice"); err != nil || len(all) != 0 {
		t.Errorf("left: %v, %v", all, err)
	}
	v.Owner = "Bob"
	isNot(t, "a session of nobody", s.PutSession(t.Context(), v), kernels.ErrInvalid)
	v.Owner, v.ID = "bob", "x"
	isNot(t, "a session with a bad id", s.PutSession(t.Context(), v), kernels.ErrInvalid)
}

func userIDs(t *testing.T, s Store) {
	const owners = 20
	var got [owners][2]int
	var wg sync.WaitGroup
	for n := range 2 * owners {
		wg.Go(func() {
			id, err := s.UID(t.Context(), kernels.Owner(fmt.Sprintf("owner%d", n/2)))
			if err != nil {
				t.Error(err)
			}
			got[n/2][n%2] = id
		})
	}
	wg.Wait()
	seen := map[int]bool{}
	for n, ids := range got {
		if ids[0] != ids[1] {
			t.Errorf("owner%d has %d and %d", n, ids[0], ids[1])
		}
		if seen[ids[0]] {
			t.Errorf("%d was given twice", ids[0])
		}
		seen[ids[0]] = true
	}
	_, err := s.UID(t.Context(), "Not An Owner")
	isNot(t, "a user id for nobody", err, kernels.ErrInvalid)
}

// acquire is Acquire without errors.
func acquire(t *testing.T, s Store, name, holder string, ttl time.Duration) bool {
	t.Helper()
	has, err := s.Acquire(t.Context(), name, holder, ttl)
	if err != nil {
		t.Fatalf("acquire %s: %v", name, err)
	}
	return has
}

func leases(t *testing.T, s Store) {
	for _, what := range []string{"a free lease", "its renewal"} {
		if !acquire(t, s, "cull", "a", time.Hour) {
			t.Errorf("%s was refused", what)
		}
	}
	if acquire(t, s, "cull", "b", time.Hour) {
		t.Error("two holders")
	}
	if !acquire(t, s, "watch", "b", time.Hour) {
		t.Error("another lease was refused")
	}
	give := func(holder string) {
		t.Helper()
		if err := s.Give(t.Context(), "cull", holder); err != nil {
			t.Fatalf("give: %v", err)
		}
	}
	give("b")
	if acquire(t, s, "cull", "b", time.Hour) {
		t.Error("one who does not hold it gave it away")
	}
	give("a")
	give("a")
	if !acquire(t, s, "cull", "b", 20*time.Millisecond) {
		t.Error("a lease given back was refused")
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for !acquire(t, s, "cull", "a", time.Hour) {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("the lease does not expire")
		}
	}
	for _, bad := range []struct {
		name, holder string
		ttl          time.Duration
	}{{"", "a", time.Hour}, {"cull", "", time.Hour}, {"cull", "a", 0}, {"cull:x", "a", time.Hour}} {
		_, err := s.Acquire(t.Context(), bad.name, bad.holder, bad.ttl)
		isNot(t, fmt.Sprintf("acquire %+v", bad), err, kernels.ErrInvalid)
	}
}

func leasesContended(t *testing.T, s Store) {
	var holders atomic.Int32
	var wg sync.WaitGroup
	for n := range 30 {
		wg.Go(func() {
			has, err := s.Acquire(t.Context(), "cull", fmt.Sprint(n), time.Hour)
			if err != nil {
				t.Error(err)
			}
			if has {
				holders.Add(1)
			}
		})
	}
	wg.Wait()
	if n := holders.Load(); n != 1 {
		t.Errorf("%d holders", n)
	}
}
