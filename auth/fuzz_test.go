package auth_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"cellblock.io/cellblock/auth"
)

// FuzzVerify: without a secret nothing authenticates, nothing panics, and errors are of the two kinds. The seeds are
// well formed, and some rightly signed, so that changes reach deep.
func FuzzVerify(f *testing.F) {
	hs, es := hs256(f, secret), es256(f)
	w := open(f, accepting(hs, es))
	raw, id := w.token(f, "root", 0)
	if err := w.RevokeToken(context.Background(), id); err != nil {
		f.Fatal(err)
	}
	expired := w.claims(map[string]any{"exp": 1})
	kid := func(s signer) map[string]any { return with(s.header(), map[string]any{"kid": s.alg}) }
	for _, seed := range []string{
		raw, "", "cbk_", "cbk_" + strings.Repeat("A", 43), "..", "a.b.c",
		hs.token(kid(hs), expired), es.token(kid(es), expired), hs.token(kid(hs), w.claims(map[string]any{"aud": "other"})),
		hs.token(hs.header(), w.claims(nil)), part(kid(hs)) + "." + part(w.claims(nil)) + ".",
		part(map[string]any{"alg": "none"}) + "." + part(w.claims(nil)) + ".",
		hs.token(kid(hs), "null"), hs.token("null", "{}"), hs.token(kid(hs), `{"aud":[[[[]]]],"exp":1e999}`),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		id, err := w.Verify(context.Background(), raw)
		if err == nil || id != (auth.Identity{}) {
			t.Fatalf("%q let %+v in", raw, id)
		}
		if !errors.Is(err, auth.ErrInvalidCredential) && !errors.Is(err, auth.ErrUnavailable) {
			t.Fatalf("%q: %v", raw, err)
		}
		if id, err := w.Session(context.Background(), raw); err == nil {
			t.Fatalf("%q is %+v's session", raw, id)
		}
	})
}
