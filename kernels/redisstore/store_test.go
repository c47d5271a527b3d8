package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"cellblock.io/cellblock/internal/redisserver/redistest"
	"cellblock.io/cellblock/internal/secret"
	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/kernels/kernelstest"
	"cellblock.io/cellblock/kernels/redisstore"
)

// key is this installation's.
var key = secret.New()

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) {
	kernelstest.StoreSuite(t, func(t *testing.T) kernelstest.Store {
		return redisstore.New(redisstore.Config{Client: redistest.Start(t).Client, Key: key})
	})
}

// open returns a store with a default quota of 2, and its Redis.
func open(t *testing.T) (*redisstore.Store, *redistest.Instance) {
	t.Helper()
	inst := redistest.Start(t)
	cfg := redisstore.Config{Client: inst.Client, Key: key, DefaultQuota: kernels.Quota{MaxKernels: 2}}
	return redisstore.New(cfg), inst
}

func record(owner kernels.Owner, n int) kernels.Record {
	return kernels.Record{ID: kernelstest.ID(n), Owner: owner, Handle: fmt.Sprintf("h%d", n), Phase: kernels.PhaseRunning}
}

func reserve(t *testing.T, s *redisstore.Store, r kernels.Record) {
	t.Helper()
	if err := s.Reserve(t.Context(), r, kernels.Quota{MaxKernels: 9}); err != nil {
		t.Fatal(err)
	}
}

