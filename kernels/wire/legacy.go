package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
)

// AppendLegacy appends m in jupyter_server's default WebSocket format and reports whether the frame is to be sent as
// binary: a JSON text without buffers, otherwise 32-bit big-endian offsets in front of the JSON and the buffers. The
// header must be m's own, parsed; its msg_id and msg_type are repeated at the top level, where clients look for them.
func AppendLegacy(dst []byte, m *Message, h Header) (frame []byte, binaryFrame bool) {
	if len(m.Buffers) == 0 {
		return appendEnvelope(dst, m, h, true), false
	}
	start := len(dst)
	n := 1 + len(m.Buffers)
	dst = binary.BigEndian.AppendUint32(dst, uint32(n))
	dst = append(dst, make([]byte, 4*n)...)
	place := func(i int) {
		binary.BigEndian.PutUint32(dst[start+4*(i+1):], uint32(len(dst)-start))
	}
	place(0)
	dst = appendEnvelope(dst, m, h, false)
	for i, b := range m.Buffers {
		place(i + 1)
		dst = append(dst, b...)
	}
	return dst, true
}

// appendEnvelope builds the JSON object around parts that check has found to be objects.
func appendEnvelope(dst []byte, m *Message, h Header, withBuffers bool) []byte {
	dst = append(dst, `{"header":`...)
	dst = append(dst, m.Header...)
	dst = append(dst, `,"parent_header":`...)
	dst = append(dst, m.Parent...)
	dst = append(dst, `,"metadata":`...)
	dst = append(dst, m.Metadata...)
	dst = append(dst, `,"content":`...)
	dst = append(dst, m.Content...)
	if withBuffers {
		dst = append(dst, `,"buffers":[]`...)
	}
	dst = append(dst, `,"channel":`...)
	dst = appendString(dst, string(m.Channel))
	dst = append(dst, `,"msg_id":`...)
	dst = appendString(dst, h.MsgID)
	dst = append(dst, `,"msg_type":`...)
	dst = appendString(dst, h.MsgType)
	return append(dst, '}')
}

func appendString(dst []byte, s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil { // strings always marshal
		return append(dst, `""`...)
	}
	return append(dst, quoted...)
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
	envelope = repair(envelope)
	if !isObject(envelope) {
		return Message{}, fmt.Errorf("%w: not a JSON object", ErrMalformed)
	}
	m := Message{Buffers: buffers}
	seen := make(map[string]bool, 8)
	err := members(envelope, func(key string, value []byte) error {
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
	var name string
	if err := json.Unmarshal(value, &name); err != nil {
		return fmt.Errorf("%w: channel: %w", ErrMalformed, err)
	}
	*into = Channel(name)
	return nil
}
