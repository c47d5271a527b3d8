package auth_test

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cellblock.io/cellblock/auth"
)

func TestTokens(t *testing.T) {
	w := open(t)
	raw, tok, err := w.CreateToken(t.Context(), "alice", auth.TokenOptions{Name: "laptop é", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^cbk_[A-Za-z0-9_-]{43}$`).MatchString(raw) {
		t.Errorf("form of %q", raw)
	}
	if tok.User != "alice" || tok.Name != "laptop é" || tok.Expires.Sub(tok.Created) != time.Hour || !tok.LastUsed.IsZero() {
		t.Errorf("token %+v", tok)
	}
	if all, err := w.Tokens(t.Context(), "alice"); err != nil || !slices.Equal(all, []auth.Token{tok}) {
		t.Errorf("tokens %+v, %v; want %+v", all, err, tok)
	}
	id, err := w.Verify(t.Context(), raw)
	admits(t, "alice's", id, err, auth.Identity{Name: "alice", Role: auth.RoleUser, Token: tok.ID})
	root, rootID := w.token(t, "root", 0)
	id, err = w.Verify(t.Context(), root)
	admits(t, "root's", id, err, auth.Identity{Name: "root", Role: auth.RoleAdmin, Token: rootID})

	all, err := w.Tokens(t.Context(), "")
	if err != nil || len(all) != 2 || all[0].ID != tok.ID || all[1].ID != rootID || !all[1].Expires.IsZero() {
		t.Errorf("everybody's %+v, %v", all, err)
	}
	if none, err := w.Tokens(t.Context(), "nobody"); err != nil || len(none) != 0 {
		t.Errorf("nobody's %+v, %v", none, err)
	}
	for range 2 {
		seen := map[string]bool{raw: true, root: true}
		next, _ := w.token(t, "alice", 0)
		if seen[next] {
			t.Error("a token twice")
		}
	}
}

// TestRedisHoldsNoSecrets searches all that Redis has for what could be presented.
func TestRedisHoldsNoSecrets(t *testing.T) {
	w := open(t)
	raw, _ := w.token(t, "alice", 0)
	session := w.login(t, raw)
	if _, err := w.Verify(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	text := w.dump(t)
	for _, secret := range []string{raw, strings.TrimPrefix(raw, "cbk_"), session} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in Redis", secret)
		}
	}
	for _, line := range strings.Fields(text) { // nor is anything there a credential itself
		id, err := w.Verify(t.Context(), line)
		refuses(t, line, id, err)
		id, err = w.Verify(t.Context(), "cbk_"+line)
		refuses(t, "cbk_"+line, id, err)
		id, err = w.Session(t.Context(), line)
		refuses(t, "session "+line, id, err)
	}
}

func TestWrongTokens(t *testing.T) {
	w := open(t)
	raw, tokID := w.token(t, "alice", 0)
	secret := strings.TrimPrefix(raw, "cbk_")
	flipped := func(i int) string {
		b := []byte(raw)
		b[i] = map[bool]byte{true: 'B', false: 'A'}[b[i] == 'A']
		return string(b)
	}
	for _, bad := range []string{
		"", "cbk_", secret, "CBK_" + secret, "cbk-" + secret, raw + "=", raw + "A", raw[:len(raw)-1], " " + raw, raw + " ", raw + "\n",
		"token " + raw, "Bearer " + raw, raw + "\x00", strings.ToUpper(raw), "cbk_" + tokID, "cbk_" + strings.Repeat("A", 43),
		"cbk_../../../../../../../../../../dev/null_______", "cbk_" + strings.Repeat("é", 43), "cbk_" + strings.Repeat("*", 43),
		flipped(4), flipped(20), flipped(len(raw) - 1), "cbk_" + strings.Repeat("A", 1<<20),
	} {
		id, err := w.Verify(t.Context(), bad)
		refuses(t, bad[:min(len(bad), 60)], id, err)
		if err != nil && len(bad) > 8 && strings.Contains(err.Error(), bad) {
			t.Errorf("the error holds the token: %v", err)
		}
	}
}

// TestTokenAfterTheLastBits: the last character has two bits that decode to nothing; the token is its text, not its bytes.
func TestTokenAfterTheLastBits(t *testing.T) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	w := open(t)
	raw, _ := w.token(t, "alice", 0)
	last := len(raw) - 1
	admitted := 0
	for _, c := range alphabet {
		if _, err := w.Verify(t.Context(), raw[:last]+string(c)); err == nil {
			admitted++
		}
	}
	if admitted != 1 {
		t.Errorf("%d spellings are admitted", admitted)
	}
}

func TestRevokedToken(t *testing.T) {
	w := open(t)
	raw, id := w.token(t, "alice", 0)
	stays, staysID := w.token(t, "alice", time.Hour)
	if err := w.RevokeToken(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	got, err := w.Verify(t.Context(), raw)
	refuses(t, "revoked", got, err)
	got, err = w.Verify(t.Context(), stays)
	admits(t, "another", got, err, auth.Identity{Name: "alice", Role: auth.RoleUser, Token: staysID})
	for _, bad := range []string{id, "", "*", raw, strings.Repeat("0", 24)} {
		if err := w.RevokeToken(t.Context(), bad); !errors.Is(err, auth.ErrNotFound) {
			t.Errorf("revoke %q: %v", bad, err)
		}
	}
	// The list is now of expiring tokens only, and ends with the last of them.
	if ttl := w.client().PTTL(t.Context(), "cellblock:tokens:alice").Val(); ttl <= 0 || ttl > time.Hour {
		t.Errorf("the list expires in %s", ttl)
	}
	if err := w.RevokeToken(t.Context(), staysID); err != nil {
		t.Fatal(err)
	}
	if left := w.keys(t, "cellblock:token*"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// TestExpiredToken: by Redis, which leaves nothing behind, and by the clock, should Redis be late.
func TestExpiredToken(t *testing.T) {
	w := open(t)
	short, _ := w.token(t, "alice", 50*time.Millisecond)
	until(t, "the token expires", func() bool {
		_, err := w.Verify(t.Context(), short)
		return errors.Is(err, auth.ErrInvalidCredential)
	})
	until(t, "its keys expire", func() bool { return len(w.keys(t, "cellblock:token*")) == 0 })

	raw, _ := w.token(t, "alice", time.Hour)
	w.clock.advance(time.Hour - time.Millisecond)
	if _, err := w.Verify(t.Context(), raw); err != nil {
		t.Errorf("at the last moment: %v", err)
	}
	w.clock.advance(time.Millisecond)
	id, err := w.Verify(t.Context(), raw)
	refuses(t, "expired by the clock", id, err)
	if all, err := w.Tokens(t.Context(), "alice"); err != nil || len(all) != 0 {
		t.Errorf("expired ones are listed: %+v, %v", all, err)
	}
}

func TestLastUse(t *testing.T) {
	w := open(t)
	raw, _ := w.token(t, "alice", 0)
	used := func() time.Time {
		t.Helper()
		if _, err := w.Verify(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
		all, err := w.Tokens(t.Context(), "alice")
		if err != nil || len(all) != 1 {
			t.Fatalf("tokens %+v, %v", all, err)
		}
		return all[0].LastUsed
	}
	first := used()
	if first.Sub(w.clock.Now()).Abs() > time.Millisecond {
		t.Errorf("first use %s", first)
	}
	w.clock.advance(59 * time.Second)
	if again := used(); !again.Equal(first) {
		t.Errorf("written again after 59 s: %s", again)
	}
	w.clock.advance(2 * time.Second)
	if again := used(); again.Sub(first) < time.Minute {
		t.Errorf("not written after 61 s: %s", again)
	}
}

func TestTokenOptions(t *testing.T) {
	w := open(t)
	for name, tt := range map[string]struct {
		user string
		opt  auth.TokenOptions
		want error
	}{
		"no such user":  {"bob", auth.TokenOptions{}, auth.ErrNotFound},
		"no user":       {"", auth.TokenOptions{}, auth.ErrNotFound},
		"bad user":      {"a:b", auth.TokenOptions{}, auth.ErrNotFound},
		"long name":     {"alice", auth.TokenOptions{Name: strings.Repeat("x", 65)}, auth.ErrInvalid},
		"control":       {"alice", auth.TokenOptions{Name: "a\x1b[2J"}, auth.ErrInvalid},
		"not UTF-8":     {"alice", auth.TokenOptions{Name: "a\xff"}, auth.ErrInvalid},
		"negative time": {"alice", auth.TokenOptions{TTL: -time.Hour}, auth.ErrInvalid},
		"no time":       {"alice", auth.TokenOptions{TTL: time.Nanosecond}, auth.ErrInvalid},
		"two centuries": {"alice", auth.TokenOptions{TTL: 200 * 365 * 24 * time.Hour}, auth.ErrInvalid},
	} {
		raw, tok, err := w.CreateToken(t.Context(), tt.user, tt.opt)
		if !errors.Is(err, tt.want) || raw != "" || tok != (auth.Token{}) {
			t.Errorf("%s: %q, %+v, %v", name, raw, tok, err)
		}
	}
	if left := w.keys(t, "cellblock:token*"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestTokensOfOneUserAreBounded(t *testing.T) {
	w := open(t)
	for range 100 {
		w.token(t, "alice", time.Hour)
	}
	if _, _, err := w.CreateToken(t.Context(), "alice", auth.TokenOptions{}); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("one more: %v", err)
	}
	w.clock.advance(2 * time.Hour) // expired ones do not count
	w.token(t, "alice", time.Hour)
}

// TestPoisonedTokens: a record serves the token whose hash it holds, and no other.
func TestPoisonedTokens(t *testing.T) {
	w := open(t)
	raw, id := w.token(t, "alice", 0)
	_, rootID := w.token(t, "root", 0)
	key := "cellblock:token:" + id
	good, err := w.client().HGetAll(t.Context(), key).Result()
	if err != nil {
		t.Fatal(err)
	}
	roots, err := w.client().HGetAll(t.Context(), "cellblock:token:"+rootID).Result()
	if err != nil {
		t.Fatal(err)
	}
	with := func(field, value string) map[string]string {
		m := map[string]string{}
		for k, v := range good {
			m[k] = v
		}
		if value == "" {
			delete(m, field)
		} else {
			m[field] = value
		}
		return m
	}
	for name, record := range map[string]map[string]string{
		"another's": roots, "cut hash": with("hash", good["hash"][:24]), "no hash": with("hash", ""), "no user": with("user", ""),
		"unknown user": with("user", "bob"), "bad expiry": with("expires", "soon"), "negative expiry": with("expires", "-1"),
	} {
		w.client().Del(t.Context(), key)
		if err := w.client().HSet(t.Context(), key, record).Err(); err != nil {
			t.Fatal(err)
		}
		got, err := w.Verify(t.Context(), raw)
		refuses(t, name, got, err)
	}
}

// TestUseDoesNotReviveARevokedToken: uses under way at the revocation leave nothing behind.
func TestUseDoesNotReviveARevokedToken(t *testing.T) {
	w := open(t)
	for range 20 {
		raw, id := w.token(t, "alice", 0)
		session := w.login(t, raw)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { w.Verify(t.Context(), raw) })
			wg.Go(func() { w.Session(t.Context(), session) })
			wg.Go(func() { w.Login(t.Context(), raw) })
		}
		if err := w.RevokeToken(t.Context(), id); err != nil {
			t.Error(err)
		}
		wg.Wait()
		got, err := w.Verify(t.Context(), raw)
		refuses(t, "token", got, err)
		got, err = w.Session(t.Context(), session)
		refuses(t, "session", got, err)
	}
	if left := w.keys(t, "cellblock:token*"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}
