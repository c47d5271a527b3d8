package wire_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"cellblock.io/cellblock/kernels/wire"
)

// object is a JSON object of n bytes.
func object(n int) []byte {
	return []byte(`{"x":"` + strings.Repeat("x", n-len(`{"x":""}`)) + `"}`)
}

// nested is a JSON object of that depth.
func nested(depth int) []byte {
	return []byte(`{"x":` + strings.Repeat("[", depth-1) + strings.Repeat("]", depth-1) + `}`)
}

// header is a good one with more members.
func header(more string) []byte { return []byte(`{"msg_id":"a","msg_type":"b"` + more + `}`) }

// names are n more members.
func names(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"n%d":0`, i)
	}
	return b.String()
}

// parts is a message of a kernel's before it is signed.
type parts struct {
	identities                        [][]byte
	header, parent, metadata, content []byte
	buffers                           [][]byte
	signature                         func([]byte) []byte
}

// take decodes and parses it as the bridge does.
func (p parts) take() error {
	const key = "key"
	body := [][]byte{header(""), []byte("{}"), []byte("{}"), []byte("{}")}
	mac := hmac.New(sha256.New, []byte(key))
	for i, given := range [][]byte{p.header, p.parent, p.metadata, p.content} {
		if given != nil {
			body[i] = given
		}
		mac.Write(body[i])
	}
	signature := []byte(hex.EncodeToString(mac.Sum(nil)))
	if p.signature != nil {
		signature = p.signature(signature)
	}
	frames := append(append(append(p.identities, []byte("<IDS|MSG>"), signature), body...), p.buffers...)
	m, err := wire.NewSigner(key).DecodeFrames(wire.IOPub, frames)
	if err == nil {
		_, err = wire.MessageHeader(m.Header)
	}
	if err == nil {
		_, err = wire.ParseHeader(m.Parent)
	}
	return err
}

// Each limit on a kernel's message at one below, at it and one above. Depth is limited as for all JSON here, in headers
// no further: nothing in a header is read but its outermost strings.
func TestLimitsOfKernelsMessages(t *testing.T) {
	for name, row := range map[string]struct {
		limit int
		of    func(n int) parts
	}{
		"bytes of header": {wire.MaxHeader, func(n int) parts {
			return parts{header: header(`,"x":"` + strings.Repeat("x", n-len(header(`,"x":""`))) + `"`)}
		}},
		"bytes of parent_header": {wire.MaxHeader, func(n int) parts { return parts{parent: object(n)} }},
		"bytes of metadata":      {wire.MaxMetadata, func(n int) parts { return parts{metadata: object(n)} }},
		"buffers":                {wire.MaxBuffers, func(n int) parts { return parts{buffers: make([][]byte, n)} }},
		"identities":             {wire.MaxIdentities, func(n int) parts { return parts{identities: bytes.Split(bytes.Repeat([]byte("x"), n), nil)} }},
		"bytes of an identity":   {wire.MaxIdentity, func(n int) parts { return parts{identities: [][]byte{bytes.Repeat([]byte("x"), n)}} }},
		"depth of header":        {1024, func(n int) parts { return parts{header: header(`,"x":` + string(nested(n-1)))} }},
		"depth of content":       {1024, func(n int) parts { return parts{content: nested(n)} }},
		"depth of metadata":      {1024, func(n int) parts { return parts{metadata: nested(n)} }},
		"names in a header":      {256, func(n int) parts { return parts{header: header(names(n - 2))} }},
		"names in a parent":      {256, func(n int) parts { return parts{parent: []byte("{" + names(n)[1:] + "}")} }},
		"bytes of a field": {1024, func(n int) parts {
			return parts{header: []byte(`{"msg_id":"a","msg_type":"` + strings.Repeat("x", n-2) + `"}`)}
		}},
	} {
		for n, good := range map[int]bool{row.limit - 1: true, row.limit: true, row.limit + 1: false} {
			if err := row.of(n).take(); err == nil != good {
				t.Errorf("%s, %d: %v", name, n, err)
			}
		}
	}
}

func TestSignaturesAreExact(t *testing.T) {
	for name, row := range map[string]struct {
		change func([]byte) []byte
		good   bool
	}{
		"as it is":       {func(s []byte) []byte { return s }, true},
		"63 digits":      {func(s []byte) []byte { return s[:63] }, false},
		"65 digits":      {func(s []byte) []byte { return append(s, '0') }, false},
		"empty":          {func([]byte) []byte { return nil }, false},
		"in upper case":  {bytes.ToUpper, false},
		"white space":    {func(s []byte) []byte { return append([]byte(" "), s[1:]...) }, false},
		"one digit else": {func(s []byte) []byte { s[63] ^= 1; return s }, false},
		"32 bytes":       {func(s []byte) []byte { b, _ := hex.DecodeString(string(s)); return b }, false},
	} {
		if err := (parts{signature: row.change}).take(); err == nil != row.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is large and no UTF-8 is mended without growing.
func TestMendingDoesNotGrow(t *testing.T) {
	for _, n := range []int{1 << 10, 4 << 20} {
		content := []byte(`{"x":"` + strings.Repeat("a\xff", n/2) + `"}`)
		before := len(content)
		m, err := wire.NewSigner("").DecodeFrames(wire.IOPub, [][]byte{[]byte("<IDS|MSG>"), nil, header(""), nil, nil, content})
		if err != nil {
			t.Fatal(err)
		}
		if n > 1<<20 && len(m.Content) != before || n < 1<<20 && !strings.Contains(string(m.Content), "a\uFFFDa") {
			t.Errorf("%d bytes became %d", before, len(m.Content))
		}
	}
}
