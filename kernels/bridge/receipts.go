package bridge

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"cellblock.io/cellblock/kernels"
)

const (
	maxMarks   = 16_384 // messages under way to one client, of which receipts tell whether they arrived
	maxReceipt = 1 << 62
	// maxLag is how many bytes may be on their way to a client that keeps up.
	maxLag = 2 << 10
	// receiptsWait is how long the gateway has for its last receipt when a connection has ended.
	receiptsWait = 3 * time.Second
)

// receipts is what a gateway tells of one connection (kernels.Receipt).
type receipts struct {
	id    string
	begin int64         // bytes that went out before the first counted one
	ended chan struct{} // closed when no more will come

	mu   sync.Mutex
	open bool // the gateway has begun to tell
	over bool // and has ended
	last kernels.Receipt
}

// told returns the last receipt; ok is false when there never was a gateway that tells.
func (r *receipts) told() (last kernels.Receipt, over, ok bool) {
	if r == nil {
		return kernels.Receipt{}, false, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last, r.over, r.open
}

// wait gives the gateway time for its last receipt.
func (r *receipts) wait() {
	if _, over, ok := r.told(); !ok || over {
		return
	}
	late := time.NewTimer(receiptsWait)
	defer late.Stop()
	select {
	case <-r.ended:
	case <-late.C:
	}
}

// read takes receipts until the gateway ends, of which one comes at most.
func (r *receipts) read(body io.Reader) {
	r.mu.Lock()
	again := r.open
	r.open = true
	r.mu.Unlock()
	if again {
		return
	}
	var b [kernels.ReceiptSize]byte
	for {
		if _, err := io.ReadFull(body, b[:]); err != nil {
			break
		}
		next := kernels.DecodeReceipt(b)
		r.mu.Lock()
		r.last = next
		r.mu.Unlock()
	}
	r.mu.Lock()
	r.over = true
	r.mu.Unlock()
	close(r.ended)
}

// mark says that the message at position ends after so many bytes of a connection.
type mark struct {
	end      int64
	position uint64
}

// settle moves c.arrived behind what the receipts cover and forgets those marks. Called with the hub's mu held.
func (c *client) settle(last kernels.Receipt) {
	n := 0
	for n < len(c.marks) && c.marks[n].end <= c.receipts.begin+int64(min(last.Handed, maxReceipt)) {
		c.arrived = c.marks[n].position
		n++
	}
	c.marks = c.marks[n:]
}

// arrivedAt returns where a session continues whose connection c has ended. That is behind what the gateway handed on,
// if the client took it all or kept up. What was on its way to a client that lagged, or was out of reach, may be lost:
// such a session continues behind what it confirmed. Called with the hub's mu held.
func (c *client) arrivedAt(s *session) uint64 {
	now := c.heard
	if now.IsZero() {
		now = time.Now()
	}
	silent := c.pings.silent(now)
	last, _, ok := c.receipts.told()
	if !ok || c.lostCount {
		if silent {
			return s.confirmed
		}
		return s.written
	}
	lag := c.receipts.begin + int64(min(last.Handed, maxReceipt)) - c.confirmed
	if !last.Complete && (silent || lag > maxLag) {
		return s.confirmed
	}
	c.settle(last)
	return max(c.arrived, s.confirmed)
}

// wroteTo records marks. Called with the hub's mu held.
func (c *client) wroteTo(marks []mark) {
	last, _, ok := c.receipts.told()
	if c.receipts == nil || c.lostCount {
		return
	}
	c.marks = append(c.marks, marks...)
	if ok {
		c.settle(last)
	}
	if len(c.marks) > maxMarks { // nobody tells: do without
		c.lostCount, c.marks = true, nil
	}
}

// offerReceipts makes a place for the receipts of a connection that is about to be accepted.
func (s *server) offerReceipts() *receipts {
	r := &receipts{id: newID(), ended: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offered[r.id] = r
	return r
}

func (s *server) withdrawReceipts(r *receipts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.offered, r.id)
}

// takeReceipts is where a gateway tells. The body has no end, so the connection is taken from the HTTP server.
func (s *server) takeReceipts(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	offered := s.offered[r.PathValue("id")]
	s.mu.Unlock()
	if offered == nil {
		http.Error(w, "no such connection", http.StatusNotFound)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil { // all connections here can be
		return
	}
	s.clients.Add(1)
	defer s.clients.Done()
	defer conn.Close()
	defer context.AfterFunc(s.ctx, func() { conn.Close() })()
	offered.read(buffered)
}
