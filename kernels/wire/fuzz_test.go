package wire_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"cellblock.io/cellblock/kernels/wire"
)

func FuzzDecodeV1(f *testing.F) {
	f.Add(golden(f, "v1_0buf.bin"))
	f.Add(golden(f, "v1_3buf.bin"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := wire.DecodeV1(frame)
		if err != nil {
			return
		}
		again, err := wire.DecodeV1(wire.AppendV1(nil, &m))
		if err != nil || !same(m, again) {
			t.Fatalf("accepted once, then %v", err)
		}
		checkEnvelope(t, m)
	})
}

func FuzzDecodeLegacy(f *testing.F) {
	f.Add(golden(f, "legacy_text.json"))
	f.Add(golden(f, "legacy_3buf.bin"))
	f.Add([]byte(`{"header":{},"content":{},"channel":"shell"}`))
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := wire.DecodeLegacy(frame)
		if err != nil {
			return
		}
		checkEnvelope(t, m)
	})
}

func FuzzParseHeader(f *testing.F) {
	f.Add([]byte(`{"msg_id":"a","msg_type":"b","session":"c"}`))
	f.Add([]byte(`{"msg\u005fid":"a"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) || !utf8.Valid(raw) {
			return
		}
		h, err := wire.ParseHeader(raw)
		if err != nil {
			return
		}
		var want struct {
			MsgID   string `json:"msg_id"`
			MsgType string `json:"msg_type"`
			Session string `json:"session"`
		}
		dec := map[string]json.RawMessage{}
		if err := json.Unmarshal(raw, &dec); err != nil {
			t.Fatalf("accepted what is no object: %v", err)
		}
		for name, into := range map[string]*string{"msg_id": &want.MsgID, "msg_type": &want.MsgType, "session": &want.Session} {
			if v, ok := dec[name]; ok {
				if err := json.Unmarshal(v, into); err != nil {
					t.Fatal(err)
				}
			}
		}
		if h != (wire.Header{MsgID: want.MsgID, MsgType: want.MsgType, Session: want.Session}) {
			t.Fatalf("%+v, encoding/json sees %+v", h, want)
		}
	})
}

func FuzzDecodeFrames(f *testing.F) {
	f.Add([]byte("topic\n<IDS|MSG>\n\n{}\n{}\n{}\n{}\nbuffer"))
	f.Fuzz(func(t *testing.T, joined []byte) {
		m, err := wire.NewSigner("").DecodeFrames(wire.IOPub, bytes.Split(joined, []byte("\n")))
		if err != nil {
			return
		}
		checkEnvelope(t, m)
	})
}

// checkEnvelope: whatever was accepted must make one JSON object whose envelope is ours.
func checkEnvelope(t *testing.T, m wire.Message) {
	t.Helper()
	h, err := wire.ParseHeader(m.Header)
	if err != nil {
		return // refused before it is sent on
	}
	m.Buffers = nil
	text, isBinary := wire.AppendLegacy(nil, &m, h)
	if isBinary || !utf8.Valid(text) {
		t.Fatalf("not a text frame: %q", text)
	}
	var e struct {
		Channel string
		MsgID   string `json:"msg_id"`
	}
	if err := json.Unmarshal(text, &e); err != nil || e.Channel != string(m.Channel) || e.MsgID != h.MsgID {
		t.Fatalf("envelope %s: %+v, %v", text, e, err)
	}
}
