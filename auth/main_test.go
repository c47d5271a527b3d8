package auth_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"cellblock.io/cellblock/auth"
	"cellblock.io/cellblock/internal/redisserver/redistest"
	signing "cellblock.io/cellblock/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// clock is a settable Config.Now. It begins at the real time, by which Redis expires keys.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// world is a Service on its own Redis, with the administrator root and the user alice.
type world struct {
	*auth.Service
	redis *redistest.Instance
	key   signing.Key
	clock *clock
}

func open(t testing.TB, change ...func(*auth.Config)) *world {
	t.Helper()
	w := &world{redis: redistest.Start(t), key: signing.New(), clock: &clock{now: time.Now()}}
	cfg := auth.Config{Redis: w.redis.Client, Key: w.key, Now: w.clock.Now}
	for _, c := range change {
		c(&cfg)
	}
	s, err := auth.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.Service = s
	for _, u := range []auth.User{{Name: "root", Admin: true}, {Name: "alice"}} {
		if err := s.AddUser(context.Background(), u); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// token makes an API token.
func (w *world) token(t testing.TB, user string, ttl time.Duration) (raw, id string) {
	t.Helper()
	raw, tok, err := w.CreateToken(context.Background(), user, auth.TokenOptions{Name: "test", TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	return raw, tok.ID
}

func (w *world) login(t *testing.T, raw string) string {
	t.Helper()
	session, _, err := w.Login(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	return session
}

// admits and refuses hold an answer of Verify or Session to what it must be.
func admits(t *testing.T, what string, got auth.Identity, err error, want auth.Identity) {
	t.Helper()
	if err != nil || got != want {
		t.Errorf("%s: %+v, %v; want %+v", what, got, err, want)
	}
}

func refuses(t *testing.T, what string, got auth.Identity, err error) {
	t.Helper()
	if !errors.Is(err, auth.ErrInvalidCredential) || errors.Is(err, auth.ErrUnavailable) || got != (auth.Identity{}) {
		t.Errorf("%s: %+v, %v; want ErrInvalidCredential and nobody", what, got, err)
	}
}

// keys returns all keys with that beginning.
func (w *world) keys(t *testing.T, pattern string) []string {
	t.Helper()
	all, err := w.redis.Admin.Keys(t.Context(), pattern).Result()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// dump is everything that Redis holds, as one text.
func (w *world) dump(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, k := range w.keys(t, "*") {
		b.WriteString(k + "\n")
		var parts []string
		var err error
		switch kind := w.redis.Admin.Type(t.Context(), k).Val(); kind {
		case "hash":
			var m map[string]string
			m, err = w.redis.Admin.HGetAll(t.Context(), k).Result()
			for f, v := range m {
				parts = append(parts, f, v)
			}
		case "zset":
			parts, err = w.redis.Admin.ZRange(t.Context(), k, 0, -1).Result()
		default:
			t.Fatalf("key %s is a %s", k, kind)
		}
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(strings.Join(parts, "\n") + "\n")
	}
	return b.String()
}

// client is an administrator's.
func (w *world) client() *redis.Client { return w.redis.Admin }

// until polls a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}
