package bridge

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"cellblock.io/cellblock/kernels/wire"
)

func none(*entry) bool { return false }

func output(msgType string, size int) entry {
	return entry{header: wire.Header{MsgType: msgType}, message: wire.Message{Channel: wire.IOPub, Parent: []byte(`{"p":1}`), Content: make([]byte, size)}}
}

// seen reads everything in small steps and writes it as "type" and "-n" for gaps.
func seen(j *journal, position uint64, session string) []string {
	var all []string
	for {
		items, next := j.read(nil, reader{position, session, readLimit{items: 3, bytes: 1 << 20}, none, false})
		if next == position {
			return all
		}
		for _, it := range items {
			if it.missed > 0 {
				all = append(all, fmt.Sprint(-it.missed))
			}
			all = append(all, it.entry.header.MsgType)
		}
		position = next
	}
}

func TestJournalKeepsWhatEndsACell(t *testing.T) {
	j := newJournal(10*(overhead+100), 1000)
	reply := entry{session: "a", header: wire.Header{MsgType: "execute_reply"}, message: wire.Message{Channel: wire.Shell}}
	j.append(output("status", 0))
	for range 5 {
		j.append(output("stream", 100))
	}
	j.append(reply)
	for range 50 {
		j.append(output("stream", 100))
	}
	j.append(output("status", 0))

	got := fmt.Sprint(seen(j, 0, "a"))
	want := "[status -5 execute_reply -43 stream stream stream stream stream stream stream status]"
	if got != want {
		t.Errorf("session a reads %s, want %s", got, want)
	}
	if got := seen(j, 0, "b"); got[1] == "execute_reply" || got[0] != "status" {
		t.Errorf("session b reads %v", got)
	}
	if j.bytes > j.maxBytes {
		t.Errorf("%d bytes, limit %d", j.bytes, j.maxBytes)
	}
	items, _ := j.read(nil, reader{0, "a", readLimit{items: 2, bytes: 1 << 20}, none, false})
	if string(items[1].entry.lostParent) != `{"p":1}` {
		t.Error("the gap does not know its parent")
	}
}

func TestJournalReplaysFromAPosition(t *testing.T) {
	j := newJournal(1<<20, 1000)
	for i := range 10 {
		j.append(output(fmt.Sprint("m", i+1), 1))
	}
	if got := fmt.Sprint(seen(j, 7, "")); got != "[m8 m9 m10]" {
		t.Error(got)
	}
	if got := seen(j, j.last, ""); len(got) != 0 {
		t.Error(got)
	}
}

func TestJournalIsBoundedWhenAllIsProtected(t *testing.T) {
	j := newJournal(1<<20, 100)
	for range 1000 {
		j.append(output("status", 10))
	}
	if n := j.kept.length + j.output.length; n != 100 {
		t.Errorf("%d entries", n)
	}
	if got := seen(j, 0, ""); got[0] != "-900" || len(got) != 101 {
		t.Errorf("%v…, %d", got[0], len(got))
	}
	huge := newJournal(1000, 10)
	huge.append(output("stream", 5000))
	huge.append(output("stream", 5000))
	if got := fmt.Sprint(seen(huge, 0, "")); got != "[-1 stream]" {
		t.Error(got)
	}
}

// The sum of what a reader gets and what it is told it missed is everything, whatever the order of reads and drops.
func TestJournalAccountsForEverything(t *testing.T) {
	j := newJournal(20*(overhead+50), 1000)
	var position uint64
	got, missed := 0, 0
	for i := range 5000 {
		kind := "stream"
		if i%17 == 0 {
			kind = "status"
		}
		j.append(output(kind, 50))
		if i%37 == 0 {
			items, next := j.read(nil, reader{position, "", readLimit{items: 5, bytes: 1 << 20}, none, false})
			position = next
			for _, it := range items {
				got++
				missed += it.missed
			}
		}
	}
	for {
		items, next := j.read(nil, reader{position, "", readLimit{items: 100, bytes: 1 << 20}, none, false})
		if len(items) == 0 {
			break
		}
		position = next
		for _, it := range items {
			got++
			missed += it.missed
		}
	}
	if got+missed != 5000 || missed == 0 {
		t.Errorf("%d read, %d missed", got, missed)
	}
}

// A kernel of many cells leaves a journal full of protected messages. Taking new output in must not cost more then: a
// kernel whose outputs are not read in time loses them.
func TestJournalFullOfProtectedMessagesIsAsFast(t *testing.T) {
	fill := func(kind string) time.Duration {
		j := newJournal(journalBytes, journalCount)
		for range journalCount {
			j.append(output(kind, 10))
		}
		for range 100 { // some output behind it, of which the oldest goes for each new one
			j.append(output("stream", 10))
		}
		began := time.Now()
		for range 20_000 {
			j.append(output("stream", 10))
		}
		return time.Since(began)
	}
	plain, protected := fill("stream"), fill("status")
	if limit := 20*plain + 200*time.Millisecond; protected > limit {
		t.Errorf("20000 outputs took %v behind protected messages, %v otherwise", protected, plain)
	}
}

// Buffers cost memory also when they are empty, and a kernel can send many of them for a few bytes.
func TestJournalIsBoundedInMemory(t *testing.T) {
	const limit = 16 << 20
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	j := newJournal(limit, journalCount)
	for range 30_000 {
		frames := make([][]byte, 0, maxFrames)
		for range wire.MaxBuffers {
			frames = append(frames, []byte{})
		}
		e := output("stream", 10)
		e.message.Buffers = frames
		j.append(e)
	}
	if used := heap() - before; used > 2*limit {
		t.Errorf("a journal of at most %d bytes uses %d", limit, used)
	}
	runtime.KeepAlive(j)
}
