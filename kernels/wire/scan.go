package wire

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// Bounds on JSON from foreigners.
const (
	maxMembers = 256  // names in one object whose members are looked at
	maxDepth   = 1024 // objects and arrays within each other
)

// isObject reports whether part is exactly one JSON object (RFC 8259) in valid UTF-8, white space around it allowed. It
// is what makes it safe to place the bytes inside a client's JSON envelope.
func isObject(part []byte) bool {
	i := skipSpace(part, 0)
	if i == len(part) || part[i] != '{' {
		return false
	}
	end := skipValue(part, i)
	return end > 0 && skipSpace(part, end) == len(part)
}

// members calls fn with each name and raw value of the JSON object b, in order. Names are unescaped; values alias b.
func members(b []byte, fn func(key string, value []byte) error) error {
	i := skipSpace(b, 0)
	if i == len(b) || b[i] != '{' {
		return fmt.Errorf("%w: not an object", ErrMalformed)
	}
	for n := 0; ; n++ {
		if i = skipSpace(b, i+1); n == 0 && i < len(b) && b[i] == '}' {
			return nil
		}
		if n == maxMembers {
			return fmt.Errorf("%w: object with more than %d names", ErrMalformed, maxMembers)
		}
		nameEnd := skipString(b, i)
		colonEnd := skipColon(b, nameEnd)
		if colonEnd < 0 {
			return fmt.Errorf("%w: object", ErrMalformed)
		}
		start := skipSpace(b, colonEnd)
		end := skipValue(b, start)
		if end < 0 {
			return fmt.Errorf("%w: object", ErrMalformed)
		}
		key, err := unquote(b[i:nameEnd])
		if err != nil {
			return err
		}
		if err := fn(key, b[start:end]); err != nil {
			return err
		}
		switch i = skipSpace(b, end); {
		case i < len(b) && b[i] == '}':
			return nil
		case i == len(b) || b[i] != ',':
			return fmt.Errorf("%w: object", ErrMalformed)
		}
	}
}

// unquote returns what a JSON string says.
func unquote(quoted []byte) (string, error) {
	inner := quoted[1 : len(quoted)-1]
	for _, c := range inner {
		if c == '\\' {
			var s string
			if err := json.Unmarshal(quoted, &s); err != nil {
				return "", fmt.Errorf("%w: string: %w", ErrMalformed, err)
			}
			return s, nil
		}
	}
	return string(inner), nil
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n') {
		i++
	}
	return i
}

// skipValue returns the index behind the JSON value that begins at i, or -1 when there is no valid one or it is nested
// deeper than maxDepth. It uses no memory beyond a fixed stack, one bit for each open object.
func skipValue(b []byte, i int) int {
	var inObject [maxDepth / 64]uint64
	depth := 0
	for {
		if i = skipSpace(b, i); i >= len(b) {
			return -1
		}
		switch b[i] {
		case '{', '[':
			if depth == maxDepth {
				return -1
			}
			word, bit := &inObject[depth/64], uint64(1)<<(depth%64)
			depth++
			if b[i] == '[' {
				*word &^= bit
				if i = skipSpace(b, i+1); i >= len(b) || b[i] != ']' {
					continue
				}
			} else {
				*word |= bit
				if i = skipSpace(b, i+1); i >= len(b) || b[i] != '}' {
					if i = skipName(b, i); i < 0 {
						return -1
					}
					continue
				}
			}
			depth--
			i++
		default:
			if i = skipScalar(b, i); i < 0 {
				return -1
			}
		}
		// A value has ended. What encloses it goes on or ends as well.
		for {
			if depth == 0 {
				return i
			}
			if i = skipSpace(b, i); i >= len(b) {
				return -1
			}
			object := inObject[(depth-1)/64]>>((depth-1)%64)&1 == 1
			if c := b[i]; c == ',' {
				i++
				if object {
					if i = skipName(b, skipSpace(b, i)); i < 0 {
						return -1
					}
				}
				break
			} else if c != '}' && object || c != ']' && !object {
				return -1
			}
			depth--
			i++
		}
	}
}

// skipName returns the index behind the name and colon that begin at i, or -1.
func skipName(b []byte, i int) int { return skipColon(b, skipString(b, i)) }

// skipColon returns the index behind the colon that comes next, or -1, also when i is that.
func skipColon(b []byte, i int) int {
	if i < 0 {
		return -1
	}
	if i = skipSpace(b, i); i >= len(b) || b[i] != ':' {
		return -1
	}
	return i + 1
}

// skipScalar returns the index behind the string, number or word that begins at i, or -1.
func skipScalar(b []byte, i int) int {
	switch b[i] {
	case '"':
		return skipString(b, i)
	case 't':
		return skipWord(b, i, "true")
	case 'f':
		return skipWord(b, i, "false")
	case 'n':
		return skipWord(b, i, "null")
	}
	return skipNumber(b, i)
}

func skipWord(b []byte, i int, word string) int {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return -1
	}
	return i + len(word)
}

func skipNumber(b []byte, i int) int {
	if i < len(b) && b[i] == '-' {
		i++
	}
	switch {
	case i < len(b) && b[i] == '0':
		i++
	default:
		if i = skipDigits(b, i); i < 0 {
			return -1
		}
	}
	if i < len(b) && b[i] == '.' {
		if i = skipDigits(b, i+1); i < 0 {
			return -1
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return skipDigits(b, i)
	}
	return i
}

// skipDigits wants at least one.
func skipDigits(b []byte, i int) int {
	start := i
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	if i == start {
		return -1
	}
	return i
}

// skipString returns the index behind the string that begins at i, or -1 when there is no valid one.
func skipString(b []byte, i int) int {
	if i >= len(b) || b[i] != '"' {
		return -1
	}
	for i++; i < len(b); {
		for i+8 <= len(b) && isPlain(binary.LittleEndian.Uint64(b[i:])) {
			i += 8
		}
		if i == len(b) {
			break
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			if i = skipEscape(b, i); i < 0 {
				return -1
			}
		case c < ' ':
			return -1
		case c < utf8.RuneSelf:
			i++
		default:
			r, size := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && size == 1 {
				return -1
			}
			i += size
		}
	}
	return -1
}

// isPlain reports whether eight bytes of a string are all ASCII without a quote, a backslash or a control character.
func isPlain(w uint64) bool {
	const each, high = 0x0101010101010101, 0x8080808080808080
	quote, backslash := w^each*'"', w^each*'\\'
	return (w|(w-each*' ')|(quote-each)&^quote|(backslash-each)&^backslash)&high == 0
}

// skipEscape returns the index behind the escape sequence that begins at i, or -1.
func skipEscape(b []byte, i int) int {
	if i+1 >= len(b) {
		return -1
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		if i+6 > len(b) {
			return -1
		}
		for _, c := range b[i+2 : i+6] {
			if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
				return -1
			}
		}
		return i + 6
	}
	return -1
}
