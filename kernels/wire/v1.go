package wire

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// SubprotocolV1 is the WebSocket subprotocol that selects the v1 format.
const SubprotocolV1 = "v1.kernel.websocket.jupyter.org"

// V1 returns the one binary WebSocket frame of m in the v1 format, in pieces that follow each other and alias m: a
// count of offsets, the offsets (all 64-bit little-endian), then channel, header, parent_header, metadata, content and
// the buffers.
func V1(m *Message) [][]byte {
	pieces := append(make([][]byte, 0, 5+len(m.Buffers)), v1Head(nil, m), m.Header, m.Parent, m.Metadata, m.Content)
	return append(pieces, m.Buffers...)
}

// AppendV1 appends the same in one piece.
func AppendV1(dst []byte, m *Message) []byte {
	dst = v1Head(dst, m)
	dst = append(dst, m.Header...)
	dst = append(dst, m.Parent...)
	dst = append(dst, m.Metadata...)
	dst = append(dst, m.Content...)
	for _, b := range m.Buffers {
		dst = append(dst, b...)
	}
	return dst
}

// v1Head appends all that comes before the header.
func v1Head(dst []byte, m *Message) []byte {
	offsets := 6 + len(m.Buffers)
	at := uint64(8 * (offsets + 1))
	dst = binary.LittleEndian.AppendUint64(slices.Grow(dst, int(at)+len(m.Channel)), uint64(offsets))
	next := func(size int) {
		dst = binary.LittleEndian.AppendUint64(dst, at)
		at += uint64(size)
	}
	next(len(m.Channel))
	next(len(m.Header))
	next(len(m.Parent))
	next(len(m.Metadata))
	next(len(m.Content))
	for _, b := range m.Buffers {
		next(len(b))
	}
	next(0)
	return append(dst, m.Channel...)
}

// DecodeV1 reads a frame that a client sent in the v1 format. The message aliases frame.
func DecodeV1(frame []byte) (Message, error) {
	if len(frame) < 8 {
		return Message{}, fmt.Errorf("%w: frame of %d bytes", ErrMalformed, len(frame))
	}
	count := binary.LittleEndian.Uint64(frame)
	if count < 6 || count > 6+MaxBuffers {
		return Message{}, fmt.Errorf("%w: %d offsets", ErrMalformed, count)
	}
	n := int(count)
	if len(frame) < 8*(n+1) {
		return Message{}, fmt.Errorf("%w: frame ends within its offsets", ErrMalformed)
	}
	offsets := make([]uint64, n)
	for i := range offsets {
		offsets[i] = binary.LittleEndian.Uint64(frame[8*(i+1):])
	}
	segments, err := cut(frame, offsets, uint64(8*(n+1)))
	if err != nil {
		return Message{}, err
	}
	if offsets[n-1] != uint64(len(frame)) {
		return Message{}, fmt.Errorf("%w: last offset is not the frame's end", ErrMalformed)
	}
	m := Message{
		Channel: Channel(segments[0]),
		Header:  segments[1], Parent: segments[2], Metadata: segments[3], Content: segments[4],
		Buffers: segments[5 : n-1],
	}
	return m, m.checkFromClient()
}

// cut returns the segments that begin at the given offsets, the last one reaching to the frame's end. Offsets must
// not decrease, must not reach before first and not beyond the frame.
func cut(frame []byte, offsets []uint64, first uint64) ([][]byte, error) {
	previous := first
	for i, o := range offsets {
		if o < previous || o > uint64(len(frame)) {
			return nil, fmt.Errorf("%w: offset %d out of order or range", ErrMalformed, i)
		}
		previous = o
	}
	segments := make([][]byte, len(offsets))
	for i, o := range offsets {
		end := uint64(len(frame))
		if i+1 < len(offsets) {
			end = offsets[i+1]
		}
		segments[i] = frame[o:end:end]
	}
	return segments, nil
}

// checkFromClient is check, and the channel must be one on which clients send.
func (m *Message) checkFromClient() error {
	switch m.Channel {
	case Shell, Stdin, Control:
		return m.check()
	case "":
		m.Channel = Shell
		return m.check()
	}
	return fmt.Errorf("%w: clients do not send on channel %.20q", ErrMalformed, string(m.Channel))
}
