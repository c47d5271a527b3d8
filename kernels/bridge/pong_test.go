package bridge_test

import (
	"strings"
	"testing"
	"time"

	"cellblock.io/cellblock/kernels/kernelstest"
	"cellblock.io/cellblock/kernels/wire"
)

// A client that pings while it takes a large message slowly is heard all the while, and gets its pong behind that.
func TestPingOfASlowClient(t *testing.T) {
	r := newRig(t)
	asked := make(chan struct{}, 1)
	r.kernel.OnRequest = func(_ *kernelstest.FakeKernel, _ wire.Message, h wire.Header) bool {
		if h.MsgType == "comm_msg" {
			asked <- struct{}{}
		}
		return h.MsgType == "comm_msg"
	}
	r.kernel.Start()
	r.ready(0)
	c := r.rawConnect("a")
	r.kernel.Publish("stream", nil, map[string]string{"text": strings.Repeat("x", 8<<20)})
	if _, err := c.in.Peek(1); err != nil { // the bridge is in the midst of writing
		t.Fatal(err)
	}
	request := `{"channel":"shell","header":{"msg_id":"1","msg_type":"comm_msg","session":"a","version":"5.3"},"parent_header":{},"metadata":{},"content":{}}`
	for _, frame := range [][]byte{kernelstest.Masked(0x89, "one"), kernelstest.Masked(0x89, "two"), kernelstest.Masked(0x81, request)} {
		if _, err := c.Write(frame); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-asked:
	case <-time.After(patience):
		t.Fatal("the request behind a ping did not come through")
	}
	for {
		first, payload, err := c.frame()
		if err != nil {
			t.Fatal(err)
		}
		if first != 0x8a {
			continue
		}
		if string(payload) != "two" {
			t.Errorf("pong %q", payload)
		}
		return
	}
}
