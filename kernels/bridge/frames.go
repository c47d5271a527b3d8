package bridge

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/go-zeromq/zmq4"
)

// Limits on what a kernel may send on one socket after the handshake (ZMTP 3.0, RFC 23).
const (
	maxFrames       = 136 // identities, delimiter, signature, parts and buffers
	maxMessageBytes = 64 << 20
	maxSkipped      = 1 << 30 // bytes of one message that are read over because they are too many
	maxCommands     = 100     // ignored commands between two messages
	largeBody       = 16 << 20
)

// maxFrame is the largest frame by socket type: outputs may be large, the rest not so.
var maxFrame = map[zmq4.SocketType]uint64{zmq4.Sub: 64 << 20, zmq4.Dealer: 16 << 20}

// The flags of a ZMTP frame.
const (
	flagMore = 1 << iota
	flagLong
	flagCommand
)

// frame is the header of a frame.
type frame struct {
	flags  byte
	header int // its own bytes
	length uint64
}

// tooLargeError says that a message was left out for its size in bytes.
type tooLargeError struct{ size uint64 }

func (e *tooLargeError) Error() string { return fmt.Sprintf("message of %d bytes", e.size) }

// readMessage returns the frames of the next message, waiting for it without end. Their bytes are the caller's, the
// slice of them is valid until the next call. A message that is too large is read over and gives a *tooLargeError: a
// kernel whose link ends looks restarted, although it lives and only printed much. Every other error is final.
func (g *guard) readMessage() ([][]byte, error) {
	if frames := g.buffered(); frames != nil {
		g.commands = 0
		return frames, nil
	}
	g.frames = g.frames[:0]
	var kept, skipped uint64
	for count, more := 0, true; more; {
		f, err := g.peekFrame(count > 0)
		if err != nil {
			return nil, err
		}
		if f.flags&flagCommand != 0 {
			if err := g.skipCommand(f, count > 0); err != nil {
				return nil, err
			}
			continue
		}
		more = f.flags&flagMore != 0
		if count++; f.length > g.most || count > maxFrames || kept+skipped+f.length > g.most {
			return nil, fmt.Errorf("%w: message of %d frames with a frame of %d bytes", errProtocol, count, f.length)
		}
		if _, err := g.r.Discard(f.header); err != nil {
			return nil, err
		}
		if skipped > 0 || f.length > maxFrame[g.kind] || kept+f.length > maxMessageBytes {
			g.frames = nil
			skipped += f.length
			if err := g.skip(f.length); err != nil {
				return nil, err
			}
			continue
		}
		body, err := g.readBody(int(f.length))
		if err != nil {
			return nil, err
		}
		kept += f.length
		g.frames = append(g.frames, body)
	}
	g.commands = 0
	if err := g.disarm(); err != nil {
		return nil, err
	}
	if skipped > 0 {
		return nil, &tooLargeError{size: kept + skipped}
	}
	return g.frames, nil
}

// buffered returns the next message if all of it has been read ahead, which most small ones have, in one block. It
// returns nil when that is not so, or when there is anything unusual about it.
func (g *guard) buffered() [][]byte {
	b, err := g.r.Peek(g.r.Buffered())
	if err != nil {
		return nil
	}
	g.frames = g.frames[:0]
	size, at := 0, 0
	for more := true; more; {
		f, ok := parseFrame(b[at:])
		if !ok || f.flags&^(flagMore|flagLong) != 0 || f.length > uint64(len(b)-at-f.header) || len(g.frames) == maxFrames {
			return nil
		}
		start := at + f.header
		at = start + int(f.length)
		g.frames = append(g.frames, b[start:at])
		size += int(f.length)
		more = f.flags&flagMore != 0
	}
	if uint64(size) > g.most {
		return nil
	}
	block := make([]byte, 0, size)
	for i, f := range g.frames {
		start := len(block)
		block = append(block, f...)
		g.frames[i] = block[start:len(block):len(block)]
	}
	if _, err := g.r.Discard(at); err != nil {
		return nil
	}
	return g.frames
}

