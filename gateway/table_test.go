package gateway_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"cellblock.io/cellblock/auth"
	"cellblock.io/cellblock/gateway"
	"cellblock.io/cellblock/internal/redisserver/redistest"
	"cellblock.io/cellblock/internal/secret"
)

// open are the routes that need no credential. Who adds one to the table has to add it here too, and to think about it.
var open = []string{
	"GET /api", "GET /healthz", "GET /metrics", "GET /tree", "GET /hub/api", "GET /{$}", "GET /login", "GET /favicon.ico",
	"GET /static/{file...}", "POST /login", "POST /logout",
}

// realAuth is the real thing on a real Redis, with the users alice and bob.
func realAuth(t *testing.T) *auth.Service {
	t.Helper()
	s, err := auth.New(auth.Config{Redis: redistest.Start(t).Client, Key: secret.New()})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"alice", "bob", "carol"} {
		if err := s.AddUser(t.Context(), auth.User{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func tokenOf(t *testing.T, s *auth.Service, user string, ttl time.Duration) (raw string, id string) {
	t.Helper()
	raw, token, err := s.CreateToken(t.Context(), user, auth.TokenOptions{TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	return raw, token.ID
}

// bad are credentials that are not valid, each in a way of its own, beside a good one of alice's.
func bad(t *testing.T, s *auth.Service) (rows map[string]header, good header) {
	t.Helper()
	ctx := t.Context()
	hers, _ := tokenOf(t, s, "alice", 0)
	expired, _ := tokenOf(t, s, "alice", time.Millisecond)
	revoked, id := tokenOf(t, s, "alice", 0)
	session, _, err := s.Login(ctx, revoked)
	if err != nil {
		t.Fatal(err)
	}
	left, _, err := s.Login(ctx, hers)
	if err != nil {
		t.Fatal(err)
	}
	removed, _ := tokenOf(t, s, "carol", 0)
	for _, err := range []error{s.RevokeToken(ctx, id), s.Logout(ctx, left), s.RemoveUser(ctx, "carol")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(time.Second)
	for _, err := s.Verify(ctx, expired); err == nil && time.Now().Before(deadline); _, err = s.Verify(ctx, expired) {
	}
	return map[string]header{
		"none": nil, "nonsense": {"Authorization", "token nonsense"}, "expired": {"Authorization", "token " + expired},
		"revoked": {"Authorization", "token " + revoked}, "a removed user's": {"Authorization", "Bearer " + removed},
		"a revoked token's cookie": {"Cookie", "cellblock-session=" + session}, "a cookie after logout": {"Cookie", "cellblock-session=" + left},
		"a token as a cookie": {"Cookie", "cellblock-session=" + hers}, "one byte less": {"Authorization", "token " + hers[:len(hers)-1]},
		"unsigned JWT": {"Authorization", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9."},
	}, header{"Authorization", "token " + hers}
}

// fill puts a person's ids into the pattern of a route.
func fill(pattern, kernel, session string) string {
	id := kernel
	if strings.HasPrefix(pattern, "/api/sessions/") {
		id = session
	}
	return strings.NewReplacer("{id}", id, "{name}", "python3", "{file...}", "logo-64x64.png", "{$}", "").Replace(pattern)
}

// TestTable asks every route that is registered, in the table's own words, with every credential that is not valid.
func TestTable(t *testing.T) {
	people := realAuth(t)
	credentials, good := bad(t, people)
	change := func(c *gateway.Config) { c.Auth = people }
	for _, row := range newRig(t, change).Table() {
		if row.Public != slices.Contains(open, row.Method+" "+row.Path) {
			t.Errorf("%s %s: public is %v", row.Method, row.Path, row.Public)
		}
		if row.Public {
			continue
		}
		path := fill(row.Path, aliceKernel, aliceSession)
		for _, method := range []string{row.Method, "HEAD", "PUT", "TRACE"} { // the last has no route, and is none of their business
			for name, h := range credentials {
				r := newRig(t, change)
				for what, with := range map[string]header{"plain": h, "upgrade": append(slices.Clone(upgrade), h...)} {
					w := r.do(method, path, "", with)
					if w.Code != 401 || len(r.domain.calls) > 0 {
						t.Errorf("%s %s, %s, credential %s: %d, calls %v", method, path, what, name, w.Code, r.domain.calls)
					}
				}
			}
		}
		if w := newRig(t, change).do(row.Method, path, "{}", good); w.Code == 401 || w.Code == 403 || w.Code == 404 {
			t.Errorf("%s %s with the good one: %d %s", row.Method, path, w.Code, w.Body)
		}
	}
}

// TestTableOfOthers asks every route that takes an id for another person's: byte for byte as if it did not exist.
func TestTableOfOthers(t *testing.T) {
	const unknown = "cccccccc-0000-4000-8000-00000000000f"
	asked := 0
	for _, row := range newRig(t, nil).Table() {
		if !strings.Contains(row.Path, "{id}") {
			continue
		}
		asked++
		for name, h := range map[string]header{"token": alice, "upgrade": append(slices.Clone(upgrade), alice...)} {
			ask := func(kernel, session string) string {
				path := fill(row.Path, kernel, session)
				return dump(newRig(t, nil).do(row.Method, path, "", h), path[strings.Index(path, "s/")+2:][:36])
			}
			foreign, none := ask(bobKernel, bobSession), ask(nobodys, unknown)
			if foreign != none || !strings.HasPrefix(foreign, "404 ") {
				t.Errorf("%s %s, %s:\nforeign %s\nunknown %s", row.Method, row.Path, name, foreign, none)
			}
		}
	}
	if asked < 8 {
		t.Errorf("only %d routes take an id", asked)
	}
}
