package bridge

import (
	"errors"
	"fmt"
	"time"

	"cellblock.io/cellblock/kernels/wire"
)

// RateLimits bound the output that one WebSocket carries. They mean what jupyter_server's settings of the same names
// mean: an average over Window, which slides; what goes beyond is left out until the rate is below 80 % of the limit, and
// each `status: idle` starts anew. The zero value limits nothing, and then a client that is too slow for its kernel gets
// everything at its own pace.
type RateLimits struct {
	// Messages is iopub_msg_rate_limit: messages on iopub per second, except status, comm_open and execute_input.
	Messages int
	// Bytes is iopub_data_rate_limit: bytes of stream messages per second, of all four parts. It leaves out other
	// messages too once it is exceeded.
	Bytes int
	// Window is rate_limit_window; zero means 3 s.
	Window time.Duration
}

// The shortest and longest window that makes sense.
const (
	defaultWindow = 3 * time.Second
	minWindow     = 100 * time.Millisecond
	maxWindow     = time.Hour
)

// Validate says what is wrong.
func (l RateLimits) Validate() error {
	switch {
	case l.Messages < 0 || l.Bytes < 0:
		return errors.New("rate limits must be 0 (none) or more")
	case l.Window != 0 && (l.Window < minWindow || l.Window > maxWindow):
		return fmt.Errorf("window of the rate limits must be %v to %v", minWindow, maxWindow)
	}
	return nil
}

// slots is into how many parts a window is divided: whole parts leave it, so that it costs the same at any rate.
const slots = 64

// resumeAt is the part of a limit below which output is let through again.
const resumeAt = 0.8

// limiter applies RateLimits to one connection. Not safe for concurrent use.
type limiter struct {
	limits RateLimits
	slot   time.Duration
	begin  time.Time

	counts [slots]amount
	newest int64  // number of the slot that is counted into, since begin
	sum    amount // of all slots

	messagesOver, bytesOver bool
	left                    amount // what was left out since a limit was exceeded
	why                     string // the limit that was exceeded first
	parent                  []byte // of the last message that was left out
}

type amount struct{ messages, bytes int }

func (a *amount) add(b amount) { a.messages, a.bytes = a.messages+b.messages, a.bytes+b.bytes }
func (a *amount) sub(b amount) { a.messages, a.bytes = a.messages-b.messages, a.bytes-b.bytes }

// newLimiter returns nil when nothing is limited.
func newLimiter(l RateLimits, now time.Time) *limiter {
	if l.Messages == 0 && l.Bytes == 0 {
		return nil
	}
	if l.Window == 0 {
		l.Window = defaultWindow
	}
	return &limiter{limits: l, slot: l.Window / slots, begin: now}
}

// remark is what a person is told about what was left out, below the cell of parent.
type remark struct {
	text   string
	parent []byte
}

// admit reports whether e may be sent now, and what is to be said before it.
func (l *limiter) admit(e *entry, now time.Time) (ok bool, say *remark) {
	if e.message.Channel != wire.IOPub {
		return true, nil
	}
	switch e.header.MsgType {
	case "status":
		if isIdle(e.message.Content) {
			say = l.resume()
			l.counts, l.sum = [slots]amount{}, amount{}
		}
		return true, say
	case "comm_open", "execute_input":
		return true, nil
	}
	l.slide(now)
	one := amount{messages: 1}
	if e.header.MsgType == "stream" {
		m := &e.message
		one.bytes = len(m.Header) + len(m.Parent) + len(m.Metadata) + len(m.Content)
	}
	if !l.exceeds(one) {
		say = l.resume()
		l.counts[l.newest%slots].add(one)
		l.sum.add(one)
		return true, say
	}
	if l.left.messages == 0 {
		say = &remark{l.begins(), e.message.Parent}
	}
	l.left.add(amount{1, e.message.Size()})
	l.parent = e.message.Parent
	return false, say
}

// slide moves the window to now.
func (l *limiter) slide(now time.Time) {
	current := int64(now.Sub(l.begin) / l.slot)
	for n := 0; l.newest < current && n < slots; n++ {
		l.newest++
		l.sum.sub(l.counts[l.newest%slots])
		l.counts[l.newest%slots] = amount{}
	}
	l.newest = max(l.newest, current)
}

// exceeds reports whether one more message is to be left out.
func (l *limiter) exceeds(one amount) bool {
	over := func(was bool, n, limit int) bool {
		rate := float64(n) / l.limits.Window.Seconds()
		switch {
		case limit == 0:
			return false
		case rate > float64(limit):
			return true
		}
		return was && rate >= resumeAt*float64(limit)
	}
	l.messagesOver = over(l.messagesOver, l.sum.messages+one.messages, l.limits.Messages)
	l.bytesOver = over(l.bytesOver, l.sum.bytes+one.bytes, l.limits.Bytes)
	return l.messagesOver || l.bytesOver
}

// begins says that output is left out from here on.
func (l *limiter) begins() string {
	l.why = fmt.Sprintf("%d messages a second (iopub_msg_rate_limit", l.limits.Messages)
	if !l.messagesOver {
		l.why = fmt.Sprintf("%d bytes a second (iopub_data_rate_limit", l.limits.Bytes)
	}
	l.why += fmt.Sprintf(", over %v)", l.limits.Window)
	return "[From here on output is left out: it exceeds " + l.why + ".]\n"
}

// resume lets output through again. It returns what to say if some was left out.
func (l *limiter) resume() *remark {
	l.messagesOver, l.bytesOver = false, false
	if l.left.messages == 0 {
		return nil
	}
	say := &remark{fmt.Sprintf("[%s of output (%.1f MB) left out here: more than %s. "+
		"The kernel's journal still has what is recent. "+
		"Print less at once, or ask who runs this gateway for a higher limit.]\n",
		plural(l.left.messages, "message"), float64(l.left.bytes)/1e6, l.why), l.parent}
	l.left, l.parent = amount{}, nil
	return say
}
