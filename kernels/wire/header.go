package wire

import (
	"fmt"
	"slices"
)

// Header has the fields of a message header that routing needs.
type Header struct {
	MsgID   string
	MsgType string
	Session string
}

// MessageHeader is ParseHeader for the header of a message, which must name the message and its type. Parents need not.
func MessageHeader(raw []byte) (Header, error) {
	h, err := ParseHeader(raw)
	if err == nil && (h.MsgID == "" || h.MsgType == "") {
		err = fmt.Errorf("%w: header without msg_id or msg_type", ErrMalformed)
	}
	return h, err
}

// maxField bounds one header field that we keep.
const maxField = 1024

// ParseHeader reads a header that has passed Decode. It is strict where parsers disagree: a name that occurs twice,
// or a routing field that is not a string, is an error. An empty object gives a zero Header (parents may be empty).
func ParseHeader(raw []byte) (Header, error) {
	var h Header
	var room [16]string
	seen := room[:0]
	err := members(raw, func(key string, value []byte) (err error) {
		if slices.Contains(seen, key) {
			return fmt.Errorf("%w: header has %q twice", ErrMalformed, key)
		}
		seen = append(seen, key)
		switch key {
		case "msg_id":
			h.MsgID, err = stringField(key, value)
		case "msg_type":
			h.MsgType, err = stringField(key, value)
		case "session":
			h.Session, err = stringField(key, value)
		}
		return err
	})
	return h, err
}

func stringField(key string, value []byte) (string, error) {
	if len(value) > maxField {
		return "", fmt.Errorf("%w: field %q of %d bytes", ErrMalformed, key, len(value))
	}
	if len(value) == 0 || value[0] != '"' {
		return "", fmt.Errorf("%w: field %q is not a string", ErrMalformed, key)
	}
	return unquote(value)
}
