package auth_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"cellblock.io/cellblock/auth"
)

// with returns a header with changes; nil takes a field away.
func with(header map[string]any, change map[string]any) map[string]any {
	for k, v := range change {
		if header[k] = v; v == nil {
			delete(header, k)
		}
	}
	return header
}

func TestAttackAlgNone(t *testing.T) {
	s := hs256(t, secret)
	w := open(t, accepting(s))
	for _, alg := range []any{"none", "None", "NONE", "nOnE", "", nil, 0, []string{"none"}, "HS384", "HS512", "RS256", "PS256", "hs256", "HS256 "} {
		for _, sig := range []string{"", ".", "AA", base64.RawURLEncoding.EncodeToString(s.sign("x"))} {
			raw := part(with(s.header(), map[string]any{"alg": alg})) + "." + part(w.claims(nil)) + "." + sig
			id, err := w.Verify(t.Context(), raw)
			refuses(t, fmt.Sprintf("alg %v, signature %q", alg, sig), id, err)
		}
		// Signed with the right key for another algorithm than the header's.
		id, err := w.Verify(t.Context(), s.token(with(s.header(), map[string]any{"alg": alg}), w.claims(nil)))
		refuses(t, fmt.Sprintf("alg %v, signed", alg), id, err)
	}
}

// TestAttackAlgorithmConfusion: a public key is known to all and must not serve as an HMAC secret.
func TestAttackAlgorithmConfusion(t *testing.T) {
	for _, s := range []signer{rs256(t), es256(t), eddsa(t)} {
		for _, others := range [][]signer{{s}, {s, hs256(t, secret)}} {
			w := open(t, accepting(others...))
			file, err := os.ReadFile(s.file)
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range [][]byte{file, []byte(strings.TrimSpace(string(file)))} {
				forger := signer{alg: "HS256", sign: func(text string) []byte {
					m := hmac.New(sha256.New, key)
					m.Write([]byte(text))
					return m.Sum(nil)
				}}
				for _, kid := range []any{nil, s.alg, "HS256"} {
					id, err := w.Verify(t.Context(), forger.token(with(forger.header(), map[string]any{"kid": kid}), w.claims(nil)))
					refuses(t, fmt.Sprintf("%s's public key as a secret, kid %v", s.alg, kid), id, err)
				}
			}
		}
	}
}

func TestAttackKid(t *testing.T) {
	hs, es := hs256(t, secret), es256(t)
	w := open(t, accepting(hs, es))
	for _, s := range []signer{hs, es} {
		id, err := w.Verify(t.Context(), s.token(with(s.header(), map[string]any{"kid": s.alg}), w.claims(nil)))
		admits(t, "the right kid", id, err, auth.Identity{Name: "alice", Role: auth.RoleUser})
	}
	for _, kid := range []any{
		nil, "", "ES256", "hs256", "HS256\x00", "../../dev/null", "/dev/null", "' OR 1=1 --", "http://127.0.0.1/key", strings.Repeat("k", 4000),
		0, true, []string{"HS256"}, map[string]any{"HS256": 1},
	} {
		id, err := w.Verify(t.Context(), hs.token(with(hs.header(), map[string]any{"kid": kid}), w.claims(nil)))
		refuses(t, fmt.Sprintf("kid %.40v", kid), id, err)
	}

	one := open(t, func(c *auth.Config) { accepting(hs)(c); c.JWT.Keys[0].ID = "only" })
	for kid, good := range map[any]bool{nil: true, "only": true, "other": false, "": false, 1: false} {
		id, err := one.Verify(t.Context(), hs.token(with(hs.header(), map[string]any{"kid": kid}), one.claims(nil)))
		if good {
			admits(t, fmt.Sprint(kid), id, err, auth.Identity{Name: "alice", Role: auth.RoleUser})
		} else {
			refuses(t, fmt.Sprint(kid), id, err)
		}
	}
}

