package auth_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"cellblock.io/cellblock/auth"
	signing "cellblock.io/cellblock/internal/secret"
)

// place is one value in Redis: a field of a hash.
type place struct{ key, field string }

// signed are the values on which alice's token and session hang, all of which are signed.
func (w *world) signed(t *testing.T) []place {
	t.Helper()
	places := []place{{"cellblock:users", "alice"}}
	for _, key := range w.keys(t, "cellblock:token:*") {
		for _, field := range []string{"user", "hash", "expires", "signature"} {
			places = append(places, place{key, field})
		}
	}
	for _, key := range w.keys(t, "cellblock:login:*") {
		for _, field := range []string{"user", "token", "claimed", "deadline", "since", "signature"} {
			places = append(places, place{key, field})
		}
	}
	return places
}

func (w *world) get(t *testing.T, p place) string {
	t.Helper()
	text, err := w.client().HGet(t.Context(), p.key, p.field).Result()
	if err != nil {
		t.Fatalf("%v: %v", p, err)
	}
	return text
}

func (w *world) put(t *testing.T, p place, text string) {
	t.Helper()
	if err := w.client().HSet(t.Context(), p.key, p.field, text).Err(); err != nil {
		t.Fatal(err)
	}
}

// TestFlippedBytes: whichever byte of what is signed changes, it is as good as absent.
func TestFlippedBytes(t *testing.T) {
	w := open(t)
	raw, id := w.token(t, "alice", time.Hour)
	session := w.login(t, raw)
	want := auth.Identity{Name: "alice", Role: auth.RoleUser, Token: id}
	flips := 0
	for _, p := range w.signed(t) {
		good := w.get(t, p)
		whole, err := w.client().HGetAll(t.Context(), p.key).Result()
		if err != nil {
			t.Fatal(err)
		}
		for i := range max(1, len(good)) {
			bad := []byte(good + "x")
			if len(good) > 0 {
				bad = []byte(good)
				bad[i] ^= 1
			}
			w.put(t, p, string(bad))
			byToken, errToken := w.Verify(t.Context(), raw)
			bySession, errSession := w.Session(t.Context(), session)
			if errToken == nil && errSession == nil || errToken == nil && byToken != want || errSession == nil && bySession != want {
				t.Errorf("%v with byte %d changed: %+v %+v", p, i, byToken, bySession)
			}
			if err := w.client().HSet(t.Context(), p.key, whole).Err(); err != nil { // all of it: a session may have been removed
				t.Fatal(err)
			}
			flips++
		}
	}
	if flips < 400 {
		t.Errorf("only %d bytes were changed", flips)
	}
	got, err := w.Session(t.Context(), session)
	admits(t, "what was there before", got, err, want)
}

// TestSwappedRecords: one user's records are nothing in another's place.
func TestSwappedRecords(t *testing.T) {
	w := open(t)
	alices, aliceID := w.token(t, "alice", 0)
	_, rootID := w.token(t, "root", 0)
	for _, swap := range [][2]place{
		{{"cellblock:users", "alice"}, {"cellblock:users", "root"}},
		{{"cellblock:token:" + aliceID, "user"}, {"cellblock:token:" + rootID, "user"}},
	} {
		hers, roots := w.get(t, swap[0]), w.get(t, swap[1])
		w.put(t, swap[0], roots)
		w.put(t, swap[1], hers)
		got, err := w.Verify(t.Context(), alices)
		refuses(t, fmt.Sprint(swap), got, err)
		w.put(t, swap[0], hers)
		w.put(t, swap[1], roots)
	}
	roots, err := w.client().HGetAll(t.Context(), "cellblock:token:"+rootID).Result()
	if err != nil {
		t.Fatal(err)
	}
	hash := w.get(t, place{"cellblock:token:" + aliceID, "hash"})
	roots["hash"] = hash // the administrator's record, for a token that alice knows
	if err := w.client().HSet(t.Context(), "cellblock:token:"+aliceID, roots).Err(); err != nil {
		t.Fatal(err)
	}
	got, err := w.Verify(t.Context(), alices)
	refuses(t, "the administrator's record with her hash", got, err)
}

// TestForgedRecords: who may write anything, but has not the key, makes nobody anything.
func TestForgedRecords(t *testing.T) {
	w := open(t)
	raw := "cbk_" + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	sum := sha256.Sum256([]byte(raw))
	hash := hex.EncodeToString(sum[:])
	const user = `{"name":"mallory","admin":true,"created":"2026-01-02T03:04:05Z"}`
	key, since := "cellblock:token:"+hash[:24], "2026-01-02T03:04:05Z"
	for name, k := range map[string]signing.Key{"the right key": w.key, "another key": signing.New(), "no key": {}} {
		w.put(t, place{"cellblock:users", "mallory"}, k.Sign("cellblock:users", "mallory", user)+user)
		for field, value := range map[string]string{
			"user": "mallory", "hash": hash, "created": "1", "signature": k.Sign(key, hash, "mallory", since, ""),
		} {
			w.put(t, place{key, field}, value)
		}
		id, err := w.Verify(t.Context(), raw)
		if name == "the right key" { // so the forgery lacks nothing but the key
			admits(t, name, id, err, auth.Identity{Name: "mallory", Role: auth.RoleAdmin, Token: hash[:24]})
		} else {
			refuses(t, name, id, err)
		}
	}
}

// TestReplayedRecords: what belonged to a user who was removed does not serve the next one of that name.
func TestReplayedRecords(t *testing.T) {
	w := open(t)
	raw, _ := w.token(t, "alice", 0)
	session := w.login(t, raw)
	kept := map[place]string{}
	for _, p := range w.signed(t) {
		if p.field != "expires" { // it has none
			kept[p] = w.get(t, p)
		}
	}
	delete(kept, place{"cellblock:users", "alice"})
	if err := w.RemoveUser(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(time.Second)
	if err := w.AddUser(context.Background(), auth.User{Name: "alice", Admin: true}); err != nil {
		t.Fatal(err)
	}
	for p, text := range kept {
		w.put(t, p, text)
	}
	id, err := w.Verify(t.Context(), raw)
	refuses(t, "the former alice's token", id, err)
	id, err = w.Session(t.Context(), session)
	refuses(t, "the former alice's session", id, err)
}
