package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// SubprotocolV1 is the WebSocket subprotocol that selects the v1 format.
const SubprotocolV1 = "v1.kernel.websocket.jupyter.org"

// AppendV1 appends the one binary WebSocket frame of m in the v1 format. See V1.
func AppendV1(dst []byte, m *Message) []byte { return append(dst, bytes.Join(V1(m), nil)...) }

// V1 returns the one binary WebSocket frame of m in the v1 format, in pieces that follow each other and alias m: a
// count of offsets, the offsets (all 64-bit little-endian), then channel, header, parent_header, metadata, content and
// the buffers.
func V1(m *Message) [][]byte {
	offsets := 6 + len(m.Buffers)
	pieces := append(make([][]byte, 0, offsets), nil, m.Header, m.Parent, m.Metadata, m.Content)
	pieces = append(pieces, m.Buffers...)
	pos := uint64(8 * (offsets + 1))
	head := make([]byte, 0, int(pos)+len(m.Channel))
	head = binary.LittleEndian.AppendUint64(head, uint64(offsets))
	head = binary.LittleEndian.AppendUint64(head, pos)
	pos += uint64(len(m.Channel))
	for _, p := range pieces[1:] {
		head = binary.LittleEndian.AppendUint64(head, pos)
		pos += uint64(len(p))
	}
	head = binary.LittleEndian.AppendUint64(head, pos)
	pieces[0] = append(head, m.Channel...)
	return pieces
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
