package bridge

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/go-zeromq/zmq4"
)

// errProtocol is wrapped by what a peer does against ZMTP 3.0 or the guard's limits. It ends the link.
var errProtocol = errors.New("kernel broke the ZMTP protocol")

// Limits on what a kernel may send on one socket (ZMTP 3.0, RFC 23).
const (
	greetingLength  = 64
	maxReady        = 4 << 10 // bytes of the READY command
	maxFramesShell  = 136     // identities, delimiter, signature, parts and buffers
	maxMessageBytes = 96 << 20
	maxSkipped      = 1 << 30 // bytes of one message that are read over because they are too many
	maxCommands     = 100     // ignored commands after the handshake
	handshakeTime   = 5 * time.Second
	progressTime    = 10 * time.Second // at least some bytes of a frame that has begun
	frameTime       = 60 * time.Second // a whole frame that has begun
	writeTime       = 10 * time.Second
	readAhead       = 64 << 10
)

// maxFrame is the largest frame by socket type: outputs may be large, the rest not so.
var maxFrame = map[zmq4.SocketType]uint64{zmq4.Sub: 64 << 20, zmq4.Dealer: 16 << 20}

// guard is a net.Conn to a ZeroMQ peer that may be hostile. zmq4 reads through it and is only ever handed bytes that
// were checked: a greeting of the right version and mechanism, one well-formed READY, and then frames within the
// limits above. It reads ahead in large blocks, and it collects writes until Flush.
type guard struct {
	net.Conn
	r    *bufio.Reader
	w    *bufio.Writer
	kind zmq4.SocketType

	granted     int // bytes of the present frame (or greeting) that may be handed out
	greeted     bool
	established bool
	more        bool // within a message
	frames      int
	bytes       uint64
	skipped     uint64 // bytes of the present message that were read over
	skipping    bool   // within a frame that is read over
	stand       []byte // stands for a frame that was read over
	commands    int
	armed       bool // a read deadline is set
	frameStart  time.Time
}

func newGuard(c net.Conn, kind zmq4.SocketType) *guard {
	g := &guard{Conn: c, r: bufio.NewReaderSize(c, readAhead), kind: kind}
	g.w = bufio.NewWriterSize(patientWriter{c}, readAhead)
	return g
}

// open performs the handshake within handshakeTime.
func (g *guard) open(id zmq4.SocketIdentity) (conn *zmq4.Conn, err error) {
	defer func() {
		if p := recover(); p != nil { // the library panics on some handshakes; the guard should have refused it
			err = fmt.Errorf("%w: handshake: %v", errProtocol, p)
		}
	}()
	if err := g.Conn.SetDeadline(time.Now().Add(handshakeTime)); err != nil {
		return nil, fmt.Errorf("set deadline: %w", err)
	}
	conn, err = zmq4.Open(g, nullSecurity, g.kind, id, false, nil)
	if err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	g.established = true
	return conn, g.Conn.SetDeadline(time.Time{})
}

// Read hands out at most what has been granted, granting the next frame when the last one is used up.
func (g *guard) Read(p []byte) (int, error) {
	for g.granted == 0 && len(g.stand) == 0 {
		if err := g.grant(); err != nil {
			return 0, err
		}
	}
	if len(g.stand) > 0 {
		n := copy(p, g.stand)
		g.stand = g.stand[n:]
		return n, nil
	}
	n := min(len(p), g.granted)
	if g.r.Buffered() == 0 {
		if err := g.arm(); err != nil {
			return 0, err
		}
	}
	n, err := g.r.Read(p[:n])
	g.granted -= n
	if g.granted == 0 {
		g.frameStart = time.Time{}
	}
	return n, err
}

// grant looks at the beginning of what comes next and grants it if it is within the limits.
func (g *guard) grant() error {
	if !g.greeted {
		return g.grantGreeting()
	}
	length, flags, header, err := g.peekFrame()
	if err != nil {
		return err
	}
	switch {
	case flags&^byte(7) != 0:
		return fmt.Errorf("%w: reserved flags %#x", errProtocol, flags)
	case flags&4 != 0:
		return g.grantCommand(flags, header, length)
	case !g.established:
		return fmt.Errorf("%w: message before READY", errProtocol)
	case length > maxSkipped:
		return fmt.Errorf("%w: frame of %d bytes", errProtocol, length)
	}
	if !g.more {
		g.frames, g.bytes, g.skipped = 0, 0, 0
	}
	g.more = flags&1 != 0
	g.frames++
	if g.frames > maxFramesShell || g.skipped+length > maxSkipped {
		return fmt.Errorf("%w: message of %d frames, %d bytes", errProtocol, g.frames, g.bytes+g.skipped+length)
	}
	if length > maxFrame[g.kind] || g.bytes+length > maxMessageBytes {
		return g.skip(flags, header, length)
	}
	g.bytes += length
	g.granted = header + int(length)
	return nil
}

