package auth_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"cellblock.io/cellblock/auth"
)

func TestLogin(t *testing.T) {
	w := open(t)
	raw, tokID := w.token(t, "root", 0)
	want := auth.Identity{Name: "root", Role: auth.RoleAdmin, Token: tokID}
	session, id, err := w.Login(t.Context(), raw)
	admits(t, "login", id, err, want)
	id, err = w.Session(t.Context(), session)
	admits(t, "session", id, err, want)
	if len(session) != 43 {
		t.Errorf("session id %q", session)
	}
	if second := w.login(t, raw); second == session {
		t.Error("the same session id twice")
	}
	for range 2 {
		if err := w.Logout(t.Context(), session); err != nil {
			t.Errorf("logout: %v", err)
		}
	}
	id, err = w.Session(t.Context(), session)
	refuses(t, "after the logout", id, err)
}

func TestWrongSessions(t *testing.T) {
	w := open(t)
	raw, _ := w.token(t, "alice", 0)
	session := w.login(t, raw)
	for _, bad := range []string{"", raw, session + "=", session[1:], session + "A", strings.Repeat("A", 43), strings.Repeat("A", 1<<20), "*", session + "\n"} {
		id, err := w.Session(t.Context(), bad)
		refuses(t, bad[:min(len(bad), 60)], id, err)
		if err := w.Logout(t.Context(), bad); err != nil {
			t.Errorf("logout: %v", err)
		}
	}
	id, err := w.Verify(t.Context(), session) // a session is no token
	refuses(t, "a session id as a token", id, err)
	for _, bad := range []string{"", "cbk_x", session, strings.Repeat("x", 10000)} {
		got, id, err := w.Login(t.Context(), bad)
		refuses(t, "login", id, err)
		if got != "" {
			t.Errorf("session %q", got)
		}
	}
	if n := len(w.keys(t, "cellblock:login:*")); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

func TestSessionsEndWithTheirToken(t *testing.T) {
	w := open(t)
	raw, id := w.token(t, "alice", 0)
	other, _ := w.token(t, "alice", 0)
	ends := []string{w.login(t, raw), w.login(t, raw)}
	stays := w.login(t, other)
	if err := w.RevokeToken(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for _, s := range ends {
		got, err := w.Session(t.Context(), s)
		refuses(t, "of a revoked token", got, err)
	}
	if _, err := w.Session(t.Context(), stays); err != nil {
		t.Errorf("of another token: %v", err)
	}
	if n := len(w.keys(t, "cellblock:login:*")); n != 1 {
		t.Errorf("%d sessions in Redis", n)
	}

	short, _ := w.token(t, "alice", 100*time.Millisecond)
	session := w.login(t, short)
	until(t, "the session ends with its token", func() bool {
		_, err := w.Session(t.Context(), session)
		return errors.Is(err, auth.ErrInvalidCredential)
	})
	if n := len(w.keys(t, "cellblock:login:*")); n != 1 {
		t.Errorf("%d sessions in Redis", n)
	}
}

// loginTTL is the time that Redis gives the only session.
func loginTTL(t *testing.T, w *world) time.Duration {
	t.Helper()
	keys := w.keys(t, "cellblock:login:*")
	if len(keys) != 1 {
		t.Fatalf("sessions: %v", keys)
	}
	return w.client().PTTL(t.Context(), keys[0]).Val()
}

func TestSessionSlidesUpToItsMaximum(t *testing.T) {
	const ttl, longest = 10 * time.Minute, time.Hour
	w := open(t, func(c *auth.Config) { c.SessionTTL, c.SessionMax = ttl, longest })
	raw, _ := w.token(t, "alice", 0)
	session := w.login(t, raw)
	near := func(want time.Duration) {
		t.Helper()
		if got := loginTTL(t, w); got > want || got < want-10*time.Second {
			t.Errorf("Redis gives it %s, want %s", got, want)
		}
	}
	near(ttl)
	// As if nine minutes had gone in Redis.
	key := w.keys(t, "cellblock:login:*")[0]
	w.client().PExpire(t.Context(), key, time.Minute)
	if _, err := w.Session(t.Context(), session); err != nil {
		t.Fatal(err)
	}
	near(ttl)
	// A use shortly after is not written.
	w.client().PExpire(t.Context(), key, ttl-30*time.Second)
	if _, err := w.Session(t.Context(), session); err != nil {
		t.Fatal(err)
	}
	near(ttl - 30*time.Second)
	// Near its absolute end it gets what is left of it, and then it ends, even when Redis still has it.
	w.clock.advance(longest - 2*time.Minute)
	w.client().PExpire(t.Context(), key, time.Second)
	if _, err := w.Session(t.Context(), session); err != nil {
		t.Fatal(err)
	}
	near(2 * time.Minute)
	w.clock.advance(2 * time.Minute)
	id, err := w.Session(t.Context(), session)
	refuses(t, "after its maximum", id, err)
	if left := w.keys(t, "cellblock:login:*"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestUnusedSessionEnds(t *testing.T) {
	w := open(t, func(c *auth.Config) { c.SessionTTL, c.SessionMax = 60*time.Millisecond, 200*time.Millisecond })
	raw, _ := w.token(t, "alice", 0)
	session := w.login(t, raw)
	until(t, "nothing of the session is left", func() bool { return len(w.keys(t, "cellblock:login*")) == 0 })
	id, err := w.Session(t.Context(), session)
	refuses(t, "an unused session", id, err)
}

func TestSessionsOfOneUserAreBounded(t *testing.T) {
	w := open(t)
	raw, _ := w.token(t, "alice", 0)
	first := w.login(t, raw)
	last := first
	for range 50 {
		w.clock.advance(time.Millisecond)
		last = w.login(t, raw)
	}
	if n := len(w.keys(t, "cellblock:login:*")); n != 50 {
		t.Errorf("%d sessions", n)
	}
	id, err := w.Session(t.Context(), first)
	refuses(t, "the oldest", id, err)
	if _, err := w.Session(t.Context(), last); err != nil {
		t.Errorf("the newest: %v", err)
	}
}

// TestLogoutWinsAgainstRequestsUnderWay: none of them brings the session back.
func TestLogoutWinsAgainstRequestsUnderWay(t *testing.T) {
	w := open(t)
	raw, _ := w.token(t, "alice", 0)
	for range 20 {
		session := w.login(t, raw)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { w.Session(t.Context(), session) })
		}
		if err := w.Logout(t.Context(), session); err != nil {
			t.Error(err)
		}
		wg.Wait()
		id, err := w.Session(t.Context(), session)
		refuses(t, "after the logout", id, err)
	}
	if left := w.keys(t, "cellblock:login*"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// TestPoisonedSessions: a session's record without all its parts is none.
func TestPoisonedSessions(t *testing.T) {
	w := open(t)
	raw, _ := w.token(t, "alice", 0)
	session := w.login(t, raw)
	key := w.keys(t, "cellblock:login:*")[0]
	good := w.client().HGetAll(t.Context(), key).Val()
	for field, values := range map[string][]string{
		"user": {"", "nobody", "Root", "*"}, "token": {strings.Repeat("0", 24), "x"}, "deadline": {"", "x", "-1", "nan"}, "claimed": {""},
	} {
		for _, value := range values {
			w.client().Del(t.Context(), key)
			w.client().HSet(t.Context(), key, good)
			if value == "" {
				w.client().HDel(t.Context(), key, field)
			} else {
				w.client().HSet(t.Context(), key, field, value)
			}
			id, err := w.Session(t.Context(), session)
			refuses(t, field+" "+value, id, err)
		}
	}
}

func TestRedisAway(t *testing.T) {
	w := open(t)
	raw, tokID := w.token(t, "root", 0)
	session := w.login(t, raw)
	w.redis.Stop()
	ctx := t.Context()
	verified, errVerify := w.Verify(ctx, raw)
	_, loggedIn, errLogin := w.Login(ctx, raw)
	known, errSession := w.Session(ctx, session)
	if (verified != auth.Identity{}) || (loggedIn != auth.Identity{}) || (known != auth.Identity{}) {
		t.Errorf("somebody was let in: %+v %+v %+v", verified, loggedIn, known)
	}
	_, errUser := w.User(ctx, "alice")
	_, errUsers := w.Users(ctx)
	_, errTokens := w.Tokens(ctx, "alice")
	_, errAll := w.Tokens(ctx, "")
	_, _, errCreate := w.CreateToken(ctx, "alice", auth.TokenOptions{})
	for what, err := range map[string]error{
		"verify": errVerify, "login": errLogin, "session": errSession, "user": errUser, "users": errUsers, "tokens": errTokens,
		"all": errAll, "create": errCreate, "logout": w.Logout(ctx, session), "revoke": w.RevokeToken(ctx, tokID),
		"add": w.AddUser(ctx, auth.User{Name: "bob"}), "remove": w.RemoveUser(ctx, "alice"),
	} {
		if !errors.Is(err, auth.ErrUnavailable) || errors.Is(err, auth.ErrInvalidCredential) || errors.Is(err, auth.ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
		if err != nil && (strings.Contains(err.Error(), raw) || strings.Contains(err.Error(), session)) {
			t.Errorf("%s: the error holds a secret: %v", what, err)
		}
	}
}

// TestRedisEmptied: what Redis forgets is refused.
func TestRedisEmptied(t *testing.T) {
	w := open(t)
	raw, _ := w.token(t, "root", 0)
	session := w.login(t, raw)
	if err := w.client().FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	id, err := w.Verify(t.Context(), raw)
	refuses(t, "token", id, err)
	id, err = w.Session(t.Context(), session)
	refuses(t, "session", id, err)
}
