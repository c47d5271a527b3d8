package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/kernels/wire"
)

// Bounds of what a hub keeps.
const (
	journalBytes = 64 << 20
	journalCount = 100_000
	maxHeld      = 1000 // requests that wait for the kernel
	maxHeldBytes = 64 << 20
	maxBusy      = 10_000 // parents that are busy at once
)

// phase is what a hub knows of its kernel's process.
type phase int

const (
	waiting phase = iota // no process has answered yet, or the next one has not
	running
	ended
)

// hub is the heart of a bridge: it takes what clients ask and what the kernel says, keeps the journal, and knows what
// state the kernel is in. Clients read the journal at their own pace; the hub never waits for anyone.
type hub struct {
	log   *slog.Logger
	began time.Time
	// largeRequests is full while a client's large message is being read.
	largeRequests chan struct{}

	mu       sync.Mutex // nothing blocks while it is held
	phase    phase
	link     *link // nil unless a process answers
	restart  bool  // the next end of the process was asked for
	final    bool  // a client asked the kernel to shut down for good
	journal  *journal
	history  history
	sessions map[string]*session
	attended bool // there has been a client
	unheard  bool // before that, the kernel said something else than its state
	held     []request
	heldSize int
	pending  pendings
	unended  unended
	own      map[string]func(wire.Message, wire.Header) // replies to the bridge's own requests, by msg_id
	activity activity
	untold   *time.Timer // runs while clients have not been told of a death, because nobody has said why
	why      string      // said before the link ended
	health   health
	warned   time.Time // when clients were told last that the kernel will be ended
	// generation counts the processes that have answered; kernelSession is the session id of the present one.
	generation    int
	kernelSession string
	changed       chan struct{} // closed and replaced when phase or generation change
	dropped       int           // messages of the kernel that were malformed or nobody's
}

// request is a client's message on its way to the kernel.
type request struct {
	session string
	header  wire.Header
	message wire.Message
}

func newHub(log *slog.Logger, j *journal) *hub {
	return &hub{
		log:      log,
		began:    time.Now(),
		journal:  j,
		history:  newHistory(),
		sessions: make(map[string]*session),
		pending:  newPendings(),
		unended:  newUnended(),
		own:      make(map[string]func(wire.Message, wire.Header)),
		activity: newActivity(),
		changed:  make(chan struct{}),

		largeRequests: make(chan struct{}, 1),
	}
}

// setPhase is called with mu held.
func (h *hub) setPhase(p phase) {
	h.phase = p
	close(h.changed)
	h.changed = make(chan struct{})
}

// kernelUp is called when a new process has answered and its outputs are seen. What waited goes to it, in order.
func (h *hub) kernelUp(l *link, kernelSession string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.untold != nil {
		h.tellDeath(outOfReach)
	}
	h.why = ""
	h.generation++
	h.health.answered(kernelSession != h.kernelSession)
	h.link, h.kernelSession = l, kernelSession
	if h.restart {
		h.tellRestart()
	}
	h.restart, h.final = false, false
	h.activity.reset()
	h.publishStatus(kernels.Idle)
	h.setPhase(running)
	held := h.held
	h.held, h.heldSize = nil, 0
	for _, r := range held {
		h.take(r)
	}
	h.log.Info("kernel answers", "generation", h.generation, "held", len(held))
}

// kernelDown is called when the link to the process has ended.
func (h *hub) kernelDown(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.link = nil
	if h.phase != running {
		return
	}
	h.log.Info("kernel gone", "generation", h.generation, "asked", h.restart, "final", h.final, "cause", err)
	h.history.processEnded()
	clear(h.unended.byID)
	h.health.ended(err)
	switch {
	case h.final:
		h.failPending("KernelEnded", "The kernel was shut down.")
	case h.restart:
		h.failPending("KernelRestarted", "The kernel was restarted.")
	default:
		h.lost(err)
	}
	h.activity.reset()
	h.setPhase(waiting)
}

// hold makes requests wait for the next process, because the present one is about to end.
func (h *hub) hold(restart bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.restart = restart
	h.final = h.final || !restart
}

