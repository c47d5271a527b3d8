package bridge

import (
	"time"

	"cellblock.io/cellblock/kernels/receipt"
)

const (
	maxMarks = 16_384 // messages under way to one client, of which receipts tell whether they arrived
	// maxLag is how many bytes may be on their way to a client that keeps up.
	maxLag = 4 << 10
	// lastReceipt is how long the gateway has for its last receipt when a connection has ended, and how often it is
	// looked for.
	lastReceipt      = 3 * time.Second
	lastReceiptEvery = 5 * time.Millisecond
)

// receipts is what a gateway tells of one connection.
type receipts struct {
	*receipt.Slip
	begin int64 // bytes that went out before the first counted one
}

// handed is up to where in the connection's bytes the gateway has handed on.
func (r *receipts) handed() int64 { return r.begin + r.Read().Handed }

// wait gives the gateway time for its last receipt.
func (r *receipts) wait() {
	if r == nil {
		return
	}
	tick := time.NewTicker(lastReceiptEvery)
	defer tick.Stop()
	for deadline := time.Now().Add(lastReceipt); !r.Read().Last && time.Now().Before(deadline); {
		<-tick.C
	}
}

// mark says that the message at position ends after so many bytes of a connection.
type mark struct {
	end      int64
	position uint64
}

// settle moves c.arrived behind what receipts or a pong cover and forgets those marks. Called with the hub's mu held.
func (c *client) settle(handed int64) {
	n := 0
	for n < len(c.marks) && c.marks[n].end <= handed {
		c.arrived = c.marks[n].position
		n++
	}
	if c.marks = c.marks[n:]; len(c.marks) == 0 {
		c.marks = nil // most clients are idle most of the time
	}
}

// arrivedAt returns where a session continues whose connection c has ended. That is behind everything if the client has
// answered our close frame, which comes last, and behind what the gateway handed on if the client kept up. What was on
// its way to a client that lagged, or was out of reach, may be lost, and be it in a proxy: such a session continues
// behind what it confirmed. So does one whose client took leave by itself, or without a word opened another connection:
// what comes on the old one it does not read any more, but the pings that it read before that it has answered. Called
// with the hub's mu held.
func (c *client) arrivedAt(s *session) uint64 {
	if c.answered {
		return s.written
	}
	now, left := c.heard, c.parted
	if now.IsZero() {
		now, left = time.Now(), true
	}
	if left && c.pings.unanswered() {
		return s.confirmed
	}
	silent := c.pings.silent(now)
	if c.receipts == nil || c.lostCount {
		if silent {
			return s.confirmed
		}
		return s.written
	}
	handed := c.receipts.handed()
	if silent || handed-c.confirmed > maxLag {
		return s.confirmed
	}
	c.settle(handed)
	return max(c.arrived, s.confirmed)
}

// wasAsked reports whether what waits for input has been sent again and has arrived, as far as is known. Called with
// the hub's mu held.
func (c *client) wasAsked() bool {
	return c.asked > 0 && (c.receipts == nil || max(c.confirmed, c.receipts.handed()) >= c.asked)
}

// wroteTo records marks. Called with the hub's mu held.
func (c *client) wroteTo(marks []mark) {
	if c.receipts == nil || c.lostCount {
		return
	}
	for _, m := range marks {
		if n := len(c.marks); n > 0 && c.marks[n-1].end == m.end { // left out for the rate limit, of which there may be many
			c.marks[n-1] = m
		} else {
			c.marks = append(c.marks, m)
		}
	}
	c.settle(c.receipts.handed())
	if len(c.marks) > maxMarks {
		c.lostCount, c.marks = true, nil
	}
}
