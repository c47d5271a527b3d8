package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// object is a JSON object of a request, read member by member: strict about the types of those that mean something,
// deaf to all others. An absent body, null, and an absent or null member are all the same.
type object map[string]json.RawMessage

// parseObject reads a body.
func parseObject(body []byte) (object, error) {
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return nil, nil
	}
	var o object
	if !utf8.Valid(body) || !json.Valid(body) {
		return nil, invalid("The request's body is not JSON.")
	}
	if err := json.Unmarshal(body, &o); err != nil {
		return nil, invalid("The request's body must be a JSON object.")
	}
	return o, nil
}

// has reports whether the member is there and not null.
func (o object) has(name string) bool {
	v, ok := o[name]
	return ok && string(v) != "null"
}

// text reads a string of at most limit bytes.
func (o object) text(name string, limit int) (string, error) {
	if !o.has(name) {
		return "", nil
	}
	var s string
	if err := json.Unmarshal(o[name], &s); err != nil {
		return "", invalid(fmt.Sprintf("%q must be a string.", name))
	}
	if len(s) > limit {
		return "", invalid(fmt.Sprintf("%q must not be longer than %d bytes.", name, limit))
	}
	if strings.ContainsRune(s, 0) {
		return "", invalid(fmt.Sprintf("%q must not contain a NUL character.", name))
	}
	return s, nil
}

// optional is text with nil for a member that is absent or null.
func (o object) optional(name string, limit int) (*string, error) {
	if !o.has(name) {
		return nil, nil
	}
	s, err := o.text(name, limit)
	return &s, err
}

// object reads an object within.
func (o object) object(name string) (object, error) {
	if !o.has(name) {
		return nil, nil
	}
	var inner object
	if err := json.Unmarshal(o[name], &inner); err != nil {
		return nil, invalid(fmt.Sprintf("%q must be an object.", name))
	}
	return inner, nil
}