// end is final: clients read that the kernel is dead, and why, and are then closed for good.
func (h *hub) end(reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.phase == ended {
		return
	}
	if reason != "" {
		h.publishNotice(reason, h.activity.lastParent)
	}
	h.forgetDeath()
	h.failPending("KernelEnded", reason)
	h.publishStatus(kernels.Dead)
	h.held, h.heldSize = nil, 0
	h.setPhase(ended)
}

// ready waits for a process of a later generation than after.
func (h *hub) ready(ctx context.Context, after int) (int, error) {
	for {
		h.mu.Lock()
		generation, phase, changed := h.generation, h.phase, h.changed
		h.mu.Unlock()
		switch {
		case phase == ended:
			return 0, fmt.Errorf("wait for the kernel: %w", kernels.ErrNotFound)
		case phase == running && generation > after:
			return generation, nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("wait for the kernel: %w", ctx.Err())
		case <-changed:
		}
	}
}

// status answers for the kernel model.
func (h *hub) status() kernels.BridgeStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := kernels.BridgeStatus{
		LastActivity: h.activity.last, Generation: h.generation, ShutdownRequested: h.final, State: h.activity.state(),
	}
	s.Broken, s.BrokenSince = h.broken()
	if h.warned.After(h.activity.last) {
		s.Warned = h.warned
	}
	for _, x := range h.sessions {
		if x.client != nil {
			s.Connections++
		}
	}
	switch {
	case h.phase == ended:
		s.State = kernels.Dead
	case h.phase == waiting && h.generation == 0:
		s.State = kernels.Starting
	case h.phase == waiting || h.restart:
		s.State = kernels.Restarting
	}
	return s
}

// publish puts a message into the journal and wakes its readers. Called with mu held.
func (h *hub) publish(e entry) {
	e.generation += h.generation
	h.unheard = h.unheard || !h.attended && !e.isState()
	h.journal.append(e)
	if e.message.Size() > maxCollected {
		h.cutHolders()
	}
	for _, s := range h.sessions {
		if s.gets(&e) {
			s.notify()
		}
	}
}

// publishStatus sends a status message of the bridge's own to all clients. It carries the kernel's session: clients
// take another one for a restarted kernel, which is right only while it is restarting. Called with mu held.
func (h *hub) publishStatus(state kernels.State) { h.publishStatusTo("", state) }

// publishStatusTo is publishStatus for one session alone.
func (h *hub) publishStatusTo(only string, state kernels.State) {
	session := h.kernelSession
	if state == kernels.Restarting {
		session = bridgeSession
	}
	e := synthetic(session, "status", nil, map[string]string{"execution_state": string(state)})
	e.session = only
	h.publish(e)
}

// publishNotice shows text to all clients as error output below the cell of the request whose header is parent.
// Called with mu held.
func (h *hub) publishNotice(text string, parent []byte) {
	h.publish(notice(h.kernelSession, parent, text+"\n"))
}

// notice is text for a person, as error output of the request whose header is parent.
func notice(kernelSession string, parent []byte, text string) entry {
	return synthetic(kernelSession, "stream", parent, map[string]string{"name": "stderr", "text": text})
}

// timeFormat is that of jupyter_server, which clients parse: UTC with six digits of a second.
const timeFormat = "2006-01-02T15:04:05.000000Z"

// bridgeSession is the session id of what a bridge itself asks or announces.
var bridgeSession = newID()

// synthetic makes a message that looks like one of the kernel's.
func synthetic(session, msgType string, parent []byte, content any) entry {
	h := wire.Header{MsgID: newID(), MsgType: msgType, Session: session}
	header, err := json.Marshal(map[string]string{
		"msg_id": h.MsgID, "msg_type": msgType, "session": session, "username": "cellblock",
		"date": time.Now().UTC().Format(timeFormat), "version": "5.3",
	})
	body, err2 := json.Marshal(content)
	if err != nil || err2 != nil { // strings always marshal
		header, body = []byte("{}"), []byte("{}")
	}
	if len(parent) == 0 {
		parent = []byte("{}")
	}
	return entry{header: h, message: wire.Message{
		Channel: wire.IOPub, Header: header, Parent: parent, Metadata: []byte("{}"), Content: body,
	}}
}
