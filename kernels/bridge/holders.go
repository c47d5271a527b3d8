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
		oldest, total := uint64(0), 0
		given := make(map[uint64]int) // bytes by position: clients share what they are sent
		for _, s := range h.sessions {
			c := s.client
			if c == nil || c.holds == 0 || h.journal.has(c.holding) {
				continue
			}
			total += c.holds - given[c.holding]
			given[c.holding] = c.holds
			if oldest == 0 || c.holding < oldest {
				oldest = c.holding
			}
		}
		if total <= maxGivenUp {
			return
		}
		h.log.Info("clients cut off: they take large messages too slowly", "bytes", given[oldest])
		for _, s := range h.sessions {
			if c := s.client; c != nil && c.holds > 0 && c.holding == oldest {
				c.holds = 0
				c.cut()
			}
		}
	}
}
