package wire_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"cellblock.io/cellblock/kernels/wire"
)

// golden reads a vector made by jupyter_server 2.20.
func golden(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// vector is the message of all golden files.
func vector(ch wire.Channel, buffers ...[]byte) wire.Message {
	return wire.Message{
		Channel:  ch,
		Header:   []byte(`{"msg_id":"m1","msg_type":"comm_msg","username":"u","session":"s1","date":"2026-01-02T03:04:05.123456Z","version":"5.3"}`),
		Parent:   []byte(`{}`),
		Metadata: []byte(`{}`),
		Content:  []byte(`{"comm_id":"c1","data":{}}`),
		Buffers:  buffers,
	}
}

func threeBuffers() [][]byte { return [][]byte{{1, 2, 3}, {}, []byte("AB")} }

func TestAppendV1Golden(t *testing.T) {
	plain := vector(wire.Shell)
	if got := wire.AppendV1(nil, &plain); !bytes.Equal(got, golden(t, "v1_0buf.bin")) {
		t.Errorf("without buffers: %q", got)
	}
	full := vector(wire.IOPub, threeBuffers()...)
	if got := wire.AppendV1(nil, &full); !bytes.Equal(got, golden(t, "v1_3buf.bin")) {
		t.Errorf("with buffers: %q", got)
	}
}

func TestDecodeV1Golden(t *testing.T) {
	got, err := wire.DecodeV1(golden(t, "v1_0buf.bin"))
	if err != nil {
		t.Fatal(err)
	}
	if want := vector(wire.Shell); !same(got, want) {
		t.Errorf("got %+v", got)
	}
	// The other vector travels on iopub, where clients never send.
	if _, err := wire.DecodeV1(golden(t, "v1_3buf.bin")); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("iopub from a client: %v", err)
	}
	m := vector(wire.Shell, threeBuffers()...)
	got, err = wire.DecodeV1(wire.AppendV1(nil, &m))
	if err != nil || !same(got, m) {
		t.Errorf("round trip: %+v, %v", got, err)
	}
}

func TestLegacyGolden(t *testing.T) {
	m, err := wire.DecodeLegacy(golden(t, "legacy_text.json"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := wire.ParseHeader(m.Header)
	if err != nil || h != (wire.Header{MsgID: "m1", MsgType: "comm_msg", Session: "s1"}) {
		t.Fatalf("header %+v, %v", h, err)
	}
	text, isBinary := wire.AppendLegacy(nil, &m, h)
	if isBinary || !sameJSON(t, text, golden(t, "legacy_text.json")) {
		t.Errorf("text frame: %s", text)
	}

	m.Channel = wire.IOPub
	m.Buffers = threeBuffers()
	frame, isBinary := wire.AppendLegacy([]byte("kept"), &m, h)
	if !isBinary || !bytes.HasPrefix(frame, []byte("kept")) {
		t.Fatal("binary frame expected behind what was there")
	}
	compareLegacyBinary(t, frame[4:], golden(t, "legacy_3buf.bin"))
}

// compareLegacyBinary compares two frames whose JSON may differ in order and blanks.
func compareLegacyBinary(t *testing.T, got, want []byte) {
	t.Helper()
	part := func(b []byte, i uint32) []byte {
		n := binary.BigEndian.Uint32(b)
		from, to := binary.BigEndian.Uint32(b[4*(i+1):]), uint32(len(b))
		if i+1 < n {
			to = binary.BigEndian.Uint32(b[4*(i+2):])
		}
		return b[from:to]
	}
	if !bytes.Equal(got[:4], want[:4]) || !sameJSON(t, part(got, 0), part(want, 0)) {
		t.Errorf("JSON part: %s", part(got, 0))
	}
	for i := uint32(1); i < 4; i++ {
		if !bytes.Equal(part(got, i), part(want, i)) {
			t.Errorf("buffer %d: %q, want %q", i, part(got, i), part(want, i))
		}
	}
}

func TestDecodeLegacyWhatClientsReallySend(t *testing.T) {
	const header = `"header":{"msg_id":"a","msg_type":"kernel_info_request","session":"s"},"content":{}`
	oneBinary := append([]byte{0, 0, 0, 1, 0, 0, 0, 8}, `{`+header+`}`...)
	withBuffer := []byte{0, 0, 0, 2, 0, 0, 0, 12, 0, 0, 0, 0}
	withBuffer = append(withBuffer, `{"channel":"control",`+header+`}`...)
	binary.BigEndian.PutUint32(withBuffer[8:], uint32(len(withBuffer)))
	withBuffer = append(withBuffer, 0xff, 0xfe)
	rows := []struct {
		name    string
		frame   []byte
		channel wire.Channel
		buffers int
	}{
		{"no channel, null parent, object as buffers", []byte(`{` + header + `,"parent_header":null,"buffers":{}}`), wire.Shell, 0},
		{"null channel", []byte(` {"channel":null,` + header + `}`), wire.Shell, 0},
		{"number as date", []byte(`{"header":{"date":1.5,"msg_id":"a","msg_type":"kernel_info_request","session":""},"content":{},"channel":"stdin"}`), wire.Stdin, 0},
		{"binary without buffers", oneBinary, wire.Shell, 0},
		{"raw buffer bytes", withBuffer, wire.Control, 1},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			m, err := wire.DecodeLegacy(r.frame)
			if err != nil {
				t.Fatal(err)
			}
			if m.Channel != r.channel || len(m.Buffers) != r.buffers || string(m.Parent) != "{}" {
				t.Errorf("%+v", m)
			}
		})
	}
}