func keys(t *testing.T, c *redis.Client) []string {
	t.Helper()
	all, err := c.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

func TestNothingIsLeftOfAnOwnerWithoutKernels(t *testing.T) {
	s, inst := open(t)
	for n := range 3 {
		reserve(t, s, record("alice", n))
		if err := s.PutSession(t.Context(), kernels.Session{ID: kernelstest.ID(n), Owner: "alice", KernelID: kernelstest.ID(n)}); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"cellblock:kernels:alice", "cellblock:owners", "cellblock:sessions:alice"}
	if got := keys(t, inst.Admin); !slices.Equal(got, want) {
		t.Errorf("keys %v, want %v", got, want)
	}
	for n := range 3 {
		if err := s.Release(t.Context(), record("alice", n)); err != nil {
			t.Fatal(err)
		}
	}
	if got := keys(t, inst.Admin); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

func TestQuotas(t *testing.T) {
	s, _ := open(t)
	quota := func(want int) {
		t.Helper()
		if q, err := s.Quota(t.Context(), "alice"); err != nil || q.MaxKernels != want {
			t.Errorf("quota %+v, %v; want %d", q, err, want)
		}
	}
	quota(2)
	for _, n := range []int{5, 0} {
		if err := s.SetQuota(t.Context(), "alice", kernels.Quota{MaxKernels: n}); err != nil {
			t.Fatal(err)
		}
		quota(n)
	}
	for range 2 {
		if err := s.ClearQuota(t.Context(), "alice"); err != nil {
			t.Fatal(err)
		}
	}
	quota(2)
	if err := s.SetQuota(t.Context(), "alice", kernels.Quota{MaxKernels: -1}); !errors.Is(err, kernels.ErrInvalid) {
		t.Errorf("a negative quota: %v", err)
	}
	if err := s.SetQuota(t.Context(), "A", kernels.Quota{}); !errors.Is(err, kernels.ErrInvalid) {
		t.Errorf("nobody's quota: %v", err)
	}
}

func TestAPartOfAQuotaIsChanged(t *testing.T) {
	inst := redistest.Start(t)
	s := redisstore.New(redisstore.Config{Client: inst.Client, Key: key, DefaultQuota: kernels.Quota{MaxKernels: 2, Network: "some"}})
	change := func(c kernels.QuotaChange, want kernels.Quota) {
		t.Helper()
		if err := s.ChangeQuota(t.Context(), "alice", c); err != nil {
			t.Error(err)
		}
		if q, err := s.Quota(t.Context(), "alice"); err != nil || q != want {
			t.Errorf("quota %+v, %v; want %+v", q, err, want)
		}
	}
	change(kernels.QuotaChange{}, kernels.Quota{MaxKernels: 2, Network: "some"})
	change(kernels.QuotaChange{Network: new("none")}, kernels.Quota{MaxKernels: 2, Network: "none"})
	change(kernels.QuotaChange{MaxKernels: new(7)}, kernels.Quota{MaxKernels: 7, Network: "none"})
	change(kernels.QuotaChange{Network: new("")}, kernels.Quota{MaxKernels: 7})
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			c := kernels.QuotaChange{MaxKernels: new(n)}
			if n%2 == 0 {
				c = kernels.QuotaChange{Network: new("even")}
			}
			if err := s.ChangeQuota(t.Context(), "bob", c); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if q, err := s.Quota(t.Context(), "bob"); err != nil || q.Network != "even" || q.MaxKernels%2 != 1 {
		t.Errorf("after changes at once: %+v, %v", q, err)
	}
}

// TestUnreadableQuota: it may have been smaller than the default, which is therefore not taken for it.
func TestUnreadableQuota(t *testing.T) {
	s, inst := open(t)
	if err := inst.Client.HSet(t.Context(), "cellblock:quotas", "alice", `{"max_ker`).Err(); err != nil {
		t.Fatal(err)
	}
	if q, err := s.Quota(t.Context(), "alice"); err == nil {
		t.Errorf("quota %+v", q)
	}
}

func TestUIDs(t *testing.T) {
	s, inst := open(t)
	first := make(map[kernels.Owner]int)
	taken := make(map[int]bool)
	for n := range 500 {
		owner := kernels.Owner(fmt.Sprint("user", n))
		id, err := s.UID(t.Context(), owner)
		if err != nil || id < 20000 || id >= 1<<22 || id%2 != 0 || taken[id] {
			t.Fatalf("%s: %d, %v", owner, id, err)
		}
		first[owner], taken[id] = id, true
	}
	if again, err := s.UID(t.Context(), "user7"); err != nil || again != first["user7"] {
		t.Errorf("user7 has %d, then %d, %v", first["user7"], again, err)
	}
	if err := inst.Admin.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if again, err := s.UID(t.Context(), "user400"); err != nil || again != first["user400"] {
		t.Errorf("after Redis lost everything user400 has %d instead of %d, %v", again, first["user400"], err)
	}
}

// Two owners whose names share a place get different ids all the same.
func TestUIDPlaceTaken(t *testing.T) {
	s, inst := open(t)
	id, err := s.UID(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	if err := inst.Client.HDel(t.Context(), "cellblock:uids", "alice").Err(); err != nil {
		t.Fatal(err)
	}
	if next, err := s.UID(t.Context(), "alice"); err != nil || next != id+2 {
		t.Errorf("place %d was taken, got %d, %v", id, next, err)
	}
}

// TestNewerVersions: fields that this version does not know do no harm.
func TestNewerVersions(t *testing.T) {
	s, inst := open(t)
	want := record("alice", 1)
	reserve(t, s, want)
	session := kernels.Session{ID: kernelstest.ID(2), Owner: "alice", KernelID: want.ID}
	if err := s.PutSession(t.Context(), session); err != nil {
		t.Fatal(err)
	}
	for hash, id := range map[string]string{"cellblock:kernels:alice": want.ID, "cellblock:sessions:alice": session.ID} {
		text, err := inst.Client.HGet(t.Context(), hash, id).Result()
		if err != nil {
			t.Fatal(err)
		}
		newer := `{"new_field":{"deep":[1,null]},` + text[secret.SignatureLength+1:]
		if err := inst.Client.HSet(t.Context(), hash, id, key.Sign(hash, id, newer)+newer).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.Record(t.Context(), "alice", want.ID); err != nil || got != want {
		t.Errorf("record %+v, %v", got, err)
	}
	if got, err := s.Session(t.Context(), "alice", session.ID); err != nil || got != session {
		t.Errorf("session %+v, %v", got, err)
	}
	if err := s.Update(t.Context(), want); err != nil {
		t.Errorf("update: %v", err)
	}
	if err := s.Release(t.Context(), want); err != nil {
		t.Errorf("release: %v", err)
	}
	if got := keys(t, inst.Admin); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

// TestPoisonedRecords: what does not read as a record of its place, somebody else's above all, is as good as absent.
func TestPoisonedRecords(t *testing.T) {
	s, inst := open(t)
	good, bobs := record("alice", 1), record("bob", 2)
	reserve(t, s, good)
	reserve(t, s, bobs)
	text, err := inst.Client.HGet(t.Context(), "cellblock:kernels:bob", bobs.ID).Result()
	if err != nil {
		t.Fatal(err)
	}
	poison := map[string]string{
		kernelstest.ID(2): text,                                              // another owner's
		kernelstest.ID(3): strings.Replace(text, `"bob"`, `"alice"`, 1),      // another id's
		kernelstest.ID(4): `{"id":"` + kernelstest.ID(4) + `","owner":"ali`,  // cut
		kernelstest.ID(5): strings.Repeat("[", 5000),                         // deep
		kernelstest.ID(6): "null",                                            //
		kernelstest.ID(7): `{"id":"` + kernelstest.ID(7) + `","owner":{}}`,   // of another type
		kernelstest.ID(8): "\xff\xfe",                                        //
		kernelstest.ID(9): `{"ID":"` + kernelstest.ID(9) + `","Owner":null}`, //
	}
	for id, value := range poison {
		if err := inst.Client.HSet(t.Context(), "cellblock:kernels:alice", id, value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := s.Records(t.Context(), "alice"); err != nil || !slices.Equal(all, []kernels.Record{good}) {
		t.Errorf("records: %v, %v", all, err)
	}
	for id := range poison {
		if r, err := s.Record(t.Context(), "alice", id); !errors.Is(err, kernels.ErrNotFound) {
			t.Errorf("record %+v, %v", r, err)
		}
		r := good
		r.ID = id
		if err := s.Update(t.Context(), r); !errors.Is(err, kernels.ErrNotFound) {
			t.Errorf("update: %v", err)
		}
		r.Handle = "new"
		if err := s.Reserve(t.Context(), r, kernels.Quota{MaxKernels: len(poison) + 1}); err != nil {
			t.Errorf("reserve over it: %v", err)
		}
		if err := s.Release(t.Context(), r); err != nil {
			t.Errorf("release: %v", err)
		}
	}
	if err := s.Release(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	if got := keys(t, inst.Admin); !slices.Equal(got, []string{"cellblock:kernels:bob", "cellblock:owners"}) {
		t.Errorf("left: %v", got)
	}
}

// TestRedisAway: everything says so, and nothing waits longer than it may.
func TestRedisAway(t *testing.T) {
	s, inst := open(t)
	r := record("alice", 1)
	reserve(t, s, r)
	inst.Stop()
	ctx := t.Context()
	_, errRecord := s.Record(ctx, "alice", r.ID)
	_, errRecords := s.Records(ctx, "alice")
	_, errAll := s.Records(ctx, "")
	_, errSession := s.Session(ctx, "alice", r.ID)
	_, errSessions := s.Sessions(ctx, "alice")
	_, errQuota := s.Quota(ctx, "alice")
	_, errUID := s.UID(ctx, "alice")
	has, errAcquire := s.Acquire(ctx, "cull", "a", 1e9)
	if has {
		t.Error("a lease without Redis")
	}
	for what, err := range map[string]error{
		"reserve": s.Reserve(ctx, r, kernels.Quota{MaxKernels: 9}), "update": s.Update(ctx, r), "release": s.Release(ctx, r),
		"put": s.PutSession(ctx, kernels.Session{ID: r.ID, Owner: "alice", KernelID: r.ID}), "delete": s.DeleteSession(ctx, "alice", r.ID),
		"record": errRecord, "records": errRecords, "all": errAll, "session": errSession, "sessions": errSessions,
		"quota": errQuota, "uid": errUID, "acquire": errAcquire, "give": s.Give(ctx, "cull", "a"),
		"set quota": s.SetQuota(ctx, "alice", kernels.Quota{}), "clear quota": s.ClearQuota(ctx, "alice"),
	} {
		if !errors.Is(err, kernels.ErrUnavailable) || errors.Is(err, kernels.ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestContextEnds(t *testing.T) {
	s, _ := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Records(ctx, "alice"); !errors.Is(err, context.Canceled) {
		t.Errorf("records: %v", err)
	}
}

// TestWrongTypes: a key of another type is an error, never an empty answer.
func TestWrongTypes(t *testing.T) {
	_, inst := open(t)
	s := redisstore.New(redisstore.Config{Client: inst.Client, Log: slog.New(slog.DiscardHandler)})
	for _, key := range []string{"cellblock:kernels:alice", "cellblock:owners", "cellblock:quotas"} {
		if err := inst.Client.Set(t.Context(), key, "x", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	_, errOne := s.Records(t.Context(), "alice")
	_, errAll := s.Records(t.Context(), "")
	_, errQuota := s.Quota(t.Context(), "alice")
	errReserve := s.Reserve(t.Context(), record("alice", 1), kernels.Quota{MaxKernels: 9})
	for _, err := range []error{errOne, errAll, errQuota, errReserve} {
		if !errors.Is(err, kernels.ErrUnavailable) {
			t.Errorf("%v", err)
		}
	}
}

// What exists keeps its id when Redis has lost everything, and nobody else gets it.
func TestUIDsClaimed(t *testing.T) {
	s, inst := open(t)
	own, err := s.UID(t.Context(), "bob")
	if err := errors.Join(err, inst.Admin.FlushAll(t.Context()).Err()); err != nil {
		t.Fatal(err)
	}
	// Alice's workspace has the id that bob would get first.
	claims := map[kernels.Owner]int{"alice": own, "odd": own + 1, "root": 0, "Not An Owner": own + 2, "far": 1 << 23}
	if err := s.ClaimUIDs(t.Context(), claims); err != nil {
		t.Fatal(err)
	}
	if id, err := s.UID(t.Context(), "alice"); err != nil || id != own {
		t.Errorf("alice has %d, her workspace %d (%v)", id, own, err)
	}
	if id, err := s.UID(t.Context(), "bob"); err != nil || id == own {
		t.Errorf("bob got %d of alice (%v)", id, err)
	}
	if n := inst.Admin.HLen(t.Context(), "cellblock:uids").Val(); n != 2 {
		t.Errorf("%d owners have ids", n)
	}
	if err := s.ClaimUIDs(t.Context(), map[kernels.Owner]int{"alice": own + 20}); err != nil {
		t.Fatal(err)
	}
	if id, err := s.UID(t.Context(), "alice"); err != nil || id != own {
		t.Errorf("alice has %d now (%v)", id, err)
	}
}
