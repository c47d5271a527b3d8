package bridge

// maxGivenUp bounds the bytes of large messages that the journal has given up while clients are still being sent them.
// One of the largest may be; more would be as much memory as clients stall.
const maxGivenUp = 64 << 20

// holdLarge takes note of what c is about to be sent. Called with mu held.
func (c *client) holdLarge(items []item) {
	c.holds = 0
	for i := range items {
		if size := items[i].entry.message.Size(); size > maxCollected {
			if c.holds == 0 {
				c.holding = items[i].entry.seq
			}
			c.holds += size
		}
	}
}

// letGo forgets what c was sent, so that nothing large stays in memory for its sake. Called with mu held.
func (c *client) letGo() {
	c.holds = 0
	clear(c.items)
}

// cutHolders ends the connections of clients that are furthest behind in what the journal has given up, until the rest
// is within maxGivenUp. They may come back, and read that they missed something. Called with mu held.
func (h *hub) cutHolders() {
	for {
		total := 0
		var last *client
		for _, s := range h.sessions {
			c := s.client
			if c == nil || c.holds == 0 || h.journal.has(c.holding) {
				continue
			}
			total += c.holds
			if last == nil || c.holding < last.holding {
				last = c
			}
		}
		if total <= maxGivenUp {
			return
		}
		h.log.Info("client cut off: it holds large messages for too long", "bytes", last.holds)
		last.holds = 0
		last.cut()
	}
}
