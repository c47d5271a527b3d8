package gateway_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"cellblock.io/cellblock/gateway"
	"cellblock.io/cellblock/kernels"
)

const receiptsID = "0123456789abcdef0123456789abcdef"

// tells makes a bridge that offers receipts, plays do, and sends each receipt to told, which it closes after the last.
func tells(t *testing.T, offer string, told chan<- kernels.Receipt, do func(visit)) dialFunc {
	return onSocket(t, func(v visit) {
		if v.req.Method == "GET" {
			v.accept(kernels.ReceiptsHeader + ": " + offer)
			do(v)
			return
		}
		if v.req.URL.Path != kernels.ReceiptsPath+receiptsID {
			t.Errorf("receipts at %s", v.req.URL)
		}
		defer close(told)
		var b [kernels.ReceiptSize]byte
		for {
			if _, err := io.ReadFull(v.in, b[:]); err != nil {
				return
			}
			told <- kernels.DecodeReceipt(b)
		}
	})
}

// last reads all receipts, which must never count less, and returns the last one.
func last(t *testing.T, told <-chan kernels.Receipt) (r kernels.Receipt) {
	t.Helper()
	for next := range told {
		if next.Handed < r.Handed {
			t.Errorf("%d bytes handed on after %d", next.Handed, r.Handed)
		}
		r = next
	}
	return r
}

func TestBridgeIsToldWhatWasHandedOn(t *testing.T) {
	const size = 1 << 20
	told := make(chan kernels.Receipt, 10_000)
	l := serve(t, func(c *gateway.Config) {
		c.Dial = tells(t, receiptsID, told, func(v visit) { _, _ = v.Write(make([]byte, size)) })
	})
	c := l.open(t, nil, "")
	if got, err := io.Copy(io.Discard, c.in); err != nil || got != size {
		t.Errorf("%d bytes, %v", got, err)
	}
	_ = c.Close()
	if got, want := last(t, told), (kernels.Receipt{Handed: size, Complete: true}); got != want {
		t.Errorf("told %+v, want %+v", got, want)
	}
}

// A client that closes without reading has not got what was on its way.
func TestBridgeIsToldWhatNeverArrived(t *testing.T) {
	told := make(chan kernels.Receipt, 100_000)
	flooded := make(chan struct{})
	l := serve(t, func(c *gateway.Config) {
		c.Dial = tells(t, receiptsID, told, func(v visit) {
			defer close(flooded)
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
	<-flooded
	var got kernels.Receipt
	for got = range told { // the last one may count less than those before it
		continue
	}
	if got.Complete {
		t.Errorf("told %+v", got)
	}
}

// A bridge that offers nonsense, or takes no receipts, costs only the receipts.
func TestPipesWorkWithoutReceipts(t *testing.T) {
	for _, offer := range []string{"", "x", "../" + receiptsID, receiptsID + "0", strings.Repeat("g", 32), receiptsID} {
		dials := 0
		dial := onSocket(t, func(v visit) {
			v.accept(kernels.ReceiptsHeader + ": " + offer)
			_, _ = io.Copy(v, v.in)
		})
		l := serve(t, func(c *gateway.Config) {
			c.Dial = func(ctx context.Context, handle string) (net.Conn, error) {
				if dials++; dials > 1 {
					return nil, net.ErrClosed
				}
				return dial(ctx, handle)
			}
		})
		c := l.open(t, nil, "hello")
		c.expect(t, "hello")
		if want := map[bool]int{true: 2, false: 1}[offer == receiptsID]; dials != want {
			t.Errorf("offer %q: %d connections, want %d", offer, dials, want)
		}
		if c.resp.Header.Get(kernels.ReceiptsHeader) != "" {
			t.Error("the client sees the id")
		}
	}
}
