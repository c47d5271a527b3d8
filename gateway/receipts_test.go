package gateway_test

import (
	"io"
	"net"
	"testing"

	"cellblock.io/cellblock/gateway"
	"cellblock.io/cellblock/internal/unixsocket"
	"cellblock.io/cellblock/kernels/receipt"
)

// slipConn takes the slip that comes with a connection's first bytes.
type slipConn struct {
	*net.UnixConn
	slip *receipt.Slip
}

func (c *slipConn) Read(p []byte) (int, error) {
	if c.slip != nil {
		return c.UnixConn.Read(p)
	}
	room := unixsocket.Room()
	n, controls, _, _, err := c.ReadMsgUnix(p, room)
	if passed := unixsocket.Passed(room[:controls]); passed != nil {
		defer passed.Close()
		c.slip, err = receipt.Open(passed)
	}
	return max(0, n), err
}

// tells makes a bridge that plays do and then gives the last receipt to told.
func tells(t *testing.T, told chan<- receipt.Receipt, do func(visit)) dialFunc {
	return onSocket(t, func(v visit) {
		v.accept()
		do(v)
		_ = v.Conn.(*slipConn).CloseWrite()
		_, _ = io.Copy(io.Discard, v.in) // until the gateway has ended
		slip := v.Conn.(*slipConn).slip
		if slip == nil {
			t.Error("no slip came")
			close(told)
			return
		}
		defer slip.Close()
		until(t, "the last receipt", func() bool { return slip.Read().Last })
		told <- slip.Read()
	})
}

func TestBridgeIsToldWhatWasHandedOn(t *testing.T) {
	const size = 1 << 20
	told := make(chan receipt.Receipt, 1)
	l := serve(t, func(c *gateway.Config) {
		c.Dial = tells(t, told, func(v visit) { _, _ = v.Write(make([]byte, size)) })
	})
	c := l.open(t, nil, "")
	if got, err := io.Copy(io.Discard, c.in); err != nil || got != size {
		t.Errorf("%d bytes, %v", got, err)
	}
	_ = c.Close()
	if got, want := <-told, (receipt.Receipt{Handed: size, Last: true}); got != want {
		t.Errorf("told %+v, want %+v", got, want)
	}
}

// A client that closes without reading has not got what was on its way.
func TestBridgeIsToldWhatNeverArrived(t *testing.T) {
	told := make(chan receipt.Receipt, 1)
	l := serve(t, func(c *gateway.Config) {
		c.Dial = tells(t, told, func(v visit) {
			for block := make([]byte, 64<<10); ; {
				if _, err := v.Write(block); err != nil {
					return
				}
			}
		})
	})
	c := l.open(t, nil, "")
	first := make([]byte, 100)
	if _, err := io.ReadFull(c.in, first); err != nil {
		t.Fatal(err)
	}
	_ = c.Conn.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
	if got := <-told; !got.Last || got.Handed < 100 {
		t.Errorf("told %+v", got)
	}
}
