package launcher

import (
	"fmt"
	"log/slog"
	"net"
	"sync"

	"golang.org/x/sys/unix"
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
		uid, err := peerOf(conn)
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

// peerOf returns the user of the process at the other end of a connection, as the system knows it: of the one that
// connected, or of the one that listened.
func peerOf(conn *net.UnixConn) (uid int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("look who is there: %w", err)
	}
	var peer *unix.Ucred
	if e := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); e != nil {
		err = e
	}
	if err != nil {
		return -1, fmt.Errorf("look who is there: %w", err)
	}
	return int(peer.Uid), nil
}
