package bridge

import (
	"cmp"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"time"

	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/kernels/wire"
)

// reasonWait is how long clients are not told of a death for want of its reason. The engine tells the gateway, which
// tells the bridge before it starts the next process; browsers forget at the news of a death what they had asked, and
// so look at nothing that comes after it.
const reasonWait = 3 * time.Second

// outOfReach is what is said when nobody tells why.
const outOfReach = "The kernel's process ended or became unreachable, and it is not known why. It is started again, without its variables."

// cutOff says why a link was ended by the bridge; nothing when it was the kernel's doing.
func cutOff(err error) string {
	switch {
	case errors.Is(err, errSilent):
		return "The kernel does not answer any more. If it stays so, it is started again, without its variables."
	case errors.Is(err, errProtocol):
		return "The kernel sent what no kernel may send. What runs in it is not followed any more; if it goes on so, it is started again."
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "The kernel stopped in the middle of a message. What runs in it is not followed any more; if it stays so, it is started again."
	}
	return ""
}

// lost is called when a process has ended or cannot be reached though nobody wanted that, with what the link to it
// ended with. Called with mu held.
func (h *hub) lost(err error) {
	h.why = cmp.Or(h.why, cutOff(err))
	if h.why != "" {
		h.tellDeath(h.why)
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(reasonWait, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.untold == timer {
			h.tellDeath(outOfReach)
		}
	})
	h.untold = timer
}

// died is called when it is known why a process has ended.
func (h *hub) died(why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.phase == running:
		h.why = why // the end of the link is on its way
	case h.phase == waiting && h.untold != nil:
		h.tellDeath(why)
	case h.phase == waiting:
		h.publishNotice(why, h.activity.lastParent)
	}
}

// tellDeath tells clients of the process's end: why, where they look; then that their requests will have no other
// answer; then that there will be another process. Called with mu held.
func (h *hub) tellDeath(why string) {
	h.forgetDeath()
	h.publishNotice(why, h.activity.lastParent)
	h.failPending("KernelDied", why)
	h.publishStatus(kernels.Restarting)
}

// forgetDeath is called with mu held.
func (h *hub) forgetDeath() {
	if h.untold != nil {
		h.untold.Stop()
	}
	h.untold, h.why = nil, ""
}

// warn tells clients that the kernel will be ended if nothing happens.
func (h *hub) warn(sentence string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.phase == ended {
		return
	}
	h.warned = time.Now()
	h.publishNotice(sentence, h.activity.lastParent)
}

// failPending answers all requests that the process has taken and will not answer any more, in the order in which they
// came. Called with mu held.
func (h *hub) failPending(name, why string) {
	for _, p := range h.pending.inOrder() {
		parent := parentOf(p.header)
		if kind, ok := strings.CutSuffix(p.header.MsgType, "_request"); ok && kind != "shutdown" {
			content := map[string]any{"status": "error", "ename": name, "evalue": why, "traceback": []string{}}
			if kind == "execute" {
				content["execution_count"] = nil
			}
			e := synthetic(h.kernelSession, kind+"_reply", parent, content)
			e.session, e.message.Channel = p.session, p.channel
			h.publish(e)
		}
		h.publish(synthetic(h.kernelSession, "status", parent, map[string]string{"execution_state": string(kernels.Idle)}))
	}
	h.pending = newPendings()
}

// parentOf makes the parent header of an answer to a request.
func parentOf(h wire.Header) []byte {
	parent, err := json.Marshal(map[string]string{"msg_id": h.MsgID, "msg_type": h.MsgType, "session": h.Session})
	if err != nil { // strings always marshal
		return nil
	}
	return parent
}
