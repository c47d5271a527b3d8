package gateway

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"cellblock.io/cellblock/kernels"
)

// teller tells a bridge how much of a WebSocket's bytes has been handed on (kernels.Receipt). A nil one tells nothing.
type teller struct {
	conn   net.Conn
	handed int64 // negative while our own greeting is on its way
}

// receiptID is the id in a bridge's answer under which it wants receipts, or "" when it wants none.
func receiptID(offered string) string {
	if raw, err := hex.DecodeString(offered); err != nil || len(raw) != 16 {
		return ""
	}
	return offered
}

// openReceipts connects to the bridge a second time, for receipts. A bridge that cannot be told is used without.
func (g *Gateway) openReceipts(ctx context.Context, handle, id string, greeting int) *teller {
	if id == "" {
		return nil
	}
	conn, err := g.cfg.Dial(ctx, handle)
	if err != nil {
		g.log.Warn("no receipts for a bridge", "error", err)
		return nil
	}
	_ = conn.SetWriteDeadline(time.Now().Add(receiptTimeout))
	head := fmt.Sprintf("POST %s%s HTTP/1.1\r\nHost: bridge\r\nContent-Length: %d\r\n\r\n", kernels.ReceiptsPath, id, int64(1<<62))
	if _, err := conn.Write([]byte(head)); err != nil {
		g.log.Warn("no receipts for a bridge", "error", err)
		_ = conn.Close()
		return nil
	}
	return &teller{conn: conn, handed: -int64(greeting)}
}

// add tells that n more bytes were handed on.
func (t *teller) add(n int) {
	if t == nil || n == 0 {
		return
	}
	if t.handed += int64(n); t.handed > 0 {
		t.tell(kernels.Receipt{Handed: uint64(t.handed)})
	}
}

// finish tells for the last time. lost counts bytes that were handed on and will not arrive; inOrder says that the
// client itself closed its side.
func (t *teller) finish(lost int, inOrder bool) {
	if t == nil {
		return
	}
	t.tell(kernels.Receipt{Handed: uint64(max(0, t.handed-int64(lost))), Complete: inOrder && lost == 0})
	if t.conn != nil {
		_ = t.conn.Close()
		t.conn = nil
	}
}

// tell sends a receipt. A bridge that does not take it gets no more.
func (t *teller) tell(r kernels.Receipt) {
	if t.conn == nil {
		return
	}
	b := r.Encode()
	_ = t.conn.SetWriteDeadline(time.Now().Add(receiptTimeout))
	if _, err := t.conn.Write(b[:]); err != nil {
		_ = t.conn.Close()
		t.conn = nil
	}
}

// tcpOf is the TCP connection below a client's, or nil.
func tcpOf(conn net.Conn) *net.TCPConn {
	if secured, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = secured.NetConn()
	}
	tcp, _ := conn.(*net.TCPConn)
	return tcp
}

// unacknowledged is how many bytes the other end of a connection, whose writing side may be closed, has not taken yet.
func unacknowledged(conn *net.TCPConn) int {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	_ = raw.Control(func(fd uintptr) {
		if n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err != nil {
			n = 0
		}
	})
	return max(0, n-1) // the end of the connection itself counts as one
}

// abandon makes sure that what the client has not taken by now does not arrive any more, and returns how many bytes
// that is.
func abandon(conn net.Conn) (lost int) {
	tcp := tcpOf(conn)
	if tcp == nil {
		return 0
	}
	if lost = unacknowledged(tcp); lost > 0 {
		_ = tcp.SetLinger(0)
	}
	return lost
}
