package bridge

import (
	"strconv"
	"sync"
	"time"
)

const (
	maxPings  = 256                  // under way on one connection
	pingEvery = 2 * time.Millisecond // at most

	pingPeriod = 25 * time.Second // a sign of life when there is nothing else to send
	pongWait   = 90 * time.Second // clients that answer pings only while they read need long
	// silentFor: a client that has not confirmed a ping for longer than this, and some round trips, when its
	// connection ended was out of reach before that.
	silentFor = 250 * time.Millisecond
)

// untilPings is the time until clients get their next sign of life: all of a kernel's at once, which wakes the bridge, the
// gateway and them once for each pingPeriod and not once for each client.
func (h *hub) untilPings(now time.Time) time.Duration {
	return pingPeriod - now.Sub(h.began)%pingPeriod
}

// pings confirms what has arrived: a ping follows what was written, and its pong proves that the client has read
// everything before it (RFC 6455 §5.5.2; every client answers by itself).
type pings struct {
	mu     sync.Mutex
	last   uint64 // number of the last one, its payload
	at     time.Time
	pinged uint64 // the newest journal position behind which one was sent
	sent   []ping // under way, oldest first
	trip   time.Duration
}

// ping is one that was not answered yet.
type ping struct {
	number uint64
	behind mark // what it confirms
	at     time.Time
}

// next returns the payload for a ping behind a message. ok is false when there is nothing new to confirm, unless a sign
// of life is wanted and none is under way, and when it is too early for another one.
func (p *pings) next(behind mark, alive bool, now time.Time) (payload string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	wait, owed := p.owes(behind.position, now)
	if (!owed || wait > 0) && (!alive || len(p.sent) > 0) {
		return "", false
	}
	p.last++
	p.at, p.pinged = now, behind.position
	p.sent = append(p.sent, ping{p.last, behind, now})
	return strconv.FormatUint(p.last, 10), true
}

// due returns when the next ping may be sent; ok is false when nothing is to be confirmed now.
func (p *pings) due(position uint64, now time.Time) (wait time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.owes(position, now)
}

// owes is due with mu held.
func (p *pings) owes(position uint64, now time.Time) (wait time.Duration, ok bool) {
	if position <= p.pinged || len(p.sent) == maxPings {
		return 0, false
	}
	return max(0, p.at.Add(pingEvery).Sub(now)), true
}

// pong returns what a pong confirms, and false for a pong that nobody asked for. It answers all earlier
// pings as well.
func (p *pings) pong(payload string, now time.Time) (mark, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, one := range p.sent {
		if strconv.FormatUint(one.number, 10) != payload {
			continue
		}
		p.sent = append(p.sent[:0], p.sent[i+1:]...)
		if trip := now.Sub(one.at); p.trip == 0 || trip < p.trip {
			p.trip = trip
		}
		return one.behind, true
	}
	return mark{}, false
}

// unanswered reports whether the client owes a pong.
func (p *pings) unanswered() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.sent) > 0
}

// silent reports whether the client has left a ping unanswered for so long that it must have been out of reach, or is
// far behind: longer than the way there and back takes at its best, by far.
func (p *pings) silent(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.sent) > 0 && now.Sub(p.sent[0].at) > silentFor+4*p.trip
}
