package bridge_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"cellblock.io/cellblock/kernels/bridge"
)

// A limit leaves output out of a WebSocket and says how much; the journal still has it, and so has one that missed it.
func TestRateLimitSaysWhatItLeftOut(t *testing.T) {
	r := startedRig(t, func(c *bridge.Config) { c.RateLimits = bridge.RateLimits{Messages: 1, Window: 50 * time.Second} })
	away := r.connect("away")
	away.ws.Close()
	r.until("gone", func() bool { return r.status().Connections == 0 })
	c := r.connect("a")
	for i := range 100 {
		r.print(fmt.Sprint(i))
	}
	r.kernel.Publish("status", []byte(`{"msg_id":"p"}`), map[string]string{"execution_state": "idle"})
	before := c.expect("iopub.status idle")
	if len(before) != 52 || before[49] != "iopub.stream 49" {
		t.Fatalf("%d messages: %q", len(before), before)
	}
	if got := before[50]; !strings.Contains(got, "[From here on output is left out: it exceeds 1 messages a second (iopub_msg_rate_limit, over 50s).]") {
		t.Error(got)
	}
	if got := before[51]; !strings.Contains(got, "[50 messages of output (0.0 MB) left out here") || !strings.Contains(got, "journal still has") {
		t.Error(got)
	}
	if p := r.page(""); len(p.Messages) != 102 {
		t.Errorf("the journal has %d messages", len(p.Messages))
	}
	for name, back := range map[string]*conn{"same session": r.connect("away"), "by number": r.connect("new&since=1")} {
		if before := back.expect("iopub.status idle"); len(before) != 100 {
			t.Errorf("%s: %d of what was missed", name, len(before))
		}
	}
}

// The journal has the bounds that it is given, and a reader is told where it had to give something up, in words and in
// numbers.
func TestJournalTellsWhereItOverflowed(t *testing.T) {
	r := startedRig(t, func(c *bridge.Config) { c.JournalMessages = 100 })
	for i := range 150 {
		r.print(fmt.Sprint(i))
	}
	r.printed(151)
	p := r.page("")
	if len(p.Messages) != 100 || p.Missed != 51 || p.Messages[0].Missed != 0 || p.Messages[1].Missed != 51 || p.Messages[1].Seq != 53 || p.Last != 151 {
		t.Errorf("%d messages, missed %d, first %+v, second %+v", len(p.Messages), p.Missed, p.Messages[0].place, p.Messages[1].place)
	}
	if p = r.page("since=10&limit=1"); p.Missed != 42 || p.Messages[0].Seq != 53 || p.Next != 53 || !p.More {
		t.Errorf("in the gap: %+v", p)
	}
	c := r.connect("new&seq=1&since=10")
	if m := c.receive(); m.Content.Name != "stderr" || !strings.HasPrefix(m.Content.Text, "[42 messages of output dropped here") {
		t.Errorf("no marker but %s", m.short())
	}
	if m := c.receive(); m.Content.Text != "51" || !strings.Contains(string(m.Metadata), `"seq":53,"generation":1,"missed":42`) {
		t.Errorf("%s %s", m.short(), m.Metadata)
	}
}

func TestLimitsAreValidated(t *testing.T) {
	for _, bad := range []bridge.Config{
		{JournalBytes: 1<<20 - 1}, {JournalBytes: 64<<20 + 1}, {JournalMessages: 99}, {JournalMessages: 100_001}, {JournalBytes: -1},
		{RateLimits: bridge.RateLimits{Messages: -1}},
	} {
		if bad.Validate() == nil || bridge.Run(t.Context(), bad) == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
	if err := (bridge.Config{JournalBytes: 1 << 20, JournalMessages: 100}).Validate(); err != nil {
		t.Error(err)
	}
}
