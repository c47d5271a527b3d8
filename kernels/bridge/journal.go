package bridge

import "cellblock.io/cellblock/kernels/wire"

// entry is one message in the journal.
type entry struct {
	seq        uint64
	generation int    // the kernel process it came from; before publish, how many that is behind the last that answered
	session    string // the only session it is for; empty for all
	header     wire.Header
	message    wire.Message
	// lostParent is the parent of the last message that was dropped directly before this one: it tells where a
	// notice about the gap belongs. Gaps themselves show as missing sequence numbers.
	lostParent []byte
}

// overhead is what an entry costs beside its message, about.
const overhead = 320

func (e *entry) size() int { return e.message.Size() + overhead }

// droppable reports whether the journal may give the message up for want of room: output, but never what a client
// needs to come to an end (status, replies, requests for input).
func (e *entry) droppable() bool {
	if e.message.Channel != wire.IOPub {
		return false
	}
	switch e.header.MsgType {
	case "status", "execute_input", "error", "clear_output":
		return false
	}
	return true
}

// journal is the ring of everything that clients were or will be sent, in order. Readers have positions of their own
// in it, so it is both the queue of each client and what is replayed to one that comes back. When it is over its
// bounds, old output goes first, and whoever would have read it is told how much. Not safe for concurrent use.
type journal struct {
	maxBytes int
	maxCount int

	// Two queues of ascending sequence numbers, read as one: what goes goes from the front of either.
	kept      queue  // what is not droppable
	output    queue  // what is
	last      uint64 // the newest sequence number, 0 before the first
	bytes     int
	keptBytes int // of these, what is not droppable
}

func newJournal(maxBytes, maxCount int) *journal {
	return &journal{maxBytes: maxBytes, maxCount: maxCount}
}

// append adds e and gives it its sequence number. The newest entry always stays, and for its sake a quarter of the
// bounds' bytes of what is not droppable: one large output does not cost the replies and states before it.
func (j *journal) append(e entry) {
	j.last++
	e.seq = j.last
	if e.droppable() {
		j.output.push(e)
	} else {
		j.kept.push(e)
		j.keptBytes += e.size()
	}
	j.bytes += e.size()
	for n := j.kept.length + j.output.length; n > 1 && (j.bytes > j.maxBytes || n > j.maxCount); n-- {
		if j.output.length == 1 && j.output.at(0).seq == j.last && n <= j.maxCount && j.keptBytes <= j.maxBytes/4 {
			return
		}
		j.drop()
	}
}

// drop takes the oldest output out, or the oldest message of all when there is no output but the newest entry.
func (j *journal) drop() {
	from := &j.output
	if j.output.length == 0 || j.output.at(0).seq == j.last {
		from = &j.kept
		j.keptBytes -= j.kept.at(0).size()
	}
	gone := from.pop()
	j.bytes -= gone.size()
	if next := j.next(gone.seq); next != nil {
		next.lostParent = gone.message.Parent
	}
}

// next returns the entry that follows the one at position, or nil when it is gone as well or there is none.
func (j *journal) next(position uint64) *entry {
	for _, q := range []*queue{&j.output, &j.kept} { // nearly always the first of them
		if q.length > 0 && q.at(0).seq == position+1 {
			return q.at(0)
		}
	}
	behind := j.after(position)
	if next := behind.next(); next != nil && next.seq == position+1 {
		return next
	}
	return nil
}

// has reports whether the message at position is still here.
func (j *journal) has(position uint64) bool {
	from := j.after(position - 1)
	e := from.next()
	return e != nil && e.seq == position
}

// after returns what is behind position.
func (j *journal) after(position uint64) cursor {
	return cursor{j, j.kept.behind(position), j.output.behind(position)}
}

// cursor walks through both queues in the order of the sequence numbers. It is of use until the journal changes.
type cursor struct {
	journal      *journal
	kept, output int // how many are behind it
}

// next returns the entry that comes next, which stays the journal's, or nil at the end.
func (c *cursor) next() *entry {
	var kept, output *entry
	if c.kept < c.journal.kept.length {
		kept = c.journal.kept.at(c.kept)
	}
	if c.output < c.journal.output.length {
		output = c.journal.output.at(c.output)
	}
	if output != nil && (kept == nil || output.seq < kept.seq) {
		c.output++
		return output
	}
	if kept != nil {
		c.kept++
	}
	return kept
}

// item is one step of a reader: messages that it missed because the journal had to make room, then one that is here.
type item struct {
	missed int
	entry  entry
}

// readLimit bounds one read.
type readLimit struct{ items, bytes int }

// reader is who reads a journal, and from where.
type reader struct {
	position uint64
	session  string
	limit    readLimit
	skip     func(*entry) bool // hides what this reader must not get
	all      bool              // also what is for other sessions
}

// read appends what r has not seen to items and returns the position to read on from.
func (j *journal) read(items []item, r reader) ([]item, uint64) {
	missed := 0
	behind := j.after(r.position)
	for bytes := 0; len(items) < r.limit.items && bytes < r.limit.bytes; {
		e := behind.next()
		if e == nil {
			break
		}
		missed += int(e.seq - r.position - 1)
		r.position = e.seq
		if e.session != "" && e.session != r.session && !r.all || r.skip(e) {
			continue
		}
		items = append(items, item{missed: missed, entry: *e})
		missed = 0
		bytes += e.size()
	}
	return items, r.position
}
