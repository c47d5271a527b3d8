package wire

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzIsObject holds our validation beside the standard library's: it must never accept more, and less only for depth.
func FuzzIsObject(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` { "a" : [1, 2.5e-3, -0, true, false, null, "x\u00e9\n"] } `, `{"a":{"b":[[],{}]}}`, `{"a":01}`, `{"a":1.}`,
		`{"a":"` + "\x00" + `"}`, `{"a":"` + "\xff" + `"}`, `{"a":"é€𝄞"}`, `{"a":tru}`, `{"a":"\ud800"}`, `{"a":"\u12g4"}`,
		`{"a":1,}`, `{,}`, `[}`, `{"a"1}`, `{"a":}`, `{} {}`, `{"a":"12345678\"12345678"}`, `{"a":"` + strings.Repeat("x", 40) + "\x1f" + `"}`,
		`{"a":[}`, `{"a":NaN}`, `{"a":1e}`, `{"a":-}`, `{"a":"\`, `{"a":"\u12`, "\ufeff{}", `{"a":[1,]}`, `{"a":[1 2]}`, `{"a":{"b":1]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, part []byte) {
		trimmed := bytes.TrimLeft(part, " \t\r\n")
		want := len(trimmed) > 0 && trimmed[0] == '{' && utf8.Valid(part) && json.Valid(part)
		if got := isObject(part); got != want && (got || bytes.Count(part, []byte("["))+bytes.Count(part, []byte("{")) <= maxDepth) {
			t.Errorf("isObject(%q) = %v", part, got)
		}
		if err := members(part, func(string, []byte) error { return nil }); want && err != nil && bytes.Count(part, []byte(":")) <= maxMembers {
			t.Errorf("members(%q): %v", part, err)
		}
	})
}

func TestDepthIsBounded(t *testing.T) {
	nested := func(n int) []byte {
		return []byte(`{"a":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}`)
	}
	for n, want := range map[int]bool{maxDepth - 1: true, maxDepth: true, maxDepth + 1: false, 1_000_000: false} {
		if got := isObject(nested(n)); got != want {
			t.Errorf("depth %d: %v", n, got)
		}
	}
}

func BenchmarkIsObject(b *testing.B) {
	for name, part := range map[string][]byte{
		"header": []byte(`{"msg_id":"c6a3f1d2-3b8a8f0f_1_2","msg_type":"stream","username":"username","session":"c6a3f1d2-3b8a8f0f",` +
			`"date":"2026-01-02T03:04:05.123456Z","version":"5.3"}`),
		"text":  []byte(`{"name":"stdout","text":"` + strings.Repeat("x", 1_000_000) + `"}`),
		"euros": []byte(`{"name":"stdout","text":"` + strings.Repeat("€ ", 250_000) + `"}`),
		"lines": []byte(`{"name":"stdout","text":"` + strings.Repeat(`a short line\n`, 70_000) + `"}`),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(part)))
			for b.Loop() {
				if !isObject(part) {
					b.Fatal("refused")
				}
			}
		})
	}
}
