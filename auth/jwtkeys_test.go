package auth_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"cellblock.io/cellblock/auth"
	signing "cellblock.io/cellblock/internal/secret"
)

// keyFiles are PEM files with all kinds of keys, by name.
func keyFiles(t *testing.T) map[string]string {
	t.Helper()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	weak := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537} // of 1024 bits
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey)})
	ed := publicPEM(t, public)
	return map[string]string{
		"rsa": write(t, "k", publicPEM(t, &rsaKey.PublicKey)), "rsa pkcs1": write(t, "k", pkcs1),
		"p256": es256(t).file, "p384": write(t, "k", publicPEM(t, &p384.PublicKey)), "ed": write(t, "k", ed),
		"private": write(t, "k", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})),
		"two":     write(t, "k", append(append([]byte{}, ed...), ed...)),
		"broken":  write(t, "k", []byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")),
		"text":    write(t, "k", []byte(strings.Repeat("not a key ", 10))),
		"empty":   write(t, "k", nil),
		"31":      write(t, "k", []byte(strings.Repeat("x", 31)+"  \n\n")),
		"32":      write(t, "k", []byte(strings.Repeat("x", 32))),
		"large":   write(t, "k", []byte(strings.Repeat("x", 1<<20))),
		"weak":    write(t, "k", publicPEM(t, weak)),
		"missing": "/nonexistent/key",
	}
}

func TestJWTKeyFiles(t *testing.T) {
	c := open(t).client()
	files := keyFiles(t)
	good := map[string][]string{"RS256": {"rsa", "rsa pkcs1"}, "ES256": {"p256"}, "EdDSA": {"ed"}, "HS256": {"32", "text"}}
	for _, alg := range []string{"RS256", "ES256", "EdDSA", "HS256", "HS512", "none", ""} {
		for name, file := range files {
			_, err := auth.New(auth.Config{Redis: c, Key: signing.New(), JWT: auth.JWTConfig{
				Keys: []auth.JWTKey{{Algorithm: alg, File: file}}, Issuer: issuer, Audience: audience,
			}})
			if want := slices.Contains(good[alg], name); (err == nil) != want {
				t.Errorf("%s with %s: %v", alg, name, err)
			}
			if err != nil && !strings.Contains(err.Error(), file) {
				t.Errorf("%s with %s: the error does not name the file: %v", alg, name, err)
			}
		}
	}
	_, err := auth.New(auth.Config{Redis: c, Key: signing.New(), JWT: auth.JWTConfig{
		Keys: []auth.JWTKey{{Algorithm: "HS256", File: files["missing"]}}, Issuer: issuer, Audience: audience,
	}})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestJWTConfig(t *testing.T) {
	c := open(t).client()
	hs, es := hs256(t, secret), es256(t)
	a, b := auth.JWTKey{ID: "a", Algorithm: "HS256", File: hs.file}, auth.JWTKey{ID: "b", Algorithm: "ES256", File: es.file}
	for name, tt := range map[string]struct {
		change func(*auth.JWTConfig)
		good   bool
	}{
		"two keys":           {func(*auth.JWTConfig) {}, true},
		"no leeway":          {func(j *auth.JWTConfig) { j.Leeway = 0 }, true},
		"no issuer":          {func(j *auth.JWTConfig) { j.Issuer = "" }, false},
		"no audience":        {func(j *auth.JWTConfig) { j.Audience = "" }, false},
		"negative leeway":    {func(j *auth.JWTConfig) { j.Leeway = -1 }, false},
		"an hour of leeway":  {func(j *auth.JWTConfig) { j.Leeway = time.Hour }, false},
		"claim alone":        {func(j *auth.JWTConfig) { j.AdminClaim = "groups" }, false},
		"value alone":        {func(j *auth.JWTConfig) { j.AdminValue = "admins" }, false},
		"key without id":     {func(j *auth.JWTConfig) { j.Keys[1].ID = "" }, false},
		"two of one id":      {func(j *auth.JWTConfig) { j.Keys[1].ID = "a" }, false},
		"no issuer, no keys": {func(j *auth.JWTConfig) { *j = auth.JWTConfig{} }, true},
	} {
		j := auth.JWTConfig{Keys: []auth.JWTKey{a, b}, Issuer: issuer, Audience: audience, Leeway: time.Second}
		tt.change(&j)
		if _, err := auth.New(auth.Config{Redis: c, Key: signing.New(), JWT: j}); (err == nil) != tt.good || (err != nil && !errors.Is(err, auth.ErrInvalid)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestKeysAreReadOnce: a file that goes away later does no harm.
func TestKeysAreReadOnce(t *testing.T) {
	s := hs256(t, secret)
	w := open(t, accepting(s))
	if err := os.Remove(s.file); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Verify(t.Context(), s.token(s.header(), w.claims(nil))); err != nil {
		t.Error(err)
	}
}
