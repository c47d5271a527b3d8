package bridge

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/go-zeromq/zmq4"
)

// errProtocol is wrapped by what a peer does against ZMTP 3.0 or the guard's limits. It ends the link.
var errProtocol = errors.New("kernel broke the ZMTP protocol")

// Limits on a kernel's handshake (ZMTP 3.0, RFC 23), and times.
const (
	greetingLength = 64
	maxReady       = 4 << 10 // bytes of the READY command
	greetingTime   = 2 * time.Second
	readyTime      = 5 * time.Second  // for READY, once the greeting is there
	progressTime   = 10 * time.Second // at least some bytes of a frame that has begun
	frameTime      = 60 * time.Second // a whole frame that has begun
	writeTime      = 10 * time.Second
	readAhead      = 64 << 10
)

// guard is a net.Conn to a ZeroMQ peer that may be hostile. For the handshake zmq4 reads through it and is only ever
// handed bytes that were checked: a greeting of the right version and mechanism, and one well-formed READY. After that
// readMessage reads. The guard reads ahead in large blocks, and it collects writes until Flush.
type guard struct {
	net.Conn
	r    *bufio.Reader
	w    *bufio.Writer
	kind zmq4.SocketType
	most uint64 // bytes of one message; more of them end the link

	granted     int // bytes of the greeting or READY that may be handed out
	greeted     bool
	established bool

	frames     [][]byte // of the message that was read last
	commands   int
	armed      bool // a read deadline is set
	frameStart time.Time
}

func newGuard(c net.Conn, kind zmq4.SocketType) *guard {
	g := &guard{Conn: c, r: bufio.NewReaderSize(c, readAhead), kind: kind, most: maxSkipped}
	g.w = bufio.NewWriterSize(patientWriter{c}, readAhead)
	return g
}

// open performs the handshake within greetingTime and readyTime.
func (g *guard) open(id zmq4.SocketIdentity) (conn *zmq4.Conn, err error) {
	defer func() {
		if p := recover(); p != nil { // the library panics on some handshakes; the guard should have refused it
			err = fmt.Errorf("%w: handshake: %v", errProtocol, p)
		}
	}()
	if err := g.Conn.SetDeadline(time.Now().Add(greetingTime)); err != nil {
		return nil, fmt.Errorf("set deadline: %w", err)
	}
	conn, err = zmq4.Open(g, nullSecurity, g.kind, id, false, nil)
	if err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	g.established = true
	return conn, g.Conn.SetDeadline(time.Time{})
}

// Read hands the handshake out, at most what has been checked.
func (g *guard) Read(p []byte) (int, error) {
	if g.granted == 0 {
		if err := g.grant(); err != nil {
			return 0, err
		}
	}
	n, err := g.r.Read(p[:min(len(p), g.granted)])
	g.granted -= n
	return n, err
}

// grant looks at the greeting, then at READY, and grants it if it is as it must be.
func (g *guard) grant() error {
	if !g.greeted {
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
		return g.Conn.SetDeadline(time.Now().Add(readyTime))
	}
	f, err := g.peekFrame(false)
	if err != nil {
		return err
	}
	if f.flags&flagCommand == 0 {
		return fmt.Errorf("%w: message before READY", errProtocol)
	}
	command, err := g.peekCommand(f)
	if err != nil {
		return err
	}
	g.granted = f.header + len(command)
	return checkReady(command, g.kind)
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
