package gateway_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
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
	v.interrupt(t)
}

// interrupt asks the bridge for one, as the gateway does, and wants it done within 2 s.
func (v *victim) interrupt(t *testing.T) {
	t.Helper()
	c := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", v.bridge.socket)
		}}}
	resp, err := c.Post("http://bridge/control/interrupt", "", nil)
	if err != nil {
		t.Fatalf("interrupt: %v", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Fatalf("interrupt: %s", resp.Status)
	}
}

// In a flood without an end, with a client that reads and one that does not, interrupts go on working.
func TestInterruptInAFlood(t *testing.T) {
	h := newHouse(t)
	for _, size := range []int{1 << 10, 1 << 20} {
		release := make(chan struct{})
		v := h.overloaded(t, kernelstest.Endless(size, release))
		for range 5 {
			for range 50 {
				if _, err := v.user.hear(time.Now().Add(patience)); err != nil {
					t.Fatal(err)
				}
			}
			v.interrupt(t)
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
	for i := range 6 {
		h.visit(t, v.id, fmt.Sprint("stalled", i)) // it reads nothing, from here on
		v.kernel.Publish("stream", nil, map[string]string{"name": "stdout", "text": strings.Repeat("x", 48<<20)})
		if err := v.user.trip("next", patience); err != nil {
			t.Fatal(err)
		}
	}
	v.aftermath(t)
}
