package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
)

// Legacy returns the WebSocket frame of m in jupyter_server's default format, in pieces that follow each other and
// alias m, and reports whether it is to be sent as binary: a JSON text without buffers, otherwise 32-bit big-endian
// offsets in front of the JSON and the buffers. The header must be m's own, parsed; its msg_id and msg_type are
// repeated at the top level, where clients look for them.
func Legacy(m *Message, h Header) (pieces [][]byte, binaryFrame bool) {
	return legacy(make([][]byte, 0, 11+len(m.Buffers)), make([]byte, 0, 256), m, h)
}

// AppendLegacy appends the same in one piece.
func AppendLegacy(dst []byte, m *Message, h Header) (frame []byte, binaryFrame bool) {
	var pieces [11][]byte // without buffers, none of this is on the heap
	var text [256]byte
	all, binaryFrame := legacy(pieces[:0], text[:0], m, h)
	for _, p := range all {
		dst = append(dst, p...)
	}
	return dst, binaryFrame
}

// legacy makes Legacy's pieces in the given room.
func legacy(pieces [][]byte, text []byte, m *Message, h Header) ([][]byte, bool) {
	if len(m.Buffers) == 0 {
		return envelope(pieces, text, m, h), false
	}
	pieces = envelope(append(pieces, nil), text, m, h)
	n := 1 + len(m.Buffers)
	at := uint32(4 * (n + 1))
	head := binary.BigEndian.AppendUint32(make([]byte, 0, at), uint32(n))
	head = binary.BigEndian.AppendUint32(head, at)
	for _, p := range pieces {
		at += uint32(len(p))
	}
	for _, b := range m.Buffers {
		head = binary.BigEndian.AppendUint32(head, at)
		at += uint32(len(b))
	}
	pieces[0] = head
	return append(pieces, m.Buffers...), true
}

// The names of the envelope's members, each with what stands before it.
var (
	begin        = []byte(`{`)
	headerName   = []byte(`"header":`)
	parentName   = []byte(`,"parent_header":`)
	metadataName = []byte(`,"metadata":`)
	contentName  = []byte(`,"content":`)
)

// envelope appends the pieces of the JSON object around parts that check has found to be objects. end is room for the
// last one.
func envelope(dst [][]byte, end []byte, m *Message, h Header) [][]byte {
	if len(m.Buffers) == 0 {
		end = append(end, `,"buffers":[]`...)
	}
	end = append(end, `,"channel":`...)
	end = appendString(end, string(m.Channel))
	end = append(end, `,"msg_id":`...)
	end = appendString(end, h.MsgID)
	end = append(end, `,"msg_type":`...)
	end = appendString(end, h.MsgType)
	end = append(end, '}')
	return append(Parts(append(dst, begin), m), end)
}

// Parts appends the pieces of the members "header", "parent_header", "metadata" and "content" of a JSON object, in
// jupyter_server's default format, with commas between them. They alias m.
func Parts(dst [][]byte, m *Message) [][]byte {
	return append(dst, headerName, m.Header, parentName, m.Parent, metadataName, m.Metadata, contentName, m.Content)
}

// appendString appends s as a JSON string.
func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, err := json.Marshal(s)
			if err != nil { // strings always marshal
				return append(dst, `""`...)
			}
			return append(dst, quoted...)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

// DecodeLegacy reads a frame that a client sent in the default format. Text and binary are told apart by the first
// byte, not by the frame's type: jupyter_server forwards a browser's binary frame as text. The message aliases
// frame.
func DecodeLegacy(frame []byte) (Message, error) {
	if trimmed := bytes.TrimLeft(frame, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		return decodeEnvelope(frame, nil)
	}
	if len(frame) < 8 {
		return Message{}, fmt.Errorf("%w: frame of %d bytes", ErrMalformed, len(frame))
	}
	count := binary.BigEndian.Uint32(frame)
	if count < 1 || count > 1+MaxBuffers {
		return Message{}, fmt.Errorf("%w: %d parts", ErrMalformed, count)
	}
	n := int(count)
	if len(frame) < 4*(n+1) {
		return Message{}, fmt.Errorf("%w: frame ends within its offsets", ErrMalformed)
	}
	offsets := make([]uint64, n)
	for i := range offsets {
		offsets[i] = uint64(binary.BigEndian.Uint32(frame[4*(i+1):]))
	}
	segments, err := cut(frame, offsets, uint64(4*(n+1)))
	if err != nil {
		return Message{}, err
	}
	return decodeEnvelope(segments[0], segments[1:])
}

func decodeEnvelope(envelope []byte, buffers [][]byte) (Message, error) {
	envelope, err := repaired("message", envelope)
	if err != nil {
		return Message{}, err
	}
	m := Message{Buffers: buffers}
	seen := make(map[string]bool, 8)
	err = members(envelope, func(key string, value []byte) error {
		if seen[key] {
			return fmt.Errorf("%w: message has %q twice", ErrMalformed, key)
		}
		seen[key] = true
		switch key {
		case "header":
			m.Header = value
		case "parent_header":
			m.Parent = value
		case "metadata":
			m.Metadata = value
		case "content":
			m.Content = value
		case "channel":
			return channelField(value, &m.Channel)
		}
		return nil
	})
	if err != nil {
		return Message{}, err
	}
	return m, m.checkFromClient()
}

func channelField(value []byte, into *Channel) error {
	if bytes.Equal(value, []byte("null")) {
		return nil
	}
	name, err := stringField("channel", value)
	*into = Channel(name)
	return err
}
