package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"cellblock.io/cellblock/kernels/wire"
)

// fromClient takes a request that a client sent. It goes to the kernel at once, or waits for the next process. A
// request that cannot be taken is answered with a notice; nothing is ever sent twice.
func (h *hub) fromClient(r request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.history.asked(r)
	h.take(r)
	if s := h.sessions[r.session]; s != nil {
		s.knows = h.knowsNext()
	}
}

// take gives a request to the kernel, or keeps it for the next process. Called with mu held.
func (h *hub) take(r request) {
	h.noteShutdown(r)
	if h.phase == running && !h.holding() || r.header.MsgType == "shutdown_request" && h.link != nil {
		h.forward(r)
		return
	}
	if h.phase == ended {
		return // the client reads `dead` and is closed
	}
	if len(h.held) == maxHeld || h.heldOf(r.session) == maxHeldSession || h.heldSize+r.message.Size() > maxHeldBytes {
		h.refuse(r, "The kernel has not started yet and too many requests are waiting for it. This one was not sent.")
		return
	}
	h.heldSize += r.message.Size()
	h.held = append(h.held, r)
}

// holding reports whether the present process is about to end, so that nothing more is sent to it.
func (h *hub) holding() bool { return h.restart || h.final }

// noteShutdown learns from a client's own shutdown_request that the end of the process is meant.
func (h *hub) noteShutdown(r request) {
	if r.header.MsgType != "shutdown_request" || h.phase != running {
		return
	}
	var content struct {
		Restart bool `json:"restart"`
	}
	if err := json.Unmarshal(r.message.Content, &content); err != nil {
		return // the kernel will not understand it either
	}
	h.restart, h.final = content.Restart, !content.Restart
}

// forward gives a request to the kernel. Called with mu held.
func (h *hub) forward(r request) {
	if r.message.Channel != wire.Stdin {
		if refusal := h.pending.add(r, time.Now()); refusal != "" {
			h.refuse(r, refusal)
			return
		}
	}
	if !untracked(r.header.MsgType) {
		h.activity.last = time.Now()
	}
	if err := h.link.send(&r.message); errors.Is(err, errQueueFull) {
		h.pending.settle(r.header.MsgID)
		h.refuse(r, "The kernel does not read its requests. This one was not sent.")
	}
}

// fromKernel takes a message that has been verified and checked.
func (h *hub) fromKernel(m wire.Message) {
	header, err := wire.MessageHeader(m.Header)
	if err != nil {
		h.malformed(m.Channel, err)
		return
	}
	parent, err := wire.ParseHeader(m.Parent)
	if err != nil {
		h.malformed(m.Channel, err)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if answer, ok := h.own[parent.MsgID]; ok {
		answer(m, header)
		return
	}
	switch {
	case h.phase == ended, header.MsgType == "iopub_welcome":
	case m.Channel == wire.IOPub:
		h.noteIdle(header, parent, &m)
		e := entry{header: header, message: m}
		if h.phase == waiting { // of a process that is not known to answer yet
			e.generation = 1
		}
		h.publish(e)
	default:
		h.reply(entry{header: header, message: m}, parent)
	}
}

// noteIdle follows the kernel's state. Called with mu held.
func (h *hub) noteIdle(header, parent wire.Header, m *wire.Message) {
	idle := h.activity.note(header, parent, m)
	if idle {
		h.history.finished(parent.MsgID)
		h.pending.ended(parent.MsgID, time.Now())
		h.unended.ended(parent.MsgID)
	}
}

// reply delivers an answer or a request for input to the session that asked, and to nobody if nobody did. Called
// with mu held.
func (h *hub) reply(e entry, parent wire.Header) {
	asker, ok := h.pending.asker(parent.MsgID)
	if !ok {
		h.dropped++
		h.log.Debug("reply to nobody", "channel", e.message.Channel, "type", e.header.MsgType)
		return
	}
	if e.message.Channel != wire.Stdin {
		if h.pending.byID[parent.MsgID].idle.IsZero() {
			h.unended.replied(e.message.Parent, parent)
		}
		h.pending.settle(parent.MsgID)
		h.history.finished(parent.MsgID)
	}
	e.session = asker
	h.publish(e)
	if e.isInputRequest() {
		h.history.inputRequested(openInput{seq: h.journal.last, msgID: e.header.MsgID, parent: parent.MsgID})
	}
}

// malformed counts a message that had to be dropped, and tells clients: a cell that waits for it should not wait in
// silence. The first ones are told, then each hundredth.
func (h *hub) malformed(ch wire.Channel, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dropped++
	if h.dropped > 10 && h.dropped%100 != 0 {
		return
	}
	h.log.Warn("message dropped", "channel", ch, "total", h.dropped, "cause", err)
	text := fmt.Sprintf("The kernel sent a message on %s that is not valid; it was dropped (%d so far).", ch, h.dropped)
	var large *tooLargeError
	if errors.As(err, &large) {
		text = fmt.Sprintf("[A message of %.1f MB on %s was left out: a kernel may send at most 64 MiB in one message, 16 MiB in a reply.]",
			float64(large.size)/1e6, ch)
	}
	h.publishNotice(text, bytes.Clone(h.activity.lastParent))
}
