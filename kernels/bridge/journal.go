package bridge

import (
	"sort"

	"cellblock.io/cellblock/kernels/wire"
)

// entry is one message in the journal.
type entry struct {
	seq        uint64
	generation int    // the kernel process it came from
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

	entries []entry // ascending sequence numbers
	last    uint64  // the newest sequence number, 0 before the first
	bytes   int
	scanned int // no entry before this index is droppable
}

func newJournal(maxBytes, maxCount int) *journal {
	return &journal{maxBytes: maxBytes, maxCount: maxCount}
}

// append adds e and gives it its sequence number. The newest entry always stays.
func (j *journal) append(e entry) {
	j.last++
	e.seq = j.last
	j.entries = append(j.entries, e)
	j.bytes += e.size()
	for len(j.entries) > 1 && (j.bytes > j.maxBytes || len(j.entries) > j.maxCount) {
		j.remove(j.oldestDroppable())
	}
}

// oldestDroppable returns the index of the output that goes first, or 0 when only protected messages are left.
func (j *journal) oldestDroppable() int {
	for ; j.scanned < len(j.entries)-1; j.scanned++ {
		if j.entries[j.scanned].droppable() {
			return j.scanned
		}
	}
	return 0
}

// remove takes entry i out. What stands before it is protected and little, so that is what moves.
func (j *journal) remove(i int) {
	gone := j.entries[i]
	j.bytes -= gone.size()
	j.entries[i+1].lostParent = gone.message.Parent
	copy(j.entries[1:i+1], j.entries[:i])
	j.entries[0] = entry{}
	j.entries = j.entries[1:]
	if i < j.scanned {
		j.scanned--
	}
}

// item is one step of a reader: messages that it missed because the journal had to make room, then one that is here.
type item struct {
	missed int
	entry  entry
}

// readLimit bounds one read.
type readLimit struct{ items, bytes int }

// read returns what session has not seen after position, and the position to read on from. skip hides entries that
// this reader must not get.
func (j *journal) read(position uint64, session string, limit readLimit, skip func(*entry) bool) ([]item, uint64) {
	var items []item
	missed := 0
	i := sort.Search(len(j.entries), func(i int) bool { return j.entries[i].seq > position })
	for bytes := 0; i < len(j.entries) && len(items) < limit.items && bytes < limit.bytes; i++ {
		e := &j.entries[i]
		missed += int(e.seq - position - 1)
		position = e.seq
		if e.session != "" && e.session != session || skip(e) {
			continue
		}
		items = append(items, item{missed: missed, entry: *e})
		missed = 0
		bytes += e.size()
	}
	return items, position
}
