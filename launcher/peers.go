package launcher

import (
	"log/slog"
	"net"
	"sync"

	"cellblock.io/cellblock/internal/unixsocket"
)

// peers is a listener that lets in the processes of some users only, and so many connections at once.
type peers struct {
	*net.UnixListener
	may    func(uid int) bool
	log    *slog.Logger
	places chan struct{}
}

// Accept implements net.Listener. It waits for a place first, so that whoever is too many waits outside.
func (p *peers) Accept() (net.Conn, error) {
	for {
		p.places <- struct{}{}
		conn, err := p.AcceptUnix()
		if err != nil {
			<-p.places
			return nil, err
		}
		uid, err := uidOf(conn)
		if err == nil && p.may(uid) {
			return &guest{UnixConn: conn, leave: sync.OnceFunc(func() { <-p.places })}, nil
		}
		p.log.Warn("a process of another user wants to start kernels: refused", "uid", uid, "err", err)
		conn.Close()
		<-p.places
	}
}

// guest is a connection that has a place.
type guest struct {
	*net.UnixConn
	leave func()
}

// Close closes the connection and gives its place back.
func (g *guest) Close() error {
	defer g.leave()
	return g.UnixConn.Close()
}

// uidOf returns the user of the process at the other end of a connection.
func uidOf(conn *net.UnixConn) (int, error) {
	peer, err := unixsocket.Peer(conn)
	if err != nil {
		return -1, err
	}
	return int(peer.Uid), nil
}
