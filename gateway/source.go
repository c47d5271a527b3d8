package gateway

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
)

// chunk is how many bytes are moved at once.
const chunk = 64 << 10

var chunks = sync.Pool{New: func() any { return new([chunk]byte) }}

// source reads from a connection without holding a buffer while nothing comes: most WebSockets are silent most of the
// time. It does not splice: that would cost each WebSocket two kernel pipes for its whole life, of which an ordinary
// user may have few, and saves nothing on small messages.
type source struct {
	conn net.Conn
	raw  syscall.RawConn // nil for connections that are no sockets, TLS for one
	try  func(fd uintptr) bool
	buf  *[chunk]byte
	n    int
	err  error
}

func newSource(conn net.Conn) *source {
	s := &source{conn: conn}
	s.try = s.readNow
	switch c := conn.(type) {
	case *net.TCPConn:
		s.raw, _ = c.SyscallConn()
	case *net.UnixConn:
		s.raw, _ = c.SyscallConn()
	}
	return s
}

// next waits for bytes and returns some. They are the caller's until it calls release.
func (s *source) next() ([]byte, error) {
	if s.raw == nil {
		s.buf = chunks.Get().(*[chunk]byte)
		s.n, s.err = s.conn.Read(s.buf[:])
	} else if err := s.raw.Read(s.try); err != nil {
		s.n, s.err = 0, err
	}
	if s.n > 0 {
		return s.buf[:s.n], nil
	}
	s.release()
	if s.err == nil {
		return nil, io.EOF
	}
	return nil, s.err
}

// readNow takes what is there, and a buffer only if something is. It reports false when nothing is.
func (s *source) readNow(fd uintptr) bool {
	s.buf = chunks.Get().(*[chunk]byte)
	for {
		s.n, s.err = syscall.Read(int(fd), s.buf[:])
		if !errors.Is(s.err, syscall.EINTR) {
			break
		}
	}
	if errors.Is(s.err, syscall.EAGAIN) {
		s.release()
		return false
	}
	return true
}

// release gives the buffer back.
func (s *source) release() {
	if s.buf != nil {
		chunks.Put(s.buf)
		s.buf = nil
	}
}
