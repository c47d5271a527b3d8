package bridge

import (
	"fmt"
	"testing"
	"time"

	"cellblock.io/cellblock/kernels/wire"
)

// One output larger than the whole journal costs earlier output, but not what ends a cell.
func TestLargestOutputLeavesReplies(t *testing.T) {
	const size = 100 * overhead
	j := newJournal(size, 1000)
	reply := entry{header: wire.Header{MsgType: "execute_reply"}, message: wire.Message{Channel: wire.Shell}}
	for range 20 {
		j.append(output("stream", 0))
		j.append(reply)
	}
	for range 3 {
		j.append(output("display_data", size))
		kept := 0
		for _, what := range seen(j, 0, "a") {
			if what == "execute_reply" {
				kept++
			}
		}
		if kept != 20 {
			t.Fatalf("%d of 20 replies are left", kept)
		}
	}
	for range 40 { // more than their share goes
		j.append(reply)
		j.append(output("display_data", size))
	}
	if j.bytes > size+2*overhead+size/4 || j.output.length != 1 {
		t.Errorf("%d bytes, %d outputs", j.bytes, j.output.length)
	}
	for j.last < 10_000 { // and all of it when others need the room
		j.append(reply)
	}
	if j.bytes > size || j.keptBytes != j.bytes || j.output.length > 0 {
		t.Errorf("%d bytes, %d of them kept, %d outputs", j.bytes, j.keptBytes, j.output.length)
	}
}

// What a kernel never answers does not use up a client's requests for good, and one client's do not use up another's.
func TestPendingRequestsAreBounded(t *testing.T) {
	p, now := newPendings(), time.Now()
	ask := func(session, msgType string, n int) string {
		return p.add(request{session: session, header: wire.Header{MsgID: fmt.Sprint(session, msgType, n), MsgType: msgType},
			message: wire.Message{Channel: wire.Shell}}, now)
	}
	for i := range maxPendingSession {
		if refusal := ask("a", "odd_request", i); refusal != "" {
			t.Fatalf("request %d: %s", i, refusal)
		}
	}
	if ask("a", "odd_request", -1) == "" || ask("b", "odd_request", -1) != "" {
		t.Error("the one too many was taken, or another client's was not")
	}
	p.settle("aodd_request7")
	if ask("a", "odd_request", -1) != "" || ask("a", "odd_request", -2) == "" {
		t.Error("an answer makes room for one")
	}
	for i := range maxPendingSession {
		p.ended(fmt.Sprint("aodd_request", i), now)
	}
	if ask("a", "comm_msg", 0) == "" {
		t.Error("what has just ended may be answered yet")
	}
	now = now.Add(idleGrace + time.Second)
	if ask("a", "comm_msg", 0) != "" || len(p.byID) > 10 {
		t.Errorf("%d are pending still", len(p.byID))
	}
	p.ended("acomm_msg0", now)
	if _, ok := p.asker("acomm_msg0"); ok {
		t.Error("a comm is pending after its end")
	}
}

// A client's rate is measured over a second, and one that keeps to it is never refused.
func TestClientRate(t *testing.T) {
	now := time.Now()
	var steady, flood bucket
	for range 10 * clientRate {
		now = now.Add(time.Second / clientRate)
		if !steady.take(now) {
			t.Fatal("a steady client was refused")
		}
	}
	for i := range clientRate + 1 {
		if ok := flood.take(now); ok != (i < clientRate) {
			t.Fatalf("message %d at once: %v", i, ok)
		}
	}
	if !flood.take(now.Add(time.Second)) {
		t.Error("refused a second later")
	}
}