// skip reads over a frame that is too large for the bridge and puts an empty one in its place. That ends one message
// and not the link: a kernel whose link ends looks restarted, although it lives and only printed much.
func (g *guard) skip(flags byte, header int, length uint64) error {
	g.skipping = true
	defer func() { g.skipping = false }()
	for left := uint64(header) + length; left > 0; {
		if _, err := g.peek(1); err != nil {
			return err
		}
		n, err := g.r.Discard(int(min(left, uint64(g.r.Buffered()))))
		if err != nil {
			return err
		}
		left -= uint64(n)
	}
	g.frameStart = time.Time{}
	g.skipped += length
	g.stand = []byte{flags & 1, 0}
	return nil
}

// tooLarge returns an error when parts of the message that was read last are missing because they were too large.
func (g *guard) tooLarge() error {
	if g.skipped == 0 {
		return nil
	}
	return &tooLargeError{size: g.skipped + g.bytes}
}

// tooLargeError says that a message was left out for its size in bytes.
type tooLargeError struct{ size uint64 }

func (e *tooLargeError) Error() string { return fmt.Sprintf("message of %d bytes", e.size) }

// peekFrame returns a frame's length, flags and the size of its header without consuming it. Between messages it
// waits without end, within one only as long as arm allows.
func (g *guard) peekFrame() (length uint64, flags byte, header int, err error) {
	b, err := g.peek(2)
	if err != nil {
		return 0, 0, 0, err
	}
	if b[0]&2 == 0 {
		return uint64(b[1]), b[0], 2, nil
	}
	if b, err = g.peek(9); err != nil {
		return 0, 0, 0, err
	}
	return binary.BigEndian.Uint64(b[1:]), b[0], 9, nil
}

func (g *guard) peek(n int) ([]byte, error) {
	if g.r.Buffered() >= n {
		return g.r.Peek(n)
	}
	if g.established && !g.more && !g.skipping && g.r.Buffered() == 0 {
		if err := g.disarm(); err != nil {
			return nil, err
		}
		if _, err := g.r.Peek(1); err != nil { // the pause between messages
			return nil, err
		}
	}
	if g.r.Buffered() < n {
		if err := g.arm(); err != nil {
			return nil, err
		}
	}
	return g.r.Peek(n)
}

func (g *guard) grantGreeting() error {
	b, err := g.r.Peek(greetingLength)
	if err != nil {
		return err
	}
	mechanism := string(b[12:32])
	if b[0] != 0xff || b[9] != 0x7f || b[10] != 3 || mechanism != "NULL"+string(make([]byte, 16)) || b[32] > 1 {
		return fmt.Errorf("%w: greeting %x", errProtocol, b)
	}
	g.greeted = true
	g.granted = greetingLength
	return nil
}

// grantCommand lets one READY through during the handshake and discards commands after it.
func (g *guard) grantCommand(flags byte, header int, length uint64) error {
	if flags&1 != 0 || length > maxReady || g.more {
		return fmt.Errorf("%w: command of %d bytes, flags %#x", errProtocol, length, flags)
	}
	frame, err := g.peek(header + int(length))
	if err != nil {
		return err
	}
	if !g.established {
		g.granted = len(frame)
		return checkReady(frame[header:], g.kind)
	}
	if g.commands++; g.commands > maxCommands {
		return fmt.Errorf("%w: %d commands", errProtocol, g.commands)
	}
	_, err = g.r.Discard(len(frame))
	return err
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

func (g *guard) disarm() error {
	if !g.armed {
		return nil
	}
	g.armed = false
	g.frameStart = time.Time{}
	return g.Conn.SetReadDeadline(time.Time{})
}

// Write collects bytes until Flush, except in the handshake, where each write goes out at once.
func (g *guard) Write(p []byte) (int, error) {
	if !g.established {
		return g.Conn.Write(p)
	}
	return g.w.Write(p)
}

// Flush sends what Write collected. It blocks while the kernel does not read, until the connection is closed.
func (g *guard) Flush() error { return g.w.Flush() }

// patientWriter writes all of p in steps with a deadline each. A kernel that is busy may not read for long; what has
// been written in part is continued, never repeated.
type patientWriter struct{ net.Conn }

func (w patientWriter) Write(p []byte) (int, error) {
	done := 0
	for {
		if err := w.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
			return done, err
		}
		n, err := w.Conn.Write(p[done:])
		done += n
		var timeout net.Error
		if err == nil || !errors.As(err, &timeout) || !timeout.Timeout() {
			return done, err
		}
	}
}
