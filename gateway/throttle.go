package gateway

import (
	"net/netip"
	"sync"
	"time"
)

// throttle slows down guessing: each address has a number of failed logins per window. It forgets when it is full,
// because it must not grow; tokens are too long to be guessed anyway.
type throttle struct {
	mu       sync.Mutex
	attempts map[netip.Prefix]attempts
}

type attempts struct {
	n     int
	since time.Time
}

func newThrottle() *throttle { return &throttle{attempts: map[netip.Prefix]attempts{}} }

// network is whom an address stands for: itself, or the customer's /64.
func network(a netip.Addr) netip.Prefix {
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // fails only for the zero address, whose prefix is zero too
	return p
}

// take counts an attempt and reports whether it may be made.
func (t *throttle) take(from netip.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	key, now := network(from), time.Now()
	a, known := t.attempts[key]
	if !known && len(t.attempts) >= maxThrottled {
		t.forget(now)
	}
	if now.Sub(a.since) > loginWindow {
		a = attempts{since: now}
	}
	if a.n >= maxLoginFailures {
		return false
	}
	a.n++
	t.attempts[key] = a
	return true
}

// refund takes an attempt back that did not fail.
func (t *throttle) refund(from netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := network(from)
	if a, ok := t.attempts[key]; ok && a.n > 0 {
		a.n--
		t.attempts[key] = a
	}
}

// forget makes room: all that is old, else any one.
func (t *throttle) forget(now time.Time) {
	for key, a := range t.attempts {
		if now.Sub(a.since) > loginWindow {
			delete(t.attempts, key)
		}
	}
	for key := range t.attempts {
		if len(t.attempts) < maxThrottled {
			return
		}
		delete(t.attempts, key)
	}
}
