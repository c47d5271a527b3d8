package bridge

import (
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"cellblock.io/cellblock/internal/unixsocket"
	"cellblock.io/cellblock/kernels/receipt"
)

// batchConn is a net.Conn whose writes can be collected, so that many small WebSocket frames leave as one.
type batchConn struct {
	net.Conn
	slip  atomic.Pointer[receipt.Slip] // where the gateway tells what it handed on; nil when it does not
	begun bool                         // the first bytes have come

	mu       sync.Mutex
	corked   bool
	isShut   bool
	cut      error // why a frame was cut off in its midst; nothing may follow
	pending  []byte
	written  int64     // bytes that the operating system has taken
	deadline time.Time // for a write that is not collected
}

// Read reads, and takes the file that may come with a connection's first bytes. One goroutine reads at a time.
func (b *batchConn) Read(p []byte) (int, error) {
	if first, ok := b.Conn.(*net.UnixConn); ok && !b.begun {
		return b.readFirst(first, p)
	}
	return b.Conn.Read(p)
}

func (b *batchConn) readFirst(conn *net.UnixConn, p []byte) (int, error) {
	room := unixsocket.Room()
	n, controls, _, _, err := conn.ReadMsgUnix(p, room)
	if n > 0 {
		b.begun = true
	}
	if passed := unixsocket.Passed(room[:controls]); passed != nil {
		defer passed.Close()
		slip, err := receipt.Open(passed)
		if err != nil {
			return 0, err
		}
		if old := b.slip.Swap(slip); old != nil {
			old.Close()
		}
	}
	return max(0, n), err // it is -1 with an error
}

// takeSlip returns the slip that came, which is then the caller's, or nil.
func (b *batchConn) takeSlip() *receipt.Slip { return b.slip.Swap(nil) }

// Close closes the connection, and the slip that nobody took.
func (b *batchConn) Close() error {
	if slip := b.takeSlip(); slip != nil {
		slip.Close()
	}
	return b.Conn.Close()
}

// SetWriteDeadline is for writes that are not collected. What was collected has a deadline of its own: a close frame
// in its midst, which is given a second or two, must not cut a slow client off.
func (b *batchConn) SetWriteDeadline(t time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deadline = t
	return nil
}

// maxCollected is how much batchConn keeps before it writes although it is corked.
const maxCollected = 256 << 10

func (b *batchConn) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.corked && len(b.pending)+len(p) <= maxCollected {
		b.pending = append(b.pending, p...)
		return len(p), nil
	}
	if err := b.flush(); err != nil {
		return 0, err
	}
	deadline := b.deadline
	if b.corked {
		deadline = time.Now().Add(clientWriteTime)
	}
	return b.send(deadline, p)
}

// send writes pieces by a deadline. After an error that has cut a frame nothing more goes out: what follows would be
// taken for the rest of it. Called with mu held.
func (b *batchConn) send(deadline time.Time, pieces ...[]byte) (int, error) {
	if b.cut != nil {
		return 0, b.cut
	}
	if err := b.Conn.SetWriteDeadline(deadline); err != nil {
		return 0, err
	}
	all := net.Buffers(pieces)
	n, err := all.WriteTo(b.Conn)
	b.written += n
	if n > 0 {
		b.cut = err
	}
	return int(n), err
}

// writeMessage sends one WebSocket message as one unmasked frame (RFC 6455 §5.2) of the given kind, its payload in
// pieces. Frames of the WebSocket library may come before and after it, as each of those is one Write. After shut it
// returns net.ErrClosed.
func (b *batchConn) writeMessage(kind int, pieces ...[]byte) error {
	size := 0
	for _, p := range pieces {
		size += len(p)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.isShut {
		return net.ErrClosed
	}
	if len(b.pending)+size > maxCollected {
		if err := b.flush(); err != nil {
			return err
		}
	}
	b.pending = appendFrameHeader(b.pending, kind, size)
	if size <= maxCollected {
		for _, p := range pieces {
			b.pending = append(b.pending, p...)
		}
		if b.corked {
			return nil
		}
		return b.flush()
	}
	head := b.pending
	b.pending = nil
	_, err := b.send(time.Now().Add(clientWriteTime), append([][]byte{head}, pieces...)...)
	return err
}

func appendFrameHeader(dst []byte, kind, size int) []byte {
	const final = 0x80
	dst = append(dst, final|byte(kind))
	switch {
	case size < 126:
		return append(dst, byte(size))
	case size < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(size))
	}
	return binary.BigEndian.AppendUint64(append(dst, 127), uint64(size))
}

// shut lets no more messages through: the end of the WebSocket has been said.
func (b *batchConn) shut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.isShut = true
}

// cork begins to collect writes.
func (b *batchConn) cork() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.corked = true
}

// uncork writes what was collected.
func (b *batchConn) uncork() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.corked = false
	return b.flush()
}

func (b *batchConn) flush() error {
	if len(b.pending) == 0 {
		return nil
	}
	_, err := b.send(time.Now().Add(clientWriteTime), b.pending)
	b.pending = b.pending[:0]
	if cap(b.pending) > maxCollected {
		b.pending = nil
	}
	return err
}

// rest gives up the room for collected writes, when there is nothing to write: thousands of idle connections cost little.
func (b *batchConn) rest() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.pending) == 0 {
		b.pending = nil
	}
}

// progress returns how many bytes have been taken by the operating system, and how many have been given to it or
// collected so far.
func (b *batchConn) progress() (written, given int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.written, b.written + int64(len(b.pending))
}
