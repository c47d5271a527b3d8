package secret_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"cellblock.io/cellblock/internal/secret"
)

func TestMakeOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "secret.key")
	if _, err := secret.Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("before there is one: %v", err)
	}
	passwords := make([]string, 16)
	var wg sync.WaitGroup
	for i := range passwords {
		wg.Go(func() {
			k, err := secret.Make(path)
			if err != nil {
				t.Error(err)
			}
			passwords[i] = k.Password()
		})
	}
	wg.Wait()
	for _, p := range passwords {
		if p != passwords[0] || len(p) != 64 {
			t.Fatalf("passwords %q and %q", passwords[0], p)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left in the directory: %v, %v", entries, err)
	}
	fi, err := os.Stat(path)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
}

// A file that is no key is never replaced: records and passwords hang on it.
func TestDamagedFile(t *testing.T) {
	for _, text := range []string{"", "\n", "AAAA", strings.Repeat("A", 43), "not base64, " + strings.Repeat("x", 40), strings.Repeat("A", 88)} {
		path := filepath.Join(t.TempDir(), "secret.key")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := secret.Make(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v", text, err)
		}
		if now, _ := os.ReadFile(path); string(now) != text {
			t.Errorf("%q became %q", text, now)
		}
	}
}

func TestSignatures(t *testing.T) {
	k := secret.New()
	signature := k.Sign("key", "field", "value")
	if len(signature) != secret.SignatureLength || !k.Verify(signature, "key", "field", "value") {
		t.Fatalf("%q", signature)
	}
	for name, texts := range map[string][]string{
		"another value": {"key", "field", "valuf"}, "another border": {"ke", "yfield", "value"}, "fewer": {"key", "field"},
		"more": {"key", "field", "value", ""}, "joined": {"keyfieldvalue"}, "none": {}, "other order": {"field", "key", "value"},
	} {
		if k.Verify(signature, texts...) {
			t.Errorf("%s: verified", name)
		}
	}
	for name, bad := range map[string]string{"empty": "", "cut": signature[:63], "upper case": strings.ToUpper(signature), "longer": signature + "0"} {
		if k.Verify(bad, "key", "field", "value") {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, other := range map[string]secret.Key{"another key": secret.New(), "a purpose": k.For("records"), "no key": {}} {
		if other.Verify(signature, "key", "field", "value") || other.Sign("key", "field", "value") == signature {
			t.Errorf("%s signs the same", name)
		}
	}
	var none secret.Key
	if none.Verify(none.Sign("x"), "x") || none.For("records").Verify(none.For("records").Sign("x"), "x") {
		t.Error("no key signs something")
	}
}

func TestPurposes(t *testing.T) {
	k := secret.New()
	if k.For("a").Password() == k.For("b").Password() ||
		k.For("a").Password() == k.Password() {
		t.Error("purposes are not apart")
	}
	if text := fmt.Sprintf("%v %s %+v", k, k, struct{ K secret.Key }{k}); strings.Contains(text, k.Password()) || strings.Contains(text, "bytes") {
		t.Errorf("printed: %s", text)
	}
}

func TestSealIsGoodForOnePlace(t *testing.T) {
	k := secret.New()
	text := k.Seal("data", "a", "b")
	if data, ok := k.Open(text, "a", "b"); !ok || data != "data" {
		t.Errorf("%q, %v", data, ok)
	}
	for name, open := range map[string]func() (string, bool){
		"another place":    func() (string, bool) { return k.Open(text, "b", "a") },
		"no place":         func() (string, bool) { return k.Open(text) },
		"places run in":    func() (string, bool) { return k.Open(text, "ab") },
		"another key":      func() (string, bool) { return secret.New().Open(text, "a", "b") },
		"no key":           func() (string, bool) { return secret.Key{}.Open(text, "a", "b") },
		"other data":       func() (string, bool) { return k.Open(text+"x", "a", "b") },
		"a bare signature": func() (string, bool) { return k.Open(text[:secret.SignatureLength], "a", "b") },
		"nothing":          func() (string, bool) { return k.Open("", "a", "b") },
	} {
		if data, ok := open(); ok || data != "" {
			t.Errorf("%s: %q", name, data)
		}
	}
}
