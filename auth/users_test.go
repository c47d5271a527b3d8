package auth_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"cellblock.io/cellblock/auth"
	signing "cellblock.io/cellblock/internal/secret"
)

func TestUsers(t *testing.T) {
	w := open(t)
	all, err := w.Users(t.Context())
	if err != nil || len(all) != 2 || all[0].Name != "alice" || all[1].Name != "root" {
		t.Fatalf("users %+v, %v", all, err)
	}
	for _, want := range all {
		got, err := w.User(t.Context(), want.Name)
		if err != nil || got != want {
			t.Errorf("user %+v, %v", got, err)
		}
		if want.Admin != (want.Name == "root") || want.Created.Sub(w.clock.Now()).Abs() > time.Second {
			t.Errorf("kept as %+v", want)
		}
	}
	if err := w.AddUser(t.Context(), auth.User{Name: "alice", Admin: true}); !errors.Is(err, auth.ErrExists) {
		t.Errorf("again: %v", err)
	}
	if u, err := w.User(t.Context(), "alice"); err != nil || u.Admin {
		t.Errorf("adding again changed the user: %+v, %v", u, err)
	}
	if err := w.RemoveUser(t.Context(), "alice"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"alice", "nobody", "", "*"} {
		if _, err := w.User(t.Context(), name); !errors.Is(err, auth.ErrNotFound) {
			t.Errorf("user %q: %v", name, err)
		}
		if err := w.RemoveUser(t.Context(), name); !errors.Is(err, auth.ErrNotFound) {
			t.Errorf("remove %q: %v", name, err)
		}
	}
}

func TestUserNames(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "0": true, "alice": true, "a.b_c-d@example.org": true, strings.Repeat("a", 64): true,
		"": false, "Alice": false, "-a": false, ".a": false, "a b": false, "a:b": false, "a/b": false, "é": false, "a\n": false,
		"a\x00": false, "..": false, strings.Repeat("a", 65): false,
	} {
		if got := auth.ValidName(name); got != want {
			t.Errorf("ValidName(%q) is %v", name, got)
		}
	}
	w := open(t)
	if err := w.AddUser(t.Context(), auth.User{Name: "a:b"}); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("a bad name: %v", err)
	}
}

func TestRemovingAUserEndsTokensAndSessions(t *testing.T) {
	w := open(t)
	raw, _ := w.token(t, "alice", 0)
	short, _ := w.token(t, "alice", time.Hour)
	session := w.login(t, raw)
	other, otherID := w.token(t, "root", 0)
	if err := w.RemoveUser(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		for _, r := range []string{raw, short} {
			id, err := w.Verify(t.Context(), r)
			refuses(t, "a removed user's token", id, err)
		}
		id, err := w.Session(t.Context(), session)
		refuses(t, "a removed user's session", id, err)
	}
	check()
	if text := w.dump(t); strings.Contains(text, "alice") {
		t.Errorf("left in Redis:\n%s", text)
	}
	if err := w.AddUser(t.Context(), auth.User{Name: "alice"}); err != nil {
		t.Fatal(err)
	}
	check() // the next alice is another
	id, err := w.Verify(t.Context(), other)
	admits(t, "another user's token", id, err, auth.Identity{Name: "root", Role: auth.RoleAdmin, Token: otherID})
}

// TestPoisonedUsers: a record that does not name its user makes nobody an administrator.
func TestPoisonedUsers(t *testing.T) {
	w := open(t)
	raw, _ := w.token(t, "alice", 0)
	session := w.login(t, raw)
	roots, err := w.client().HGet(t.Context(), "cellblock:users", "root").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, poison := range []string{roots, "", "{", "null", `{"admin":true}`, `[1]`} {
		if err := w.client().HSet(t.Context(), "cellblock:users", "alice", poison).Err(); err != nil {
			t.Fatal(err)
		}
		id, err := w.Verify(t.Context(), raw)
		refuses(t, "token with user record "+poison, id, err)
		id, err = w.Session(t.Context(), session)
		refuses(t, "session with user record "+poison, id, err)
	}
	if all, err := w.Users(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("users %+v, %v", all, err)
	}
}

func TestRoleIsTheUsersPresentOne(t *testing.T) {
	w := open(t)
	raw, id := w.token(t, "alice", 0)
	session := w.login(t, raw)
	check := func(role auth.Role) {
		t.Helper()
		want := auth.Identity{Name: "alice", Role: role, Token: id}
		got, err := w.Verify(t.Context(), raw)
		admits(t, "token", got, err, want)
		got, err = w.Session(t.Context(), session)
		admits(t, "session", got, err, want)
	}
	check(auth.RoleUser)
	u, err := w.User(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	admin := `{"name":"alice","admin":true,"created":"` + u.Created.Format(time.RFC3339) + `","of_a_newer_version":1}`
	if err := w.client().HSet(t.Context(), "cellblock:users", "alice", w.key.Sign("cellblock:users", "alice", admin)+admin).Err(); err != nil {
		t.Fatal(err)
	}
	check(auth.RoleAdmin)
}

func TestNewRefuses(t *testing.T) {
	c, key := open(t).client(), signing.New()
	for name, cfg := range map[string]auth.Config{
		"no Redis":        {Key: key},
		"no key":          {Redis: c},
		"negative TTL":    {Redis: c, Key: key, SessionTTL: -1},
		"max below TTL":   {Redis: c, Key: key, SessionTTL: time.Hour, SessionMax: time.Minute},
		"max of no time":  {Redis: c, Key: key, SessionMax: -1},
		"JWT without any": {Redis: c, Key: key, JWT: auth.JWTConfig{Keys: []auth.JWTKey{{}}}},
	} {
		if _, err := auth.New(cfg); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := auth.New(auth.Config{Redis: c, Key: key, SessionTTL: 1000 * time.Hour}); err != nil {
		t.Errorf("a long TTL alone: %v", err)
	}
}
