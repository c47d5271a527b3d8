package bridge_test

import (
	"testing"

	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/kernels/kernelstest"
	"cellblock.io/cellblock/kernels/wire"
)

// A kernel that loses the end of a cell for want of room in its queue does not leave its clients waiting.
func TestLostIdleIsSaidByTheBridge(t *testing.T) {
	r := newRig(t)
	lose := true
	r.kernel.OnRequest = func(k *kernelstest.FakeKernel, m wire.Message, h wire.Header) bool {
		if h.MsgType != "execute_request" {
			return false
		}
		k.Publish("status", m.Header, map[string]any{"execution_state": "busy"})
		k.Reply(m.Channel, "execute_reply", m.Header, map[string]any{"status": "ok"})
		if !lose {
			k.Publish("status", m.Header, map[string]any{"execution_state": "idle"})
		}
		lose = false
		return true
	}
	r.kernel.Start()
	r.ready(0)
	c := r.connect("a")
	lost := c.execute("x")
	for {
		m := c.receive()
		if m.short() != "iopub.status idle" || m.Parent.MsgID == "" {
			continue
		}
		h, err := wire.ParseHeader(m.Header)
		if err != nil || m.Parent.MsgID != lost || h.Session != r.kernel.Session() {
			t.Errorf("an idle of %s in session %s, %v", m.Parent.MsgID, h.Session, err)
		}
		break
	}
	if s := r.status(); s.State != kernels.Idle {
		t.Errorf("state %s", s.State)
	}
	kept := c.execute("y")
	for range 3 { // busy, reply, idle and no more
		if m := c.receive(); m.Parent.MsgID != kept {
			t.Errorf("%s of %s", m.short(), m.Parent.MsgID)
		}
	}
	r.kernel.Publish("stream", nil, map[string]string{"text": "end"})
	if before := c.expect("iopub.stream end"); len(before) != 0 {
		t.Errorf("got %v", before)
	}
}
