package bridge

import (
	"encoding/json"
	"strings"
	"time"

	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/kernels/wire"
)

// activity follows what a kernel is busy with. Requests may overlap (subshells, the control channel), so it is
// counted by parent, not switched by the last status.
type activity struct {
	last time.Time
	busy map[string]struct{} // msg_ids of tracked requests that are busy
	// lastParent is the header of the request that a kernel last reported busy with: where a notice is seen.
	lastParent []byte
}

func newActivity() activity {
	return activity{last: time.Now(), busy: make(map[string]struct{})}
}

func (a *activity) reset() { clear(a.busy) }

func (a *activity) state() kernels.State {
	if len(a.busy) > 0 {
		return kernels.Busy
	}
	return kernels.Idle
}

// untracked reports whether messages of this type are no sign that somebody uses the kernel. The types are those of
// jupyter_server's untracked_message_types.
func untracked(msgType string) bool {
	switch msgType {
	case "stream", "display_data", "update_display_data", "execute_input", "execute_result", "error", "status",
		"clear_output", "debug_event", "input_request", "input_reply":
		return true
	}
	for _, prefix := range []string{"comm_info_", "kernel_info_", "shutdown_", "interrupt_", "debug_"} {
		if strings.HasPrefix(msgType, prefix) {
			return true
		}
	}
	return false
}

// note takes one message of the kernel on iopub and reports whether it says that its parent's handling has ended.
func (a *activity) note(h, parent wire.Header, m *wire.Message) (idle bool) {
	tracked := !untracked(h.MsgType) || parent.MsgType == "" || !untracked(parent.MsgType)
	if tracked {
		a.last = time.Now()
	}
	if h.MsgType != "status" || parent.MsgID == "" {
		return false
	}
	var content struct {
		State string `json:"execution_state"`
	}
	if err := json.Unmarshal(m.Content, &content); err != nil {
		return false // no state in it
	}
	switch {
	case content.State == "idle":
		delete(a.busy, parent.MsgID)
	case content.State == "busy" && tracked:
		if len(a.busy) < maxBusy {
			a.busy[parent.MsgID] = struct{}{}
		}
		a.lastParent = m.Parent
	}
	return content.State == "idle"
}
