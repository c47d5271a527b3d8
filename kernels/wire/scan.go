package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// maxMembers bounds the names in one object that members walks through.
const maxMembers = 256

// members calls fn with each name and raw value of the JSON object b, in order. b must be valid JSON (isObject): the
// walk relies on it and only has to find where values end. Names are unescaped; values alias b.
func members(b []byte, fn func(key string, value []byte) error) error {
	i := skipSpace(b, 0)
	if i >= len(b) || b[i] != '{' {
		return fmt.Errorf("%w: not an object", ErrMalformed)
	}
	i = skipSpace(b, i+1)
	for n := 0; i < len(b) && b[i] == '"'; n++ {
		if n == maxMembers {
			return fmt.Errorf("%w: object with more than %d names", ErrMalformed, maxMembers)
		}
		end := skipString(b, i)
		key, err := unquote(b[i:end])
		if err != nil {
			return err
		}
		i = skipSpace(b, end)
		start := skipSpace(b, i+1) // over the colon
		i = skipValue(b, start)
		if err := fn(key, bytes.TrimRight(b[start:i], " \t\r\n")); err != nil {
			return err
		}
		if i < len(b) && b[i] == ',' {
			i = skipSpace(b, i+1)
		}
	}
	return nil
}

func unquote(quoted []byte) (string, error) {
	if len(quoted) >= 2 && bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1]), nil
	}
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil {
		return "", fmt.Errorf("%w: name: %w", ErrMalformed, err)
	}
	return s, nil
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n') {
		i++
	}
	return i
}

// skipString returns the index behind the string that begins at i.
func skipString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// skipValue returns the index of the comma or bracket that ends the value beginning at i.
func skipValue(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			i = skipString(b, i)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return len(b)
}
