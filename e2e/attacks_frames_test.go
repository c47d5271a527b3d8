//go:build e2e

package e2e_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"cellblock.io/cellblock/kernels/kernelstest"
)

// frames are rows of bytes on an open WebSocket, and the codes with which it may be closed.
var frames = []frameRow{
	{name: "WS-16 length 64 MiB and one", bytes: kernelstest.Declaring(64<<20 + 1), codes: []int{1009}},
	{name: "WS-16 length 2^63-1", bytes: kernelstest.Declaring(1<<63 - 1), codes: []int{1009}},
	{name: "WS-16 length 2^63", bytes: kernelstest.Declaring(1 << 63), codes: []int{1009, 1002, 1012}},
	{name: "WS-16 length -1", bytes: kernelstest.Declaring(1<<64 - 1), codes: []int{1009, 1002, 1012}},
	{name: "WS-16 fragments", bytes: append(append(kernelstest.Masked(0x01, "x"), 0x00, 0x80|127),
		append(binary.BigEndian.AppendUint64(nil, 64<<20), 0, 0, 0, 0)...), codes: []int{1009}},
	{name: "WS-20 a compressed frame", bytes: kernelstest.Masked(0xc1, "\x01\x02"), lines: []string{"Sec-WebSocket-Extensions: permessage-deflate"}, codes: []int{1002}},
	{name: "WS-16 not masked", bytes: []byte("\x81\x02{}"), codes: []int{1002}},
	{name: "WS-16 unknown opcode", bytes: kernelstest.Masked(0x83, "{}"), codes: []int{1002}},
	{name: "WS-16 ping of 126 bytes", bytes: kernelstest.Masked(0x89, strings.Repeat("x", 126)), codes: []int{1002}},
	{name: "WS-16 message in a message", bytes: append(kernelstest.Masked(0x01, "{"), kernelstest.Masked(0x81, "{}")...), codes: []int{1002}},
	{name: "WS-30 101 malformed messages", bytes: bytes.Repeat(kernelstest.Masked(0x81, "{"), 101), codes: []int{1008}},
	{name: "WS-29 text on v1", bytes: kernelstest.Masked(0x81, "{}"), lines: []string{"Sec-WebSocket-Protocol: " + subprotocolV1}, codes: []int{1003, 1007, 1008, 1002}},
}

type frameRow struct {
	name  string
	lines []string // more of the handshake
	bytes []byte
	codes []int
}

func (r frameRow) ends(code int) bool { return slices.Contains(r.codes, code) }

// forge sends messages that claim what is not so. None of them may run, and what comes after them does.
func (s *siege) forge(t *testing.T) {
	p := s.mallory.peer(t, s.own, randomHex(t, 16))
	p.run("forged = []")
	head := func(more string) string { return `"header":{"msg_id":"x","msg_type":"execute_request"` + more + `}` }
	code := func(name string) string {
		return `"parent_header":{},"metadata":{},"content":{"code":"forged.append('` + name + `')","silent":false}`
	}
	for name, text := range map[string]string{
		"WS-30 iopub":             `{"channel":"iopub",` + head("") + `,` + code("iopub") + `}`,
		"WS-30 hb":                `{"channel":"hb",` + head("") + `,` + code("hb") + `}`,
		"WS-30 path":              `{"channel":"../x",` + head("") + `,` + code("path") + `}`,
		"WS-30 list":              `{"channel":["shell"],` + head("") + `,` + code("list") + `}`,
		"WS-33 two channels":      `{"channel":"shell","channel":"control",` + head("") + `,` + code("two channels") + `}`,
		"WS-33 escaped channel":   `{"channel":"shell","ch\u0061nnel":"control",` + head("") + `,` + code("escaped channel") + `}`,
		"WS-33 two types":         `{"channel":"shell",` + head(`,"msg_type":"shutdown_request"`) + `,` + code("two types") + `}`,
		"WS-33 escaped type":      `{"channel":"shell",` + head(`,"msg\u005ftype":"shutdown_request"`) + `,` + code("escaped type") + `}`,
		"WS-33 two headers":       `{"channel":"shell",` + head("") + `,` + head("") + `,` + code("two headers") + `}`,
		"WS-33 not a number":      `{"channel":"shell",` + head(`,"x":NaN`) + `,` + code("not a number") + `}`,
		"WS-33 deep":              `{"channel":"shell",` + head(`,"x":`+strings.Repeat("[", 50_000)+strings.Repeat("]", 50_000)) + `,` + code("deep") + `}`,
		"WS-33 one more":          `{"channel":"shell",` + head("") + `,` + code("one more") + `} {}`,
		"WS-33 no header":         `{"channel":"shell",` + code("no header") + `}`,
		"WS-30 no channel, twice": `{"channel":null,` + head("") + `,` + code("no channel") + `}`,
	} {
		t.Log(name)
		p.send(websocket.TextMessage, []byte(text))
	}
	if got := p.run("print(forged)").text; got != "[]\n" {
		t.Errorf("what was forged ran: %s", got)
	}
	// WS-32: what a message says of its sender decides nothing. Its answer comes here, to whom sent it.
	p.send(websocket.TextMessage, []byte(`{"channel":"shell","header":{"msg_id":"spoofed","msg_type":"execute_request","username":"alice","session":"another",`+
		`"date":"x","version":"9"},"parent_header":{},"metadata":{},"content":{"code":"1","silent":false}}`))
	if got := p.finish("spoofed", cellTime); got.reply.Header.Type != "execute_reply" {
		t.Errorf("the answer to it is %+v", got.reply.Header)
	}
	s.work.goesOn(t)
}

// offsets sends v1 frames whose table of offsets lies. Each costs itself only.
func (s *siege) offsets(t *testing.T) {
	p := s.mallory.peer(t, s.own, randomHex(t, 16), subprotocolV1)
	p.run("forged = []")
	good := v1Frame([][]byte{[]byte("shell"), []byte(`{"msg_id":"x","msg_type":"execute_request"}`), []byte("{}"), []byte("{}"),
		[]byte(`{"code":"forged.append(1)","silent":false}`)})
	with := func(at int, value uint64) []byte {
		frame := slices.Clone(good)
		binary.LittleEndian.PutUint64(frame[8*at:], value)
		return frame
	}
	for name, frame := range map[string][]byte{
		"count 2^61": with(0, 1<<61), "count -1": with(0, 1<<64-1), "count 0": with(0, 0), "count 1": with(0, 1), "decreasing": with(2, 1), "beyond the end": with(6, 1<<40),
		"at 2^63": with(3, 1<<63), "short of the end": with(6, uint64(len(good)-1)), "into the table": with(1, 8), "empty": {}, "seven bytes": good[:7],
		"cut": good[:len(good)-1], "channel iopub": bytes.Replace(good, []byte("shell"), []byte("iopub"), 1),
	} {
		t.Log(name)
		p.send(websocket.BinaryMessage, frame)
	}
	if got := p.run("print(forged)").text; got != "[]\n" {
		t.Errorf("what was forged ran: %s", got)
	}
	s.work.goesOn(t)
}
