package kernelstest

import "encoding/binary"

// Masked is a client's WebSocket frame (RFC 6455 §5.2): its first byte, then payload, of less than 64 KiB, with a mask of
// zeros.
func Masked(first byte, payload string) []byte {
	if n := len(payload); n >= 126 {
		return append(binary.BigEndian.AppendUint16([]byte{first, 0x80 | 126}, uint16(n)), "\x00\x00\x00\x00"+payload...)
	}
	return append([]byte{first, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...)
}

// Declaring is the head of a masked text frame that declares n bytes in the longest form.
func Declaring(n uint64) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{0x81, 0x80 | 127}, n), 0, 0, 0, 0)
}
