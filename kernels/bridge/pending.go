package bridge

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"cellblock.io/cellblock/kernels/wire"
)

// Bounds on requests without an answer. A kernel takes one after the other, so what one client has in the queue is
// what all others wait for.
const (
	maxPending        = 10_000
	maxPendingSession = 1_000
	// idleGrace: a request whose handler has ended gets its answer at once or never; the reply comes another way than
	// the end, so it may be a little later.
	idleGrace = 10 * time.Second
)

// pending is a request that the kernel has been given.
type pending struct {
	session string
	header  wire.Header
	channel wire.Channel
	number  int       // in the order of the requests
	idle    time.Time // when the kernel said that its handler has ended; zero before
}

// pendings are the requests that the kernel has been given and has not answered. Guarded by the hub's mu.
type pendings struct {
	byID  map[string]pending
	of    map[string]int // how many, by session
	taken int            // how many there ever were
}

func newPendings() pendings {
	return pendings{byID: make(map[string]pending), of: make(map[string]int)}
}

// add takes note of r, or says why it cannot be sent.
func (p *pendings) add(r request, now time.Time) (refusal string) {
	old, again := p.byID[r.header.MsgID]
	if again && old.session != r.session {
		return "Another client's request has the same id. This one was not sent."
	}
	if !again && p.of[r.session] >= maxPendingSession {
		p.sweep(r.session, now)
	}
	switch {
	case again:
		p.settle(r.header.MsgID)
	case p.of[r.session] >= maxPendingSession:
		return "Too many requests of this client are waiting for the kernel's answer. This one was not sent."
	case len(p.byID) >= maxPending:
		return "Too many requests are waiting for this kernel's answer. This one was not sent."
	}
	p.taken++
	p.byID[r.header.MsgID] = pending{session: r.session, header: r.header, channel: r.message.Channel, number: p.taken}
	p.of[r.session]++
	return ""
}

// settle forgets a request that was answered, or was not sent after all.
func (p *pendings) settle(msgID string) {
	one, ok := p.byID[msgID]
	if !ok {
		return
	}
	delete(p.byID, msgID)
	if p.of[one.session]--; p.of[one.session] == 0 {
		delete(p.of, one.session)
	}
}

// ended takes note that a request's handler has. What has no reply (comms) is then answered.
func (p *pendings) ended(msgID string, now time.Time) {
	one, ok := p.byID[msgID]
	switch {
	case !ok:
	case !strings.HasSuffix(one.header.MsgType, "_request"):
		p.settle(msgID)
	default:
		one.idle = now
		p.byID[msgID] = one
	}
}

// sweep forgets a session's requests whose handlers have ended long ago: kernels do not answer types they do not know.
func (p *pendings) sweep(session string, now time.Time) {
	for id, one := range p.byID {
		if one.session == session && !one.idle.IsZero() && now.Sub(one.idle) > idleGrace {
			p.settle(id)
		}
	}
}

// asker returns the session whose request it is.
func (p *pendings) asker(msgID string) (session string, ok bool) {
	one, ok := p.byID[msgID]
	return one.session, ok
}

// inOrder returns all, the oldest first.
func (p *pendings) inOrder() []pending {
	return slices.SortedFunc(maps.Values(p.byID), func(a, b pending) int { return cmp.Compare(a.number, b.number) })
}

// Bounds on what one client may do that leads to nothing.
const (
	maxHeldSession = 500    // of maxHeld
	maxRefused     = 1_000  // requests refused on one connection, before it is closed
	clientRate     = 20_000 // messages a second, and at once
)

// refuse tells the client that asked, of the first ones and then of each hundredth. A client that does not stop is
// closed. Called with mu held.
func (h *hub) refuse(r request, text string) {
	s, ok := h.sessions[r.session]
	if ok {
		if s.refused++; s.refused > maxRefused && s.client != nil {
			s.client.closeWith(closeFlood)
		}
	}
	if ok && s.refused > 10 && s.refused%100 != 0 {
		return
	}
	n := notice(h.kernelSession, r.message.Header, text+"\n")
	n.session = r.session
	h.publish(n)
}

// heldOf is how many requests of a session wait for a process. Called with mu held.
func (h *hub) heldOf(session string) (n int) {
	for i := range h.held {
		if h.held[i].session == session {
			n++
		}
	}
	return n
}

// bucket measures how fast a client sends: it fills by one with each message, and leaks clientRate a second.
type bucket struct {
	level float64
	at    time.Time
}

// take reports whether one more is within clientRate.
func (b *bucket) take(now time.Time) bool {
	b.level = max(0, b.level-now.Sub(b.at).Seconds()*clientRate) + 1
	b.at = now
	return b.level <= clientRate
}
