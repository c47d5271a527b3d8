package gateway

import (
	"net"

	"golang.org/x/sys/unix"

	"cellblock.io/cellblock/internal/unixsocket"
	"cellblock.io/cellblock/kernels/receipt"
)

// teller tells a bridge how much of a WebSocket's bytes has been handed on. A nil one tells nothing.
type teller struct {
	slip   *receipt.Slip
	handed int64 // negative while our own greeting is on its way
}

// send writes a request to a bridge and passes a slip for receipts with its first byte. A bridge that is reached
// otherwise than over a Unix socket is told nothing, nor is one for which there is no memory or descriptor left.
func send(bridge net.Conn, request []byte) (*teller, error) {
	socket, ok := bridge.(*net.UnixConn)
	if !ok {
		_, err := bridge.Write(request)
		return nil, err
	}
	slip, file, err := receipt.New()
	if err != nil {
		_, err := bridge.Write(request)
		return nil, err
	}
	defer file.Close()
	n, _, err := socket.WriteMsgUnix(request, unixsocket.Pass(file.Fd()), nil)
	if err == nil && n < len(request) {
		_, err = socket.Write(request[n:])
	}
	if err != nil {
		slip.Close()
		return nil, err
	}
	return &teller{slip: slip}, nil
}

// greet says how many bytes of our own come first, which do not count.
func (t *teller) greet(n int) {
	if t != nil {
		t.handed = -int64(n)
	}
}

// add tells that n more bytes were handed on.
func (t *teller) add(n int) {
	if t == nil || n == 0 {
		return
	}
	t.handed += int64(n)
	t.slip.Write(receipt.Receipt{Handed: t.handed})
}

// finish tells for the last time. lost counts bytes that were handed on and will not arrive.
func (t *teller) finish(lost int) {
	if t == nil {
		return
	}
	t.slip.Write(receipt.Receipt{Handed: t.handed - int64(lost), Last: true})
	t.slip.Close()
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
