package auth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cellblock.io/cellblock/auth"
)

const (
	issuer   = "https://issuer.example"
	audience = "cellblock"
)

// signer makes JWTs by hand, so that wrong ones can be made too.
type signer struct {
	alg  string
	file string // for auth.JWTKey
	sign func(text string) []byte
}

// token signs a header and claims; values that are strings of JSON go in as they are.
func (s signer) token(header, claims any) string {
	text := part(header) + "." + part(claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(s.sign(text))
}

func part(v any) string {
	data, ok := v.(string)
	if !ok {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		data = string(b)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(data))
}

func (s signer) header() map[string]any { return map[string]any{"alg": s.alg, "typ": "JWT"} }

func write(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func publicPEM(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func hs256(t testing.TB, secret string) signer {
	return signer{"HS256", write(t, "secret", []byte(secret+"\n")), func(text string) []byte {
		m := hmac.New(sha256.New, []byte(secret))
		m.Write([]byte(text))
		return m.Sum(nil)
	}}
}

func rs256(t testing.TB) signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return signer{"RS256", write(t, "rsa.pem", publicPEM(t, &key.PublicKey)), func(text string) []byte {
		sum := sha256.Sum256([]byte(text))
		sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}}
}

func es256(t testing.TB) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer{"ES256", write(t, "ec.pem", publicPEM(t, &key.PublicKey)), func(text string) []byte {
		sum := sha256.Sum256([]byte(text))
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}}
}

func eddsa(t testing.TB) signer {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer{"EdDSA", write(t, "ed.pem", publicPEM(t, public)), func(text string) []byte {
		return ed25519.Sign(private, []byte(text))
	}}
}

const secret = "0123456789abcdef0123456789abcdef"

// accepting configures one key per signer; with several, the algorithm is the key's id.
func accepting(signers ...signer) func(*auth.Config) {
	return func(c *auth.Config) {
		c.JWT = auth.JWTConfig{Issuer: issuer, Audience: audience, Leeway: 30 * time.Second}
		for _, s := range signers {
			k := auth.JWTKey{Algorithm: s.alg, File: s.file}
			if len(signers) > 1 {
				k.ID = s.alg
			}
			c.JWT.Keys = append(c.JWT.Keys, k)
		}
	}
}

// claims are good ones, with changes; nil takes a claim away.
func (w *world) claims(change map[string]any) map[string]any {
	now := w.clock.Now().Unix()
	c := map[string]any{"iss": issuer, "aud": audience, "sub": "alice", "exp": now + 600, "nbf": now, "iat": now}
	for k, v := range change {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	return c
}

func TestJWTAlgorithms(t *testing.T) {
	for _, s := range []signer{hs256(t, secret), rs256(t), es256(t), eddsa(t)} {
		t.Run(s.alg, func(t *testing.T) {
			w := open(t, accepting(s))
			raw := s.token(s.header(), w.claims(nil))
			id, err := w.Verify(t.Context(), raw)
			admits(t, "JWT", id, err, auth.Identity{Name: "alice", Role: auth.RoleUser})
			forged := raw[:len(raw)-8] + "AAAAAAAA"
			id, err = w.Verify(t.Context(), forged)
			refuses(t, "another signature", id, err)
		})
	}
}

func TestJWTClaims(t *testing.T) {
	s := hs256(t, secret)
	w := open(t, accepting(s))
	now := w.clock.Now().Unix()
	for name, tt := range map[string]struct {
		change map[string]any
		good   bool
	}{
		"plain":           {nil, true},
		"aud as list":     {map[string]any{"aud": []string{audience}}, true},
		"no nbf, no iat":  {map[string]any{"nbf": nil, "iat": nil}, true},
		"leeway":          {map[string]any{"exp": now - 20, "nbf": now + 20, "iat": now + 20}, true},
		"unknown user":    {map[string]any{"sub": "zoe@example.org"}, true},
		"other claims":    {map[string]any{"jti": "1", "admin": true, "role": "admin", "ISS": "x", "Exp": 1}, true},
		"aud of several":  {map[string]any{"aud": []string{audience, "evil"}}, false},
		"aud wrong":       {map[string]any{"aud": "other"}, false},
		"aud longer":      {map[string]any{"aud": audience + "x"}, false},
		"aud shorter":     {map[string]any{"aud": audience[1:]}, false},
		"aud in capitals": {map[string]any{"aud": "CELLBLOCK"}, false},
		"aud missing":     {map[string]any{"aud": nil}, false},
		"aud empty":       {map[string]any{"aud": []string{}}, false},
		"aud null":        {map[string]any{"aud": json.RawMessage("null")}, false},
		"aud number":      {map[string]any{"aud": 1}, false},
		"aud nested":      {map[string]any{"aud": [][]string{{audience}}}, false},
		"iss wrong":       {map[string]any{"iss": issuer + "/"}, false},
		"iss missing":     {map[string]any{"iss": nil}, false},
		"iss list":        {map[string]any{"iss": []string{issuer}}, false},
		"iss elsewhere":   {map[string]any{"iss": nil, "ISS": issuer}, false},
		"exp past":        {map[string]any{"exp": now - 31}, false},
		"exp missing":     {map[string]any{"exp": nil}, false},
		"exp null":        {map[string]any{"exp": json.RawMessage("null")}, false},
		"exp string":      {map[string]any{"exp": "4102444800"}, false},
		"exp fraction":    {map[string]any{"exp": json.RawMessage("4102444800.5")}, false},
		"exp exponent":    {map[string]any{"exp": json.RawMessage("1e300")}, false},
		"exp 2^63":        {map[string]any{"exp": json.RawMessage("9223372036854775808")}, false},
		"exp 2^63-1":      {map[string]any{"exp": json.RawMessage("9223372036854775807")}, false},
		"exp negative":    {map[string]any{"exp": -1}, false},
		"exp in capitals": {map[string]any{"exp": nil, "EXP": now + 600}, false},
		"nbf ahead":       {map[string]any{"nbf": now + 60}, false},
		"nbf string":      {map[string]any{"nbf": "0"}, false},
		"iat ahead":       {map[string]any{"iat": now + 60}, false},
	} {
		id, err := w.Verify(t.Context(), s.token(s.header(), w.claims(tt.change)))
		if !tt.good {
			refuses(t, name, id, err)
			continue
		}
		want := auth.Identity{Name: "alice", Role: auth.RoleUser}
		if sub, ok := tt.change["sub"].(string); ok {
			want.Name = sub
		}
		admits(t, name, id, err, want)
	}
}

func TestJWTOddClaims(t *testing.T) {
	s := hs256(t, secret)
	w := open(t, accepting(s))
	for _, odd := range []string{"", "null", "[]", "1", `"x"`, "{", "{}", `{"exp":{}}`, "\xff"} {
		id, err := w.Verify(t.Context(), s.token(s.header(), odd))
		refuses(t, "claims "+odd, id, err)
	}
}

func TestJWTSubjects(t *testing.T) {
	s := hs256(t, secret)
	w := open(t, accepting(s))
	for _, sub := range []any{
		nil, "", json.RawMessage("null"), 7, []string{"alice"}, "Alice", "../root", "a:b", "alice\x00", "alice\n", " alice", strings.Repeat("a", 65),
	} {
		id, err := w.Verify(t.Context(), s.token(s.header(), w.claims(map[string]any{"sub": sub})))
		refuses(t, fmt.Sprintf("sub %q", sub), id, err)
	}
}

func TestJWTExpires(t *testing.T) {
	s := hs256(t, secret)
	w := open(t, accepting(s))
	raw := s.token(s.header(), w.claims(nil))
	w.clock.advance(629 * time.Second)
	if _, err := w.Verify(t.Context(), raw); err != nil {
		t.Errorf("within the leeway: %v", err)
	}
	w.clock.advance(2 * time.Second)
	id, err := w.Verify(t.Context(), raw)
	refuses(t, "expired", id, err)
}

func TestJWTRoles(t *testing.T) {
	s := hs256(t, secret)
	root := map[string]any{"sub": "root"}
	grouped := map[string]any{"groups": []string{"staff", "cellblock-admins"}}
	user := auth.Identity{Name: "alice", Role: auth.RoleUser}
	admin := auth.Identity{Name: "alice", Role: auth.RoleAdmin}

	w := open(t, accepting(s))
	id, err := w.Verify(t.Context(), s.token(s.header(), w.claims(root)))
	admits(t, "an administrator by record", id, err, auth.Identity{Name: "root", Role: auth.RoleAdmin})
	id, err = w.Verify(t.Context(), s.token(s.header(), w.claims(grouped)))
	admits(t, "a claim that is not configured", id, err, user)

	w = open(t, accepting(s), func(c *auth.Config) { c.JWT.AdminClaim, c.JWT.AdminValue = "groups", "cellblock-admins" })
	for _, tt := range []struct {
		groups any
		want   auth.Identity
	}{
		{[]string{"staff", "cellblock-admins"}, admin}, {"cellblock-admins", admin}, {nil, user}, {[]string{}, user}, {"staff", user},
		{"cellblock-admins,staff", user}, {[]any{"cellblock-admins", 1}, user}, {true, user}, {map[string]bool{"cellblock-admins": true}, user},
		{[]string{"Cellblock-Admins"}, user},
	} {
		raw := s.token(s.header(), w.claims(map[string]any{"groups": tt.groups}))
		id, err := w.Verify(t.Context(), raw)
		admits(t, "groups", id, err, tt.want)
		session, id, err := w.Login(t.Context(), raw)
		admits(t, "login", id, err, tt.want)
		id, err = w.Session(t.Context(), session)
		admits(t, "session", id, err, tt.want)
	}
}

// TestJWTWithoutRedis: its check needs none; its bearer is a user then, unless the token itself says more.
func TestJWTWithoutRedis(t *testing.T) {
	s := hs256(t, secret)
	w := open(t, accepting(s), func(c *auth.Config) { c.JWT.AdminClaim, c.JWT.AdminValue = "groups", "admins" })
	w.redis.Stop()
	id, err := w.Verify(t.Context(), s.token(s.header(), w.claims(map[string]any{"sub": "root"})))
	admits(t, "root without Redis", id, err, auth.Identity{Name: "root", Role: auth.RoleUser})
	id, err = w.Verify(t.Context(), s.token(s.header(), w.claims(map[string]any{"groups": "admins"})))
	admits(t, "by claim", id, err, auth.Identity{Name: "alice", Role: auth.RoleAdmin})
	id, err = w.Verify(t.Context(), s.token(s.header(), w.claims(map[string]any{"exp": 1})))
	refuses(t, "an expired one", id, err)
}

// TestJWTSessions end with the JWT at the latest, and with their user.
func TestJWTSessions(t *testing.T) {
	s := hs256(t, secret)
	w := open(t, accepting(s))
	raw := s.token(s.header(), w.claims(map[string]any{"sub": "zoe"}))
	session := w.login(t, raw)
	if ttl := loginTTL(t, w); ttl > 10*time.Minute || ttl < 9*time.Minute {
		t.Errorf("Redis gives it %s", ttl)
	}
	id, err := w.Session(t.Context(), session)
	admits(t, "session", id, err, auth.Identity{Name: "zoe", Role: auth.RoleUser})
	w.clock.advance(10 * time.Minute)
	id, err = w.Session(t.Context(), session)
	refuses(t, "after the JWT's end", id, err)
	got, id, err := w.Login(t.Context(), raw) // within the leeway, but with no time left
	refuses(t, "login at the end", id, err)
	if got != "" {
		t.Errorf("session %q", got)
	}

	session = w.login(t, s.token(s.header(), w.claims(nil)))
	if err := w.RemoveUser(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	id, err = w.Session(t.Context(), session)
	refuses(t, "after the user's removal", id, err)
}
