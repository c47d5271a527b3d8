package bridge

import (
	"context"
	"time"

	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/kernels/wire"
)

// A kernel whose outputs come faster than its own queue can take drops some, and with them the `idle` that ends a cell:
// clients would wait for it for ever. It follows the reply at once, so when it has not come idleWait after the reply, the
// kernel is asked something on control. If the end of that is seen on iopub, which keeps its order, and the `idle` still
// is not there, it was lost, and the bridge says it instead.
const (
	idleWait  = time.Second
	idleProbe = 2 * time.Second // for the kernel to answer
)

// unended are requests that were answered and whose end has not been seen. Guarded by the hub's mu.
type unended struct {
	byID   map[string]answered
	wanted chan struct{} // holds a value when there are some
}

// answered is when a reply came, and the parent header that it had, as it came and parsed.
type answered struct {
	at     time.Time
	parent []byte
	header wire.Header
}

func newUnended() unended {
	return unended{byID: make(map[string]answered), wanted: make(chan struct{}, 1)}
}

// replied takes note of a reply whose request has not ended.
func (u *unended) replied(parent []byte, header wire.Header) {
	if len(u.byID) < maxPending {
		u.byID[header.MsgID] = answered{time.Now(), parent, header}
		offer(u.wanted, struct{}{})
	}
}

// ended takes note of the end of a request.
func (u *unended) ended(msgID string) { delete(u.byID, msgID) }

// overdue returns those whose replies came before a moment, and when the oldest of all did; zero when there are none.
func (u *unended) overdue(before time.Time) (ids []string, oldest time.Time) {
	for id, a := range u.byID {
		if a.at.Before(before) {
			ids = append(ids, id)
		}
		if oldest.IsZero() || a.at.Before(oldest) {
			oldest = a.at
		}
	}
	return ids, oldest
}

// endWhatWasLost says the `idle`s that a kernel lost, until ctx ends.
func (h *hub) endWhatWasLost(ctx context.Context, l *link) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-h.unended.wanted:
		}
		for {
			h.mu.Lock()
			ids, oldest := h.unended.overdue(time.Now().Add(-idleWait))
			h.mu.Unlock()
			if oldest.IsZero() {
				break
			}
			pause := time.Until(oldest.Add(idleWait))
			if len(ids) > 0 {
				if h.probe(ctx, l) {
					h.sayIdle(ids)
					continue
				}
				pause = idleWait
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(pause):
			}
		}
	}
}

// probe asks the kernel something and reports whether the end of that was seen on iopub.
func (h *hub) probe(ctx context.Context, l *link) bool {
	seen := make(chan struct{}, 1)
	r := ownRequest("kernel_info_request", nil)
	h.expect(r.header.MsgID, func(m wire.Message, header wire.Header) {
		if m.Channel == wire.IOPub && header.MsgType == "status" && isIdle(m.Content) {
			offer(seen, struct{}{})
		}
	})
	defer h.forget(r.header.MsgID)
	if l.send(&r.message) != nil {
		return false
	}
	late := time.NewTimer(idleProbe)
	defer late.Stop()
	select {
	case <-seen:
		return true
	case <-late.C:
	case <-ctx.Done():
	}
	return false
}

// sayIdle says the end of requests in the kernel's place, of those that still need it.
func (h *hub) sayIdle(ids []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range ids {
		a, ok := h.unended.byID[id]
		if !ok {
			continue
		}
		h.log.Info("an idle was lost", "generation", h.generation)
		e := synthetic(h.kernelSession, "status", a.parent, map[string]string{"execution_state": string(kernels.Idle)})
		h.noteIdle(e.header, a.header, &e.message)
		h.publish(e)
	}
}