func TestHostileClientFrames(t *testing.T) {
	huge := binary.LittleEndian.AppendUint64(nil, 1<<61)
	v1 := golden(t, "v1_0buf.bin")
	backwards := bytes.Clone(v1)
	binary.LittleEndian.PutUint64(backwards[16:], 1)
	beyond := bytes.Clone(v1)
	binary.LittleEndian.PutUint64(beyond[48:], 1<<40)
	for name, frame := range map[string][]byte{
		"empty": {}, "short": {1, 2}, "huge count": append(huge, make([]byte, 64)...),
		"offset backwards": backwards, "offset beyond": beyond, "truncated": v1[:len(v1)-1],
	} {
		if _, err := wire.DecodeV1(frame); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("v1 %s: %v", name, err)
		}
	}
	for name, frame := range map[string]string{
		"empty": "", "two gigaparts": "\x80\x00\x00\x00\x00\x00\x00\x00", "list": "[]", "two objects": "{}{}",
		"twice":            `{"header":{},"header":{},"content":{}}`,
		"content missing":  `{"header":{}}`,
		"iopub":            `{"header":{},"content":{},"channel":"iopub"}`,
		"channel a number": `{"header":{},"content":{},"channel":7}`,
		"header a string":  `{"header":"{}","content":{}}`,
	} {
		if _, err := wire.DecodeLegacy([]byte(frame)); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("legacy %s: %v", name, err)
		}
	}
}

func TestSignatureGolden(t *testing.T) {
	var v struct {
		Key   string
		Parts []string
		Hex   string `json:"hmac_sha256_hex"`
	}
	if err := json.Unmarshal(golden(t, "sign.json"), &v); err != nil {
		t.Fatal(err)
	}
	m := wire.Message{Channel: wire.Shell, Header: []byte(v.Parts[0]), Parent: []byte(v.Parts[1]),
		Metadata: []byte(v.Parts[2]), Content: []byte(v.Parts[3]), Buffers: threeBuffers()}
	s := wire.NewSigner(v.Key)
	frames := s.Frames(&m)
	if string(frames[1]) != v.Hex {
		t.Errorf("signature %s, want %s", frames[1], v.Hex)
	}
	withTopic := append([][]byte{[]byte("kernel.x.status")}, frames...)
	got, err := s.DecodeFrames(wire.IOPub, withTopic)
	if err != nil || got.Channel != wire.IOPub || len(got.Buffers) != 3 {
		t.Errorf("decode: %+v, %v", got, err)
	}
	unsigned := wire.NewSigner("")
	if f := unsigned.Frames(&m); len(f[1]) != 0 {
		t.Errorf("unsigned message carries %q", f[1])
	}
}

