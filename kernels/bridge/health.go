package bridge

import (
	"errors"
	"time"
)

// When a kernel is broken, and what is done about it here.
const (
	maxStrikes   = 3                // links in a row that were cut off
	strikeTime   = time.Minute      // within which they count
	comebackTime = 10 * time.Second // for a process that has answered before and takes connections, to answer again
	brokenPause  = 2 * time.Second  // before a link to a process that was cut off maxStrikes times
)

// health is what is held against a kernel's process. A process that has never answered is nobody's here: whoever
// started it waits for it, but not for ever.
type health struct {
	well    time.Time // since when, or until when, nothing was wrong with it
	up      time.Time // since when it answers
	silent  bool      // the link ended with errSilent
	strikes int       // links in a row that were cut off
	struck  time.Time // the first of them
	reached time.Time // since when connections are taken by a process that does not answer
}

// ended is called with what a link to a process that had answered ended with.
func (x *health) ended(err error) {
	now := time.Now()
	x.reached = time.Time{}
	switch {
	case errors.Is(err, errSilent):
		x.silent, x.well = true, now.Add(-maxMissed*beatEvery)
	case cutOff(err) == "":
		x.strikes, x.well = 0, now
	case x.strikes == 0 || now.Sub(x.struck) > strikeTime:
		x.strikes, x.struck, x.well = 1, now, now
	default:
		x.strikes++
	}
}

// answered is called when a process answers, and with whether it is another one.
func (x *health) answered(fresh bool) {
	x.silent, x.reached = false, time.Time{}
	if fresh {
		x.strikes = 0
	}
	if x.strikes == 0 {
		x.well = time.Now()
	}
	x.up = time.Now()
}

// broken says in a few words what is wrong with the kernel's process, and until when nothing was; nothing when it is
// as it should be, has gone, or was not given enough time. Called with mu held.
func (h *hub) broken() (what string, since time.Time) {
	x := &h.health
	switch {
	case h.phase == ended || h.generation == 0:
	case h.phase == waiting && x.silent:
		what = "it did not answer any more"
	case x.strikes >= maxStrikes && (h.phase == waiting || time.Since(x.up) < stableLink):
		what = "it kept sending what no kernel may send"
	case h.phase == waiting && !x.reached.IsZero() && time.Since(x.reached) >= comebackTime:
		what = "it took connections and did not answer"
	}
	if what != "" {
		since = x.well
	}
	return what, since
}

// reach is told at each attempt to connect whether somebody listens.
func (h *hub) reach(listens bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !listens:
		h.health.reached = time.Time{}
	case h.phase == waiting && h.health.reached.IsZero():
		h.health.reached = time.Now()
	}
}

// pauseBefore is how long to wait before the next link.
func (h *hub) pauseBefore(usual time.Duration) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.health.strikes >= maxStrikes {
		return brokenPause
	}
	return usual
}
