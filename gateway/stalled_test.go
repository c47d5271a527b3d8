package gateway_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"cellblock.io/cellblock/kernels/kernelstest"
)

// overloaded is a kernel that does what it likes until the test lets it go.
func (h *house) overloaded(t *testing.T, attack kernelstest.Attack) *victim {
	t.Helper()
	v := h.besiege(t, attack)
	if err := v.user.trip("before", verdict); err != nil {
		t.Fatal(err)
	}
	if _, err := v.user.ask("shell", "execute_request", "attack"); err != nil {
		t.Fatal(err)
	}
	return v
}

// A kernel that reads no requests fills its bridge's queue, and no more: clients read that, and control goes on.
func TestKernelThatReadsNoRequests(t *testing.T) {
	h := newHouse(t)
	release := make(chan struct{})
	v := h.overloaded(t, kernelstest.NeverReads(release))
	defer v.aftermath(t)
	defer close(release)
	v.user.wanted = "does not read"
	large := strings.Repeat("x", 1<<20)
	for range 150 {
		if _, err := v.user.ask("shell", "execute_request", large); err != nil {
			t.Fatal(err)
		}
	}
	for !v.user.found {
		if _, err := v.user.hear(time.Now().Add(verdict)); err != nil {
			t.Fatalf("nobody says that it does not read: %v", err)
		}
	}
	interrupt(t, v.user)
}

// interrupt asks for one on the control channel, and wants the answer within 2 s.
func interrupt(t *testing.T, b *tab) {
	t.Helper()
	id, err := b.ask("control", "interrupt_request", "")
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(2 * time.Second); ; {
		s, err := b.hear(deadline)
		if err != nil {
			t.Fatalf("no answer to an interrupt: %v", err)
		}
		if s.MsgType == "interrupt_reply" && s.Parent.MsgID == id {
			return
		}
	}
}

// In a flood without an end, with a client that reads and one that does not, interrupts go on working.
func TestInterruptInAFlood(t *testing.T) {
	h := newHouse(t)
	for _, size := range []int{1 << 10, 1 << 20} {
		release := make(chan struct{})
		v := h.overloaded(t, kernelstest.Endless(size, release))
		for range 10 {
			for range 100 {
				if _, err := v.user.hear(time.Now().Add(patience)); err != nil {
					t.Fatal(err)
				}
			}
			interrupt(t, v.user)
		}
		close(release)
		if err := v.user.trip("after", patience); err != nil {
			t.Errorf("after the flood: %v", err)
		}
		v.aftermath(t)
	}
}

// Clients that stop reading, each at another large output, do not keep all of these in the bridge's memory.
func TestReadersStalledAtLargeOutputs(t *testing.T) {
	h := newHouse(t)
	v := h.besiege(t, kernelstest.Attack{Name: "stalled readers"})
	if err := v.user.trip("before", verdict); err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		h.visit(t, v.id, fmt.Sprint("stalled", i)) // it reads nothing, from here on
		v.kernel.Publish("stream", nil, map[string]string{"name": "stdout", "text": strings.Repeat("x", 48<<20)})
		if err := v.user.trip("next", patience); err != nil {
			t.Fatal(err)
		}
	}
	v.aftermath(t)
}
