package bridge

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"cellblock.io/cellblock/kernels/wire"
)

// line is an output of so many bytes in its four parts.
func line(msgType string, size int) *entry {
	return &entry{header: wire.Header{MsgType: msgType}, message: wire.Message{Channel: wire.IOPub, Parent: []byte(`{"p":1}`), Content: make([]byte, size-7)}}
}

func idle() *entry {
	e := line("status", 7)
	e.message.Content = []byte(`{"execution_state":"idle"}`)
	return e
}

// flow sends n messages at the given rate and returns which were admitted, as runs: "+30 -70".
type flow struct {
	*limiter
	now  time.Time
	runs []int
	said []string
}

func newFlow(l RateLimits) *flow {
	now := time.Unix(1e9, 0)
	return &flow{limiter: newLimiter(l, now), now: now}
}

func (f *flow) send(e *entry) {
	ok, say := f.admit(e, f.now)
	if say != nil {
		f.said = append(f.said, say.text)
		if string(say.parent) != `{"p":1}` {
			f.said = append(f.said, "without its parent")
		}
	}
	one := -1
	if ok {
		one = 1
	}
	if last := len(f.runs) - 1; last >= 0 && (f.runs[last] > 0) == ok {
		f.runs[last] += one
		return
	}
	f.runs = append(f.runs, one)
}

func (f *flow) stream(n int, every time.Duration, size int) *flow {
	for range n {
		f.now = f.now.Add(every)
		f.send(line("stream", size))
	}
	return f
}

func TestRateLimitOfMessages(t *testing.T) {
	limits := RateLimits{Messages: 100, Window: time.Second}
	// In a burst as many go through as the window holds; then again when a window later they have left it.
	f := newFlow(limits).stream(250, 0, 10)
	if fmt.Sprint(f.runs) != "[100 -150]" || len(f.said) != 1 || !strings.Contains(f.said[0], "100 messages a second (iopub_msg_rate_limit") {
		t.Errorf("%v %q", f.runs, f.said)
	}
	f.now = f.now.Add(2 * time.Second)
	f.stream(1, 0, 10)
	if fmt.Sprint(f.runs) != "[100 -150 1]" || len(f.said) != 2 || !strings.HasPrefix(f.said[1], "[150 messages of output (0.0 MB) left out here: more than 100 messages a second (iopub_msg_rate_limit, over 1s).") {
		t.Errorf("%v %q", f.runs, f.said)
	}
	// At the limit nothing is left out, whatever the length.
	if f = newFlow(limits).stream(10_000, 10*time.Millisecond+time.Millisecond, 10); fmt.Sprint(f.runs) != "[10000]" {
		t.Errorf("at the limit: %v", f.runs)
	}
	// Other channels, status, comm_open and execute_input are neither counted nor left out.
	f = newFlow(limits).stream(150, 0, 10)
	for _, e := range []*entry{line("status", 10), line("comm_open", 10), line("execute_input", 10), {message: wire.Message{Channel: wire.Shell}}} {
		if ok, say := f.admit(e, f.now); !ok || say != nil {
			t.Errorf("%s is limited", e.header.MsgType)
		}
	}
	f = newFlow(limits)
	for range 1000 {
		f.send(line("execute_input", 10))
	}
	if f.stream(100, 0, 10); fmt.Sprint(f.runs) != "[1100]" {
		t.Errorf("exempt messages count: %v", f.runs)
	}
}

// Output goes on when the rate has fallen below 80 % of the limit, not at once.
func TestRateLimitResumesBelow80Percent(t *testing.T) {
	f := newFlow(RateLimits{Messages: 100, Window: 6400 * time.Millisecond}) // slots of 100 ms
	f.stream(640, 10*time.Millisecond, 10)                                   // ten to a slot; the nine of the first have left
	f.stream(10, 0, 10)
	if fmt.Sprint(f.runs) != "[649 -1]" {
		t.Fatal(f.runs)
	}
	// Each 100 ms ten of them leave: below 512 are 511 and the one that asks, after 13 slots.
	f.stream(100, 100*time.Millisecond, 10)
	if got := fmt.Sprint(f.runs[:3]); got != "[649 -13 88]" || len(f.said) != 2 {
		t.Errorf("%v %q", f.runs, f.said)
	}
}

func TestRateLimitOfData(t *testing.T) {
	limits := RateLimits{Bytes: 1_000_000} // over 3 s
	f := newFlow(limits).stream(40, 0, 100_000)
	if fmt.Sprint(f.runs) != "[30 -10]" || !strings.Contains(f.said[0], "1000000 bytes a second (iopub_data_rate_limit, over 3s)") {
		t.Errorf("%v %q", f.runs, f.said)
	}
	f.send(line("display_data", 100)) // counts nothing itself, but goes with the rest
	f.send(idle())
	f.stream(30, 0, 100_000)
	if fmt.Sprint(f.runs) != "[30 -11 31]" || !strings.HasPrefix(f.said[1], "[11 messages of output (1.0 MB) left out") {
		t.Errorf("%v %q", f.runs, f.said)
	}
	f = newFlow(limits)
	for range 1000 {
		f.send(line("display_data", 100_000))
	}
	if fmt.Sprint(f.runs) != "[1000]" {
		t.Errorf("what is not a stream counts: %v", f.runs)
	}
}

func TestRateLimitBeginsAnewAtIdle(t *testing.T) {
	f := newFlow(RateLimits{Messages: 10, Window: time.Second})
	for range 5 {
		f.stream(10, 0, 10)
		f.send(idle())
	}
	if fmt.Sprint(f.runs) != "[55]" || len(f.said) != 0 {
		t.Errorf("%v %q", f.runs, f.said)
	}
	busy := line("status", 10)
	busy.message.Content = []byte(`{"execution_state":"busy"}`)
	f.stream(10, 0, 10)
	f.send(busy)
	if f.stream(1, 0, 10); fmt.Sprint(f.runs) != "[66 -1]" {
		t.Errorf("busy begins anew: %v", f.runs)
	}
}

func TestNoRateLimit(t *testing.T) {
	if newLimiter(RateLimits{Window: time.Second}, time.Now()) != nil {
		t.Error("limits nothing, and is there")
	}
	for _, bad := range []RateLimits{{Messages: -1}, {Bytes: -1}, {Window: time.Millisecond}, {Window: 2 * time.Hour}, {Window: -1}} {
		if bad.Validate() == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
}
