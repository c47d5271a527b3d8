package bridge

import (
	"bytes"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"cellblock.io/cellblock/kernels/wire"
)

// batchConn is a net.Conn whose writes can be collected, so that many small WebSocket frames leave as one.
type batchConn struct {
	net.Conn

	mu       sync.Mutex
	corked   bool
	pending  []byte
	written  int64     // bytes that the operating system has taken
	deadline time.Time // for a write that is not collected
}

// SetWriteDeadline is for writes that are not collected. What was collected has a deadline of its own: a pong in its
// midst, which is given a second, must not cut a slow client off.
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
	if err := b.Conn.SetWriteDeadline(deadline); err != nil {
		return 0, err
	}
	n, err := b.Conn.Write(p)
	b.written += int64(n)
	return n, err
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
	if err := b.Conn.SetWriteDeadline(time.Now().Add(clientWriteTime)); err != nil {
		return err
	}
	n, err := b.Conn.Write(b.pending)
	b.written += int64(n)
	b.pending = b.pending[:0]
	if cap(b.pending) > maxCollected {
		b.pending = nil
	}
	return err
}

// progress returns how many bytes have been taken by the operating system, and how many have been given to it or
// collected so far.
func (b *batchConn) progress() (written, given int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.written, b.written + int64(len(b.pending))
}

// writeBatch sends items as frames of the client's format, in one write where they are small, and records how far
// the connection came, also when it broke on the way.
func (c *client) writeBatch(items []item, next uint64) error {
	marks := make([]mark, 0, len(items))
	c.out.cork()
	var err error
	for _, it := range items {
		if err = c.writeItem(it); err != nil {
			break
		}
		_, end := c.out.progress()
		marks = append(marks, mark{end, it.entry.seq})
	}
	if flushErr := c.out.uncork(); err == nil {
		err = flushErr
	}
	if err == nil {
		c.hub.wrote(c, next, marks)
		return nil
	}
	written, _ := c.out.progress()
	position := c.position
	for _, m := range marks {
		if m.end <= written {
			position = m.position
		}
	}
	c.hub.wrote(c, position, marks)
	return fmt.Errorf("write: %w", err)
}

func (c *client) writeItem(it item) error {
	if it.missed > 0 {
		if err := c.writeEntry(gapNotice(c.hub.currentSession(), it)); err != nil {
			return err
		}
	}
	return c.writeEntry(it.entry)
}

// largeMessage is the size in bytes above which a message is sent in pieces: no copy is made of it then, however many
// clients it has.
const largeMessage = maxCollected

// writeEntry sends one message. What this client is known not to survive is replaced by a notice that says so.
func (c *client) writeEntry(e entry) error {
	if err := c.ws.SetWriteDeadline(time.Now().Add(clientWriteTime)); err != nil {
		return err
	}
	pieces, size, kind := c.encode(&e)
	if c.jupyterServer {
		if text := unfit(e, size, kind == websocket.BinaryMessage); text != "" {
			n := notice(c.hub.currentSession(), e.message.Parent, text)
			pieces, size, kind = c.encode(&n)
		}
	}
	if size <= largeMessage {
		return c.ws.WriteMessage(kind, bytes.Join(pieces, nil))
	}
	w, err := c.ws.NextWriter(kind)
	if err != nil {
		return err
	}
	for _, p := range pieces {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return w.Close()
}

// encode returns the frame of e in the client's format, in pieces, with its size and kind.
func (c *client) encode(e *entry) (pieces [][]byte, size, kind int) {
	kind = websocket.BinaryMessage
	if c.v1 {
		pieces = wire.V1(&e.message)
	} else {
		var isBinary bool
		if pieces, isBinary = wire.Legacy(&e.message, e.header); !isBinary {
			kind = websocket.TextMessage
		}
	}
	for _, p := range pieces {
		size += len(p)
	}
	return pieces, size, kind
}

// unfit says why jupyter_server's gateway client cannot receive a frame, or nothing.
func unfit(e entry, size int, binary bool) string {
	switch {
	case binary:
		return fmt.Sprintf("[A %s message with binary data was left out: Jupyter Server's gateway client cannot receive it. "+
			"Open this kernel directly on the gateway to see it.]\n", e.header.MsgType)
	case size > tornadoLimit:
		return fmt.Sprintf("[A %s message of %.1f MB was left out: Jupyter Server's gateway client takes at most 10 MiB in one message.]\n",
			e.header.MsgType, float64(size)/1e6)
	}
	return ""
}

// plural writes a count with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
