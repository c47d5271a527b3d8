package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/kernels/wire"
)

// How often a kernel that starts is asked whether its outputs are seen already.
const (
	probeEvery    = 100 * time.Millisecond
	probeEveryMax = time.Second
)

// stableLink is how long a link must have lasted for the next one to be tried at once.
const stableLink = 10 * time.Second

// serveKernel keeps a link to the kernel, to one process after the other, until ctx ends.
func (h *hub) serveKernel(ctx context.Context, file *connectionFile) error {
	pause := redialPause
	for ctx.Err() == nil {
		l, err := dialLink(ctx, file, h.reach)
		if err == nil {
			began := time.Now()
			err = h.serveLink(ctx, l)
			h.kernelDown(err)
			if time.Since(began) >= stableLink {
				pause = redialPause
			}
		}
		h.log.Debug("link ended", "cause", err)
		select {
		case <-ctx.Done():
		case <-time.After(h.pauseBefore(pause)):
		}
		pause = min(2*pause, redialPauseMax)
	}
	return ctx.Err()
}

// serveLink runs one link to its end. Clients' requests are let through only when the kernel has answered and its
// answer was seen on iopub: from then on no output is lost.
func (h *hub) serveLink(ctx context.Context, l *link) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.run(ctx, h.fromKernel, h.malformed) })
	g.Go(func() error {
		kernel, err := h.verify(ctx, l)
		if err != nil {
			return fmt.Errorf("verify: %w", err)
		}
		h.kernelUp(l, kernel.session)
		g.Go(func() error { return h.endWhatWasLost(ctx, l) })
		return h.followHeartbeat(ctx, l, kernel.implementation())
	})
	return g.Wait()
}

// verify asks the kernel for kernel_info on control, again and again, until both a reply and the `idle` of one of
// these requests on iopub have come, and returns what the kernel said of itself. Nobody else sees these messages.
func (h *hub) verify(ctx context.Context, l *link) (kernelInfo, error) {
	replied, seen := make(chan kernelInfo, 1), make(chan struct{}, 1)
	answer := func(m wire.Message, header wire.Header) {
		if m.Channel == wire.Control {
			offer(replied, kernelInfo{header.Session, m.Content})
		} else if header.MsgType == "status" && isIdle(m.Content) {
			offer(seen, struct{}{})
		}
	}
	var ids []string
	defer func() { h.forget(ids...) }()
	var kernel kernelInfo
	isSeen := false
	for every := probeEvery; ; every = min(2*every, probeEveryMax) {
		r := ownRequest("kernel_info_request", nil)
		ids = append(ids, r.header.MsgID)
		h.expect(r.header.MsgID, answer)
		if err := l.send(&r.message); err != nil && !errors.Is(err, errQueueFull) {
			return kernelInfo{}, err
		}
		for wait := time.After(every); wait != nil; {
			select {
			case <-ctx.Done():
				return kernelInfo{}, ctx.Err()
			case kernel = <-replied:
			case <-seen:
				isSeen = true
			case <-wait:
				wait = nil
			}
			if kernel.session != "" && isSeen {
				return kernel, nil
			}
		}
	}
}

// kernelInfo is what a process says of itself.
type kernelInfo struct {
	session string
	content []byte // of its kernel_info_reply
}

// implementation is what the kernel calls itself.
func (k kernelInfo) implementation() string {
	var c struct {
		Implementation string `json:"implementation"`
	}
	if err := json.Unmarshal(k.content, &c); err != nil {
		return ""
	}
	return c.Implementation
}

// offer puts v into a channel of capacity 1 unless there is something already.
func offer[T any](c chan T, v T) {
	select {
	case c <- v:
	default:
	}
}

func isIdle(content []byte) bool {
	var c struct {
		State string `json:"execution_state"`
	}
	return json.Unmarshal(content, &c) == nil && c.State == string(kernels.Idle)
}

// ownRequest makes a request of the bridge's own on the control channel.
func ownRequest(msgType string, content any) request {
	if content == nil {
		content = struct{}{}
	}
	e := synthetic(bridgeSession, msgType, nil, content)
	e.message.Channel = wire.Control
	return request{header: e.header, message: e.message}
}

// expect has what answers the bridge's own request given to fn, which must not block, instead of to clients.
func (h *hub) expect(msgID string, fn func(wire.Message, wire.Header)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.own[msgID] = fn
}

// forgetAfter is how long late answers to the bridge's own requests are still kept from clients.
const forgetAfter = 30 * time.Second

// forget ends expect; what comes late is still nobody's business for a while.
func (h *hub) forget(msgIDs ...string) {
	time.AfterFunc(forgetAfter, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, id := range msgIDs {
			delete(h.own, id)
		}
	})
}

// ask sends a request of the bridge's own on control and waits for its reply, or for the process to end.
func (h *hub) ask(ctx context.Context, msgType string, content any) error {
	h.mu.Lock()
	l, phase, changed := h.link, h.phase, h.changed
	h.mu.Unlock()
	if l == nil || phase != running {
		return fmt.Errorf("%s: kernel does not run: %w", msgType, kernels.ErrUnavailable)
	}
	r := ownRequest(msgType, content)
	replied := make(chan struct{}, 1)
	h.expect(r.header.MsgID, func(m wire.Message, _ wire.Header) {
		if m.Channel == wire.Control {
			offer(replied, struct{}{})
		}
	})
	defer h.forget(r.header.MsgID)
	if err := l.send(&r.message); err != nil {
		return fmt.Errorf("%s: %w: %w", msgType, err, kernels.ErrUnavailable)
	}
	select {
	case <-replied:
		return nil
	case <-changed:
		return nil // the process ended
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", msgType, ctx.Err())
	}
}
