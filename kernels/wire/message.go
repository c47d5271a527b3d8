// Package wire is the form of Jupyter messages on their way: ZeroMQ frames with their signature (Jupyter messaging
// protocol 5.x), and the two WebSocket formats of jupyter_server (the default JSON one and
// v1.kernel.websocket.jupyter.org). Everything here is a pure function of bytes that may come from a hostile peer:
// nothing panics, no allocation follows a number that a peer merely declares, and what is accepted is safe to cut
// into another format byte for byte.
package wire

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Channel is the Jupyter channel on which a message travels.
type Channel string

// The channels of the protocol; a heartbeat carries no messages.
const (
	Shell   Channel = "shell"
	IOPub   Channel = "iopub"
	Stdin   Channel = "stdin"
	Control Channel = "control"
)

// Limits of one message's parts, in bytes or counts.
const (
	MaxHeader     = 64 << 10
	MaxMetadata   = 1 << 20
	MaxBuffers    = 120 // buffers in one message
	MaxIdentities = 8   // routing frames before the delimiter
	MaxIdentity   = 255 // bytes of one of them, as in ZeroMQ
)

// ErrMalformed is wrapped by every error of this package that a peer's bytes cause.
var ErrMalformed = errors.New("malformed message")

// Message is one Jupyter message. The four JSON parts are kept as the bytes that were received; after a successful
// Decode each of them is exactly one valid JSON object in valid UTF-8. Slices may alias the buffer they were decoded
// from; a Message is not changed after it was made.
type Message struct {
	Channel  Channel
	Header   []byte
	Parent   []byte
	Metadata []byte
	Content  []byte
	Buffers  [][]byte
}

// bufferOverhead is what a buffer costs beside its bytes, about: also empty ones must not come for nothing.
const bufferOverhead = 64

// Size is the number of bytes that the message keeps in memory, about.
func (m *Message) Size() int {
	n := len(m.Header) + len(m.Parent) + len(m.Metadata) + len(m.Content)
	for _, b := range m.Buffers {
		n += len(b) + bufferOverhead
	}
	return n
}

var emptyObject = []byte("{}")

// check validates the four parts in place: sizes, UTF-8, one JSON object each. Content and metadata with invalid
// UTF-8 are repaired (U+FFFD) rather than refused: kernels send what their users print. A parent header or metadata
// that is absent or null becomes an empty object.
func (m *Message) check() error {
	if isAbsent(m.Parent) {
		m.Parent = emptyObject
	}
	if isAbsent(m.Metadata) {
		m.Metadata = emptyObject
	}
	switch {
	case len(m.Header) > MaxHeader:
		return fmt.Errorf("%w: header of %d bytes", ErrMalformed, len(m.Header))
	case len(m.Parent) > MaxHeader:
		return fmt.Errorf("%w: parent_header of %d bytes", ErrMalformed, len(m.Parent))
	case len(m.Metadata) > MaxMetadata:
		return fmt.Errorf("%w: metadata of %d bytes", ErrMalformed, len(m.Metadata))
	case len(m.Buffers) > MaxBuffers:
		return fmt.Errorf("%w: %d buffers", ErrMalformed, len(m.Buffers))
	}
	var err error
	if err = object("header", m.Header); err != nil {
		return err
	}
	if err = object("parent_header", m.Parent); err != nil {
		return err
	}
	if m.Metadata, err = repaired("metadata", m.Metadata); err != nil {
		return err
	}
	m.Content, err = repaired("content", m.Content)
	return err
}

func object(name string, part []byte) error {
	if !isObject(part) {
		return fmt.Errorf("%w: %s is not a JSON object", ErrMalformed, name)
	}
	return nil
}

// repaired returns part with what is invalid UTF-8 replaced: Python's surrogateescape lets that through.
func repaired(name string, part []byte) ([]byte, error) {
	err := object(name, part)
	if err == nil || utf8.Valid(part) {
		return part, err
	}
	if len(part) > maxReplaced {
		replaceInvalid(part)
	} else {
		part = bytes.ToValidUTF8(part, []byte("\uFFFD"))
	}
	return part, object(name, part)
}

// maxReplaced is the size in bytes up to which a part may grow by its repair, threefold at worst.
const maxReplaced = 1 << 20

// replaceInvalid puts a question mark in the place of each byte that is no UTF-8.
func replaceInvalid(b []byte) {
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 {
			b[i] = '?'
		}
		i += size
	}
}

// isAbsent reports whether an optional part was left out, as some clients do.
func isAbsent(part []byte) bool {
	return len(part) == 0 || bytes.Equal(part, []byte("null"))
}
