package bridge

import (
	"errors"
	"time"

	"github.com/gorilla/websocket"
)

// Bounds and times of sessions.
const (
	maxSessions   = 256
	sessionMemory = 10 * time.Minute // how long a session without a client can come back for what it missed
)

var errTooManySessions = errors.New("too many clients on this kernel")

// session is one client as it calls itself by session_id, across its connections. It is guarded by the hub's mu.
type session struct {
	id     string
	client *client // nil while disconnected
	// everything: it asked to go on from a number, and gets what is for other sessions as well.
	everything bool
	// written is the journal position of the last message that was written to a connection, confirmed that of the
	// last one known to have arrived, by a WebSocket pong.
	written   uint64
	confirmed uint64
	// begin is how far the journal was when the session began, if it reads what was said before that.
	begin   uint64
	knows   int // the newest generation that it shows to know of
	left    time.Time
	refused int  // requests on the present connection
	unasked bool // it begins anew and is not known to have got what waits for input
}

// gets reports whether e is for this session.
func (s *session) gets(e *entry) bool { return e.session == "" || e.session == s.id || s.everything }

// notify wakes the session's client, if there is one.
func (s *session) notify() {
	if s.client != nil {
		s.client.notify()
	}
}

// attach makes c the client of its session. A session that comes back continues behind the last message that
// arrived; a new one begins with what comes after its request, the kernel's very first with what the kernel has said by
// itself, and one that resumes where it says. An earlier connection of the same session is closed.
func (h *hub) attach(c *client) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, ok := h.sessions[c.sessionID]
	if !ok {
		h.forgetSessions()
		if len(h.sessions) >= maxSessions {
			return errTooManySessions
		}
		s = &session{id: c.sessionID, written: c.since}
		if h.unheard && !h.attended {
			s.written, s.begin = 0, c.since
		}
		h.sessions[s.id] = s
	}
	h.attended = true
	s.knows = h.knowsNext()
	if s.client != nil {
		h.disconnect(s)
		h.log.Info("connection replaced by a newer one of the same session")
	}
	if c.asks.resume {
		s.written, s.begin, s.everything = c.since, 0, true
	}
	s.client, s.refused = c, 0
	s.confirmed = s.written
	c.session, c.position, c.arrived, c.pings.pinged = s, s.written, s.written, s.written
	c.replayUntil = h.journal.last
	if !ok || c.asks.resume || s.unasked { // otherwise it has them, as it has all that is not behind its position
		c.again = h.openInputs(s, c.position)
	}
	s.unasked = len(c.again) > 0
	c.notify()
	return nil
}

// detach is called when c's connection has ended.
func (h *hub) detach(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.session.client == c {
		h.disconnect(c.session)
	}
}

// disconnect ends the session's present connection. The session falls back to what is known to have arrived. Called
// with mu held.
func (h *hub) disconnect(s *session) {
	c := s.client
	c.closeWith(closeReplaced)
	if c.holds > 0 { // it would be sent that, to nobody's use, for as long as a write may take
		c.cut()
	}
	s.written = c.arrivedAt(s)
	s.unasked = s.unasked && !c.wasAsked()
	s.client = nil
	s.left = time.Now()
}

// forgetSessions drops sessions that have been away for too long, and the one longest away when the table is full.
// Called with mu held.
func (h *hub) forgetSessions() {
	var oldest *session
	for id, s := range h.sessions {
		if s.client != nil {
			continue
		}
		if time.Since(s.left) > sessionMemory {
			delete(h.sessions, id)
		} else if oldest == nil || s.left.Before(oldest.left) {
			oldest = s
		}
	}
	if len(h.sessions) >= maxSessions && oldest != nil {
		delete(h.sessions, oldest.id)
	}
}

// readFor returns what c has not been sent yet, in c.items.
func (h *hub) readFor(c *client) (items []item, next uint64, finished bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := c.session
	if s.client != c {
		return nil, c.position, false
	}
	skip := func(e *entry) bool {
		// A restarted kernel's clients must not take its predecessor's state for its own, nor the first one what was before
		// it; and nobody is asked for what the kernel does not wait for any more. Few messages are old or another's: only
		// these are looked into.
		past := e.generation < h.generation && e.seq <= c.replayUntil || e.seq <= s.begin || e.session != "" && e.session != s.id
		return past && e.isState() || e.isInputRequest() && !h.history.isOpen(e)
	}
	limit := readLimit{batchItems, batchBytes}
	if next = c.position; len(c.again) > 0 {
		c.items, c.again = c.again, nil
	} else {
		c.items, next = h.journal.read(c.items[:0], reader{c.position, s.id, limit, skip, s.everything})
	}
	if c.asks.number {
		h.number(c.items)
	}
	c.holdLarge(c.items)
	return c.items, next, h.phase == ended && len(c.items) == 0
}

// wrote records how far c's connection has taken the journal, and where in its bytes the messages are.
func (h *hub) wrote(c *client, position uint64, marks []mark) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.session.unasked && c.asked == 0 && len(marks) > 0 { // what comes again is the first batch
		c.asked = marks[len(marks)-1].end
	}
	c.wroteTo(marks)
	c.letGo()
	c.position = position
	if c.session.client == c {
		c.session.written = position
	}
}

// confirm records that everything up to there has arrived.
func (h *hub) confirm(c *client, arrived mark) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.confirmed = max(c.confirmed, arrived.end)
	c.settle(arrived.end)
	if c.session.client == c {
		c.session.confirmed = max(c.session.confirmed, arrived.position)
	}
}

// leave takes leave of the client of a connection, as its gateway is going away. It reports whether there is one.
func (h *hub) leave(connection string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.sessions {
		if connection != "" && s.client != nil && s.client.connection == connection {
			s.client.closeWith(closeDrain)
			return true
		}
	}
	return false
}

// heardLast records that no more will be read from c, and what its last word was.
func (h *hub) heardLast(c *client, last error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.heard = time.Now()
	var closed *websocket.CloseError
	said := errors.As(last, &closed) && closed.Code != websocket.CloseAbnormalClosure // which is no frame
	c.answered = said && closed.Code == c.left                                        // with the same code, as RFC 6455 has it: its own close may cross ours
	c.parted = said && !c.answered
}

// leaving records that c's close frame is about to be sent, with that code.
func (h *hub) leaving(c *client, code int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.left = code
}

// currentSession is the present kernel process's session id.
func (h *hub) currentSession() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.kernelSession
}

// gapNotice is the message that stands for output which the journal had to give up.
func gapNotice(kernelSession string, it item) entry {
	text := "[" + plural(it.missed, "message") + " of output dropped here: there was no room left to keep them until they were read]\n"
	return notice(kernelSession, it.entry.lostParent, text)
}