func TestHostileKernelFrames(t *testing.T) {
	s := wire.NewSigner("secret")
	signed := func(change func(*wire.Message)) [][]byte {
		m := vector(wire.IOPub)
		change(&m)
		return s.Frames(&m)
	}
	tooMany := make([][]byte, wire.MaxIdentities+1)
	rows := map[string][][]byte{
		"nothing":             {},
		"no delimiter":        {[]byte("a"), []byte("b")},
		"many identities":     append(tooMany, signed(func(*wire.Message) {})...),
		"few frames":          signed(func(*wire.Message) {})[:5],
		"envelope injection":  signed(func(m *wire.Message) { m.Content = []byte(`{},"channel":"shell","x":{}`) }),
		"raw NUL":             signed(func(m *wire.Message) { m.Content = []byte("{\"a\":\"\x00\"}") }),
		"header not UTF-8":    signed(func(m *wire.Message) { m.Header = []byte("{\"msg_id\":\"\xff\"}") }),
		"header of 64 KiB +1": signed(func(m *wire.Message) { m.Header = pad(wire.MaxHeader + 1) }),
		"metadata a list":     signed(func(m *wire.Message) { m.Metadata = []byte("[]") }),
		"121 buffers":         signed(func(m *wire.Message) { m.Buffers = make([][]byte, wire.MaxBuffers+1) }),
	}
	forged := signed(func(*wire.Message) {})
	forged[5] = []byte(`{"comm_id":"c2","data":{}}`)
	rows["forged content"] = forged
	for name, frames := range rows {
		if _, err := s.DecodeFrames(wire.IOPub, frames); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.DecodeFrames(wire.IOPub, signed(func(m *wire.Message) { m.Header = pad(wire.MaxHeader) })); err != nil {
		t.Errorf("header of 64 KiB: %v", err)
	}
}

func TestInvalidUTF8InContentIsRepaired(t *testing.T) {
	s := wire.NewSigner("k")
	m := vector(wire.IOPub)
	m.Content = []byte("{\"text\":\"a\xffb\"}")
	got, err := s.DecodeFrames(wire.IOPub, s.Frames(&m))
	if err != nil || string(got.Content) != `{"text":"a`+"\uFFFD"+`b"}` {
		t.Errorf("%s, %v", got.Content, err)
	}
}

func TestParseHeader(t *testing.T) {
	h, err := wire.ParseHeader([]byte(` { "msg\u005fid" : "x\"y" , "date":null, "n":[1,{"msg_id":2}], "msg_type":"t"} `))
	if err != nil || h.MsgID != `x"y` || h.MsgType != "t" || h.Session != "" {
		t.Errorf("%+v, %v", h, err)
	}
	if h, err := wire.ParseHeader([]byte("{}")); err != nil || h != (wire.Header{}) {
		t.Errorf("empty: %+v, %v", h, err)
	}
	for _, bad := range []string{`{"msg_type":"a","msg_type":"b"}`, `{"msg_id":7}`, `{"session":{}}`,
		`{"msg_id":"` + strings.Repeat("x", 2000) + `"}`, `[]`} {
		if _, err := wire.ParseHeader([]byte(bad)); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%.40s: %v", bad, err)
		}
	}
}

// pad returns a JSON object of exactly n bytes.
func pad(n int) []byte {
	const frame = `{"msg_id":"m","x":""}`
	return []byte(`{"msg_id":"m","x":"` + strings.Repeat("y", n-len(frame)) + `"}`)
}

func same(a, b wire.Message) bool {
	if len(a.Buffers) != len(b.Buffers) {
		return false
	}
	for i := range a.Buffers {
		if !bytes.Equal(a.Buffers[i], b.Buffers[i]) {
			return false
		}
	}
	a.Buffers, b.Buffers = nil, nil
	return reflect.DeepEqual(a, b)
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := errors.Join(json.Unmarshal(a, &x), json.Unmarshal(b, &y)); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}

func TestVectorsAreTheDocumentedOnes(t *testing.T) {
	const doc = "CQAAAAAAAABQAAAAAAAAAFUAAAAAAAAAzQAAAAAAAADPAAAAAAAAANEAAAAAAAAA6wAAAAAAAADuAAAAAAAAAO4AAAAAAAAA8AAAAAAAAABpb3B1YnsibXNn"
	if got := base64.StdEncoding.EncodeToString(golden(t, "v1_3buf.bin")); !strings.HasPrefix(got, doc) {
		t.Error("testdata/v1_3buf.bin was changed")
	}
}
