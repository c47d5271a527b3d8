package bridge

import "sort"

// queueChunk is how many entries lie together.
const queueChunk = 256

// queue is a first-in, first-out queue of entries with ascending sequence numbers. It grows by chunks and never moves
// an entry: to move a full journal takes so long that a kernel's outputs get lost meanwhile. The zero value is empty.
type queue struct {
	chunks [][]entry
	gone   int // of the first chunk
	length int
}

func (q *queue) push(e entry) {
	n := len(q.chunks)
	if n == 0 || len(q.chunks[n-1]) == queueChunk {
		// The first chunk is small at first: most kernels never say much.
		room := queueChunk
		if n == 0 {
			room = 0
		}
		q.chunks = append(q.chunks, make([]entry, 0, room))
		n++
	}
	q.chunks[n-1] = append(q.chunks[n-1], e)
	q.length++
}

// at returns the entry that i others are in front of; it stays the queue's.
func (q *queue) at(i int) *entry {
	i += q.gone
	return &q.chunks[i/queueChunk][i%queueChunk]
}

// pop removes the first entry and returns it.
func (q *queue) pop() entry {
	first := q.at(0)
	e := *first
	*first = entry{}
	q.length--
	if q.gone++; q.gone == queueChunk {
		q.chunks[0] = nil
		q.chunks, q.gone = q.chunks[1:], 0
	}
	return e
}

// behind returns how many entries have sequence numbers up to position.
func (q *queue) behind(position uint64) int {
	return sort.Search(q.length, func(i int) bool { return q.at(i).seq > position })
}
