package bridge

import (
	"fmt"
	"time"

	"github.com/gorilla/websocket"

	"cellblock.io/cellblock/kernels/wire"
)

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
		marks = append(marks, mark{end, max(it.entry.seq, c.position)})
	}
	if err == nil { // also in a stream without end, what arrived is confirmed
		err = c.ping(next, false)
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
	if c.limiter != nil && it.entry.seq > c.replayUntil { // what was missed is bounded by the journal, and not limited
		ok, say := c.limiter.admit(&it.entry, time.Now())
		if say != nil {
			if err := c.writeEntry(notice(c.hub.currentSession(), say.parent, say.text)); err != nil {
				return err
			}
		}
		if !ok {
			return nil
		}
	}
	return c.writeEntry(it.entry)
}

// writeEntry sends one message. What this client is known not to survive is replaced by a notice that says so.
func (c *client) writeEntry(e entry) error {
	pieces, kind := c.encode(&e)
	if c.jupyterServer {
		size := 0
		for _, p := range pieces {
			size += len(p)
		}
		if text := unfit(e, size, kind == websocket.BinaryMessage); text != "" {
			n := notice(c.hub.currentSession(), e.message.Parent, text)
			pieces, kind = c.encode(&n)
		}
	}
	return c.out.writeMessage(kind, pieces...)
}

// encode returns e in the client's format, and the kind of its frame. A small message is one piece, in c.frame; of a
// large one no copy is made, however many clients it has.
func (c *client) encode(e *entry) (pieces [][]byte, kind int) {
	large, isBinary := e.message.Size() > maxCollected, true
	switch {
	case c.v1 && large:
		pieces = wire.V1(&e.message)
	case c.v1:
		c.frame = wire.AppendV1(c.frame[:0], &e.message)
	case large:
		pieces, isBinary = wire.Legacy(&e.message, e.header)
	default:
		c.frame, isBinary = wire.AppendLegacy(c.frame[:0], &e.message, e.header)
	}
	if !large {
		pieces = append(c.piece[:0], c.frame)
	}
	if isBinary {
		return pieces, websocket.BinaryMessage
	}
	return pieces, websocket.TextMessage
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
