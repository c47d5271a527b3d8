package redisstore_test

import (
	"errors"
	"strings"
	"testing"

	"cellblock.io/cellblock/internal/redisserver/redistest"
	"cellblock.io/cellblock/internal/secret"
	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/kernels/kernelstest"
	"cellblock.io/cellblock/kernels/redisstore"
)

// get and put are what somebody does who may read and write Redis.
func get(t *testing.T, inst *redistest.Instance, hash, field string) string {
	t.Helper()
	text, err := inst.Admin.HGet(t.Context(), hash, field).Result()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func put(t *testing.T, inst *redistest.Instance, hash, field, text string) {
	t.Helper()
	if err := inst.Admin.HSet(t.Context(), hash, field, text).Err(); err != nil {
		t.Fatal(err)
	}
}

// TestFlippedBytes: whichever byte of a value changes, it is absent, and a record makes room for the real one. A quota
// is an error: it may have been smaller than the default.
func TestFlippedBytes(t *testing.T) {
	s, inst := open(t)
	r := record("alice", 1)
	reserve(t, s, r)
	v := kernels.Session{ID: kernelstest.ID(2), Owner: "alice", Path: "a.ipynb", KernelID: r.ID}
	if err := s.PutSession(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	if err := s.SetQuota(t.Context(), "alice", kernels.Quota{MaxKernels: 1}); err != nil {
		t.Fatal(err)
	}
	flip := func(hash, field string, check func()) {
		good := get(t, inst, hash, field)
		for i := range len(good) {
			bad := []byte(good)
			bad[i] ^= 1
			put(t, inst, hash, field, string(bad))
			check()
			if t.Failed() {
				t.Fatalf("byte %d of %s in %s", i, field, hash)
			}
			put(t, inst, hash, field, good)
		}
	}
	flip("cellblock:quotas", "alice", func() {
		if q, err := s.Quota(t.Context(), "alice"); err == nil {
			t.Errorf("quota %+v", q)
		}
	})
	flip("cellblock:sessions:alice", v.ID, func() {
		if got, err := s.Session(t.Context(), "alice", v.ID); !errors.Is(err, kernels.ErrNotFound) {
			t.Errorf("session %+v, %v", got, err)
		}
	})
	flip("cellblock:kernels:alice", r.ID, func() {
		if got, err := s.Record(t.Context(), "alice", r.ID); !errors.Is(err, kernels.ErrNotFound) {
			t.Errorf("record %+v, %v", got, err)
		}
		if err := s.Reserve(t.Context(), r, kernels.Quota{MaxKernels: 1}); err != nil {
			t.Errorf("reserve in its place: %v", err)
		}
	})
}

// TestForeignRecords: nothing that another place, another key or no key at all has written leads to another's kernel.
func TestForeignRecords(t *testing.T) {
	s, inst := open(t)
	bobs := record("bob", 7)
	reserve(t, s, bobs)
	text := get(t, inst, "cellblock:kernels:bob", bobs.ID)
	json := text[secret.SignatureLength:]
	hers := strings.Replace(json, `"owner":"bob"`, `"owner":"alice"`, 1)
	for name, value := range map[string]string{
		"a copy":         text,
		"renamed":        text[:secret.SignatureLength] + hers,
		"not signed":     hers,
		"of another key": secret.New().Sign("cellblock:kernels:alice", bobs.ID, hers) + hers,
		"of no key":      secret.Key{}.Sign("cellblock:kernels:alice", bobs.ID, hers) + hers,
		"another place":  key.Sign("cellblock:kernels:bob", bobs.ID, hers) + hers,
	} {
		put(t, inst, "cellblock:kernels:alice", bobs.ID, value)
		if all, err := s.Records(t.Context(), "alice"); err != nil || len(all) != 0 {
			t.Errorf("%s: %+v, %v", name, all, err)
		}
	}
	put(t, inst, "cellblock:kernels:alice", bobs.ID, key.Sign("cellblock:kernels:alice", bobs.ID, hers)+hers)
	if all, err := s.Records(t.Context(), "alice"); err != nil || len(all) != 1 || all[0].Handle != bobs.Handle {
		t.Errorf("the forgeries lack more than the key: %+v, %v", all, err)
	}
}

// TestWithoutKey: a store that was given none believes nothing.
func TestWithoutKey(t *testing.T) {
	inst := redistest.Start(t)
	s := redisstore.New(redisstore.Config{Client: inst.Client})
	reserve(t, s, record("alice", 1))
	if all, err := s.Records(t.Context(), "alice"); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
}

// TestForgettingLeavesNothing: garbage goes when it is met, and its owner from the list with it.
func TestForgettingLeavesNothing(t *testing.T) {
	s, inst := open(t)
	r := record("alice", 1)
	put(t, inst, "cellblock:kernels:alice", r.ID, "garbage")
	if err := inst.Admin.SAdd(t.Context(), "cellblock:owners", "alice").Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Record(t.Context(), "alice", r.ID); !errors.Is(err, kernels.ErrNotFound) {
		t.Errorf("garbage: %v", err)
	}
	if got := keys(t, inst.Admin); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}
