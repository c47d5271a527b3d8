package unixsocket

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// Peer tells of the process at the other end of a connection, as the system knows it (unix(7), SO_PEERCRED): of the one
// that connected, or of the one that listened.
func Peer(conn *net.UnixConn) (peer *unix.Ucred, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("look who is there: %w", err)
	}
	if e := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); e != nil {
		err = e
	}
	if err != nil {
		return nil, fmt.Errorf("look who is there: %w", err)
	}
	return peer, nil
}
