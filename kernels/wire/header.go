package wire

import (
	"encoding/json"
	"fmt"
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
	seen := make(map[string]bool, 8)
	err := members(raw, func(key string, value []byte) error {
		if seen[key] {
			return fmt.Errorf("%w: header has %q twice", ErrMalformed, key)
		}
		seen[key] = true
		var field *string
		switch key {
		case "msg_id":
			field = &h.MsgID
		case "msg_type":
			field = &h.MsgType
		case "session":
			field = &h.Session
		default:
			return nil
		}
		return stringField(key, value, field)
	})
	return h, err
}

func stringField(key string, value []byte, into *string) error {
	if len(value) > maxField {
		return fmt.Errorf("%w: header field %q of %d bytes", ErrMalformed, key, len(value))
	}
	if len(value) == 0 || value[0] != '"' {
		return fmt.Errorf("%w: header field %q is not a string", ErrMalformed, key)
	}
	if err := json.Unmarshal(value, into); err != nil {
		return fmt.Errorf("%w: header field %q: %w", ErrMalformed, key, err)
	}
	return nil
}
