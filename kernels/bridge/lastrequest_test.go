package bridge_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"cellblock.io/cellblock/kernels/kernelstest"
	"cellblock.io/cellblock/kernels/wire"
)

// What a client asks and then goes away without a word is done all the same, also when the bridge notices the end first,
// because it has something to say to that client.
func TestLastRequestIsTaken(t *testing.T) {
	const clients = 300
	r := newRig(t)
	var ran atomic.Int64
	r.kernel.OnRequest = func(_ *kernelstest.FakeKernel, m wire.Message, h wire.Header) bool {
		if h.MsgType == "execute_request" && strings.Contains(string(m.Content), "last words of") {
			ran.Add(1)
		}
		return false
	}
	r.kernel.Start()
	r.ready(0)
	for i := range clients {
		c := r.connect(fmt.Sprint(i))
		r.print("to everybody")
		c.execute(fmt.Sprint("last words of ", i))
		c.raw.Close()
		r.print("to nobody")
	}
	r.until("all have run", func() bool { return ran.Load() == clients })
}