// TestAttackEmbeddedKey: keys and addresses in the header are not looked at, and nothing is fetched.
func TestAttackEmbeddedKey(t *testing.T) {
	real, attacker := es256(t), es256(t)
	w := open(t, accepting(real))
	canary, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer canary.Close()
	url := "http://" + canary.Addr().String() + "/keys"
	for field, value := range map[string]any{
		"jku": url, "x5u": url, "jwk": map[string]any{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, "x5c": []string{"AA=="},
	} {
		id, err := w.Verify(t.Context(), attacker.token(with(attacker.header(), map[string]any{field: value}), w.claims(nil)))
		refuses(t, field, id, err)
	}
	if err := canary.(*net.TCPListener).SetDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if conn, err := canary.Accept(); err == nil {
		conn.Close()
		t.Error("the header's address was visited")
	}
}

func TestAttackHeader(t *testing.T) {
	s := hs256(t, secret)
	w := open(t, accepting(s))
	for _, typ := range []any{"JWT", "jwt", "at+jwt", "application/at+jwt", nil} {
		id, err := w.Verify(t.Context(), s.token(with(s.header(), map[string]any{"typ": typ}), w.claims(nil)))
		admits(t, fmt.Sprintf("typ %v", typ), id, err, auth.Identity{Name: "alice", Role: auth.RoleUser})
	}
	for name, change := range map[string]map[string]any{
		"logout token": {"typ": "logout+jwt"}, "proof": {"typ": "dpop+jwt"}, "typ number": {"typ": 1}, "crit": {"crit": []string{"exp"}},
		"b64": {"b64": false, "crit": []string{"b64"}}, "empty crit": {"crit": []string{}},
	} {
		id, err := w.Verify(t.Context(), s.token(with(s.header(), change), w.claims(nil)))
		refuses(t, name, id, err)
	}
	for _, odd := range []string{"", "null", "[]", "1", `"HS256"`, `{"alg"`, "\xff", `{"ALG":"HS256"}`} {
		id, err := w.Verify(t.Context(), s.token(odd, w.claims(nil)))
		refuses(t, "header "+odd, id, err)
	}
}

// TestAttackPsychicSignature: ECDSA with r and s of zero, or of the group's order, proves nothing.
func TestAttackPsychicSignature(t *testing.T) {
	s := es256(t)
	w := open(t, accepting(s))
	order := "\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51"
	zero := strings.Repeat("\x00", 32)
	for _, sig := range []string{zero + zero, order + order, zero + order, order + zero, "", "\x00", zero, "0\x06\x02\x01\x00\x02\x01\x00"} {
		forger := signer{alg: "ES256", sign: func(string) []byte { return []byte(sig) }}
		id, err := w.Verify(t.Context(), forger.token(forger.header(), w.claims(nil)))
		refuses(t, fmt.Sprintf("signature %x", sig), id, err)
	}
}

// TestAttackSpelling: one token has one text.
func TestAttackSpelling(t *testing.T) {
	s := hs256(t, secret)
	w := open(t, accepting(s))
	raw := s.token(s.header(), w.claims(nil))
	if _, err := w.Verify(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	h, rest, _ := strings.Cut(raw, ".")
	c, sig, _ := strings.Cut(rest, ".")
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	next := string(alphabet[(strings.IndexByte(alphabet, sig[len(sig)-1])+1)%64])
	for name, bad := range map[string]string{
		"padding": raw + "=", "padding inside": h + "=." + c + "." + sig, "trailing bits": raw[:len(raw)-1] + next, "space": " " + raw,
		"newline": raw + "\n", "newline inside": h + "\n." + c + "." + sig, "line ends": h + "." + c + ".\r\n" + sig, "scheme": "Bearer " + raw, "fourth part": raw + ".AA",
		"empty fourth": raw + ".", "two parts": h + "." + c, "no signature": h + "." + c + ".", "no header": "." + c + "." + sig,
		"standard alphabet": h + "." + c + "." + strings.NewReplacer("-", "+", "_", "/").Replace(sig) + "+", "dots": "..", "NUL": raw + "\x00",
		"prefix of a token": "cbk_" + raw, "JWE": raw + ".AA.AA",
	} {
		id, err := w.Verify(t.Context(), bad)
		refuses(t, name, id, err)
	}
}

func TestAttackOversize(t *testing.T) {
	s := hs256(t, secret)
	w := open(t, accepting(s))
	size := func(n int) string {
		return s.token(s.header(), w.claims(map[string]any{"pad": strings.Repeat("x", n)}))
	}
	if _, err := w.Verify(t.Context(), size(5000)); err != nil {
		t.Errorf("below 8 KiB: %v", err)
	}
	id, err := w.Verify(t.Context(), size(7000))
	refuses(t, "above 8 KiB", id, err)
	many := make([]string, 10000)
	id, err = w.Verify(t.Context(), s.token(s.header(), w.claims(map[string]any{"aud": many})))
	refuses(t, "ten thousand audiences", id, err)

	big := size(1 << 20)
	began := time.Now()
	for range 1000 {
		if _, err := w.Verify(t.Context(), big); err == nil {
			t.Fatal("a megabyte was accepted")
		}
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("1000 refusals of a megabyte took %s", took)
	}
}

// TestErrorsQuoteNothing: what a log gets holds no part of a credential.
func TestErrorsQuoteNothing(t *testing.T) {
	s := hs256(t, secret)
	w := open(t, accepting(s))
	const mark = "SENSITIVE"
	for name, raw := range map[string]string{
		"alg":       s.token(with(s.header(), map[string]any{"alg": mark}), w.claims(nil)),
		"kid":       s.token(with(s.header(), map[string]any{"kid": mark, "crit": mark}), w.claims(nil)),
		"typ":       s.token(with(s.header(), map[string]any{"typ": mark}), w.claims(nil)),
		"claims":    s.token(s.header(), `{"exp":"`+mark+`"}`),
		"sub":       s.token(s.header(), w.claims(map[string]any{"sub": mark})),
		"aud":       s.token(s.header(), w.claims(map[string]any{"aud": mark})),
		"iss":       s.token(s.header(), w.claims(map[string]any{"iss": mark})),
		"text":      mark + "." + mark + "." + mark,
		"plain":     mark,
		"token":     "cbk_" + mark,
		"signature": s.token(s.header(), w.claims(nil)) + mark,
	} {
		id, err := w.Verify(t.Context(), raw)
		refuses(t, name, id, err)
		if err != nil && strings.Contains(strings.ToUpper(err.Error()), mark) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWithoutJWTKeysNoneIsAccepted(t *testing.T) {
	w := open(t)
	s := hs256(t, secret)
	id, err := w.Verify(t.Context(), s.token(s.header(), w.claims(nil)))
	refuses(t, "a JWT", id, err)
	empty := hs256(t, "")
	id, err = w.Verify(t.Context(), empty.token(empty.header(), w.claims(nil)))
	refuses(t, "a JWT signed with nothing", id, err)
}