// parseFrame reads the header at the beginning of b; ok is false when b ends within it.
func parseFrame(b []byte) (f frame, ok bool) {
	switch {
	case len(b) < 2:
		return frame{}, false
	case b[0]&flagLong == 0:
		return frame{flags: b[0], header: 2, length: uint64(b[1])}, true
	case len(b) < 9:
		return frame{}, false
	}
	return frame{flags: b[0], header: 9, length: binary.BigEndian.Uint64(b[1:])}, true
}

// peekFrame returns the header of the next frame without consuming it. Between messages it waits without end, within
// one only as long as arm allows.
func (g *guard) peekFrame(within bool) (frame, error) {
	if g.established && !within && g.r.Buffered() == 0 {
		if _, err := g.r.Peek(1); err != nil { // the pause between messages
			return frame{}, err
		}
	}
	for _, n := range []int{2, 9} {
		b, err := g.peek(n)
		if err != nil {
			return frame{}, err
		}
		if f, ok := parseFrame(b); ok {
			if f.flags&^(flagMore|flagLong|flagCommand) != 0 {
				return frame{}, fmt.Errorf("%w: reserved flags %#x", errProtocol, f.flags)
			}
			return f, nil
		}
	}
	return frame{}, fmt.Errorf("%w: frame header", errProtocol)
}

// peek returns the next n bytes, at most readAhead, within the time of a frame that has begun.
func (g *guard) peek(n int) ([]byte, error) {
	if g.r.Buffered() < n {
		if err := g.arm(); err != nil {
			return nil, err
		}
	}
	return g.r.Peek(n)
}

// peekCommand returns the body of a command without consuming it.
func (g *guard) peekCommand(f frame) ([]byte, error) {
	if f.flags&flagMore != 0 || f.length > maxReady {
		return nil, fmt.Errorf("%w: command of %d bytes, flags %#x", errProtocol, f.length, f.flags)
	}
	b, err := g.peek(f.header + int(f.length))
	if err != nil {
		return nil, err
	}
	return b[f.header:], nil
}

// skipCommand reads over a command between messages, of which there may be some.
func (g *guard) skipCommand(f frame, within bool) error {
	if within {
		return fmt.Errorf("%w: command within a message", errProtocol)
	}
	body, err := g.peekCommand(f)
	if err != nil {
		return err
	}
	if g.commands++; g.commands > maxCommands {
		return fmt.Errorf("%w: %d commands", errProtocol, g.commands)
	}
	if _, err := g.r.Discard(f.header + len(body)); err != nil {
		return err
	}
	return g.disarm()
}

// readBody returns the next n bytes. Memory grows with what arrives, not with what was announced: up to largeBody no
// more than twofold.
func (g *guard) readBody(n int) ([]byte, error) {
	body := make([]byte, 0, min(n, readAhead))
	for len(body) < n {
		if len(body) == cap(body) {
			room := min(n, 2*len(body))
			if len(body) >= largeBody {
				room = n // twice more would be too much beside the copy
			}
			body = append(make([]byte, 0, room), body...)
		}
		if g.r.Buffered() == 0 {
			if err := g.arm(); err != nil {
				return nil, err
			}
		}
		got, err := g.r.Read(body[len(body):min(cap(body), n)])
		if err != nil {
			return nil, err
		}
		body = body[:len(body)+got]
	}
	g.frameStart = time.Time{}
	return body, nil
}

// skip reads over n bytes.
func (g *guard) skip(n uint64) error {
	for n > 0 {
		if _, err := g.peek(1); err != nil {
			return err
		}
		gone, err := g.r.Discard(int(min(n, uint64(g.r.Buffered()))))
		if err != nil {
			return err
		}
		n -= uint64(gone)
	}
	g.frameStart = time.Time{}
	return nil
}

// arm sets the deadline for a frame that has begun.
func (g *guard) arm() error {
	if !g.established {
		return nil // open has set one
	}
	now := time.Now()
	if g.frameStart.IsZero() {
		g.frameStart = now
	}
	deadline := now.Add(progressTime)
	if last := g.frameStart.Add(frameTime); last.Before(deadline) {
		deadline = last
	}
	g.armed = true
	return g.Conn.SetReadDeadline(deadline)
}

// disarm lets the next message take its time.
func (g *guard) disarm() error {
	g.frameStart = time.Time{}
	if !g.armed {
		return nil
	}
	g.armed = false
	return g.Conn.SetReadDeadline(time.Time{})
}
