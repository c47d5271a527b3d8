package bridge

import (
	"strconv"
	"sync"
	"time"
)

// pings confirms what has arrived: a ping that follows a message carries its journal position, and its pong proves
// that the client's WebSocket has read everything before it (RFC 6455 §5.5.2; every client answers by itself). At
// most one is under way, so confirmation costs one small frame per round trip.
type pings struct {
	mu        sync.Mutex
	sent      time.Time // zero when none is under way
	payload   string
	position  uint64
	roundTrip time.Duration // of the last one
}

// next returns the payload for a ping behind position, and false while one is under way.
func (p *pings) next(position uint64, now time.Time) (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.sent.IsZero() {
		return "", false
	}
	p.sent, p.position = now, position
	p.payload = strconv.FormatUint(position, 10)
	return p.payload, true
}

// pong returns the position that a pong confirms, and false for a pong that nobody asked for.
func (p *pings) pong(payload string, now time.Time) (uint64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sent.IsZero() || payload != p.payload {
		return 0, false
	}
	p.roundTrip = now.Sub(p.sent)
	p.sent = time.Time{}
	return p.position, true
}

// silent reports whether the client has left a ping unanswered for so long that it must have been out of reach.
func (p *pings) silent(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.sent.IsZero() && now.Sub(p.sent) > silentFor+4*p.roundTrip
}
