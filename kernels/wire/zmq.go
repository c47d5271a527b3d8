package wire

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"sync"
)

var delimiter = []byte("<IDS|MSG>")

// Signer signs and verifies messages with a kernel's key (hmac-sha256 over header, parent_header, metadata and
// content; buffers are not covered). It is safe for concurrent use.
type Signer struct {
	key  []byte
	pool sync.Pool
}

// NewSigner takes the connection file's "key" as it is written there. An empty key means unsigned messages, as in
// the protocol.
func NewSigner(key string) *Signer {
	s := &Signer{key: []byte(key)}
	s.pool.New = func() any { return hmac.New(sha256.New, s.key) }
	return s
}

// signature returns the lower-case hex signature of the four parts, empty without a key.
func (s *Signer) signature(m *Message) []byte {
	if len(s.key) == 0 {
		return nil
	}
	mac := s.pool.Get().(hash.Hash)
	defer s.pool.Put(mac)
	mac.Reset()
	mac.Write(m.Header)
	mac.Write(m.Parent)
	mac.Write(m.Metadata)
	mac.Write(m.Content)
	var sum [sha256.Size]byte
	out := make([]byte, 2*sha256.Size)
	hex.Encode(out, mac.Sum(sum[:0]))
	return out
}

// Frames returns the ZeroMQ frames of m for a DEALER socket: delimiter, signature, the four parts, the buffers. The
// frames alias m.
func (s *Signer) Frames(m *Message) [][]byte {
	frames := make([][]byte, 0, 6+len(m.Buffers))
	frames = append(frames, delimiter, s.signature(m), m.Header, m.Parent, m.Metadata, m.Content)
	return append(frames, m.Buffers...)
}

// DecodeFrames reads a message that a kernel sent on ch: routing or topic frames up to the delimiter are skipped,
// the signature is verified before anything else is looked at, then the parts are checked. The message aliases
// the frames, but not the slice of them.
func (s *Signer) DecodeFrames(ch Channel, frames [][]byte) (Message, error) {
	at := -1
	for i, f := range frames {
		if bytes.Equal(f, delimiter) {
			at = i
			break
		}
		if i == MaxIdentities || len(f) > MaxIdentity {
			break
		}
	}
	if at < 0 {
		return Message{}, fmt.Errorf("%w: no delimiter", ErrMalformed)
	}
	rest := frames[at+1:]
	if len(rest) < 5 {
		return Message{}, fmt.Errorf("%w: %d frames after the delimiter", ErrMalformed, len(rest))
	}
	m := Message{Channel: ch, Header: rest[1], Parent: rest[2], Metadata: rest[3], Content: rest[4]}
	if len(rest) > 5 {
		m.Buffers = slices.Clone(rest[5:])
	}
	if !hmac.Equal(rest[0], s.signature(&m)) {
		return Message{}, fmt.Errorf("%w: wrong signature", ErrMalformed)
	}
	if err := m.check(); err != nil {
		return Message{}, err
	}
	return m, nil
}
