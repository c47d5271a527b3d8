// Package secret keeps the one secret of an installation: a random key in a file, from which passwords and the signatures of
// records are made.
package secret

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

const (
	keyBytes = 32
	// SignatureLength is how many characters Sign returns.
	SignatureLength = 2 * sha256.Size
)

// Key is a secret of 256 bits. With the zero Key nothing is signed.
type Key struct{ bytes []byte }

// Read reads the key in a file; fs.ErrNotExist when there is none.
func Read(path string) (Key, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Key{}, fmt.Errorf("read secret key: %w", err)
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(raw) != keyBytes {
		return Key{}, fmt.Errorf("read secret key: %s does not hold %d bytes in base64", path, keyBytes)
	}
	return Key{raw}, nil
}

// Make reads the key in a file, and makes both, readable by this user only, when there is no file. Of several processes
// that do so at once all get the same key.
func Make(path string) (Key, error) {
	k, err := Read(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	// A file under another name that becomes this one when it is whole: nobody reads half a key.
	draft := path + "." + rand.Text()
	if err := os.WriteFile(draft, []byte(New().text()+"\n"), 0o600); err != nil {
		return Key{}, fmt.Errorf("make secret key: %w", err)
	}
	defer os.Remove(draft)
	if err := os.Link(draft, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return Key{}, fmt.Errorf("make secret key: %w", err)
	}
	return Read(path)
}

// New returns a random key.
func New() Key {
	raw := make([]byte, keyBytes)
	rand.Read(raw) // never fails
	return Key{raw}
}

// Empty reports whether k is the zero Key.
func (k Key) Empty() bool { return len(k.bytes) == 0 }

func (k Key) text() string { return base64.StdEncoding.EncodeToString(k.bytes) }

// String hides the key from logs.
func (k Key) String() string { return "[secret key]" }

// For returns the key for one purpose: whoever has it knows nothing of k or of another purpose's.
func (k Key) For(purpose string) Key {
	if k.Empty() {
		return Key{}
	}
	raw, err := hkdf.Expand(sha256.New, k.bytes, "cellblock "+purpose, keyBytes)
	if err != nil {
		return Key{} // not reached: the length is one that HKDF gives
	}
	return Key{raw}
}

// Password is the key as 64 letters and digits.
func (k Key) Password() string { return hex.EncodeToString(k.bytes) }

// Sign returns what only a bearer of the key can make of these texts, in this order: their HMAC-SHA256, SignatureLength
// hexadecimal digits. Where one text ends and the next begins is part of it.
func (k Key) Sign(texts ...string) string {
	mac := hmac.New(sha256.New, k.bytes)
	for _, text := range texts {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(text)))
		mac.Write(size[:])
		mac.Write([]byte(text))
	}
	return hex.EncodeToString(mac.Sum(nil))
}

// Verify reports whether signature was made of these texts with this key. It takes the same time for every wrong one.
func (k Key) Verify(signature string, texts ...string) bool {
	return !k.Empty() && hmac.Equal([]byte(signature), []byte(k.Sign(texts...)))
}

// Seal returns data behind its signature, which is good for data in that place only.
func (k Key) Seal(data string, place ...string) string {
	return k.Sign(append(slices.Clone(place), data)...) + data
}

// Open returns the data that Seal has sealed for that place; ok is false for anything else.
func (k Key) Open(text string, place ...string) (data string, ok bool) {
	if len(text) < SignatureLength {
		return "", false
	}
	signature, data := text[:SignatureLength], text[SignatureLength:]
	if !k.Verify(signature, append(slices.Clone(place), data)...) {
		return "", false
	}
	return data, true
}
