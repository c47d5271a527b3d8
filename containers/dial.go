package containers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"cellblock.io/cellblock/kernels"
)

// Dial connects to the bridge of a kernel. What lies in the directory of its socket was put there by the bridge, whose
// own input is hostile: a name is resolved once, below that kernel's directory, without following links, and the
// connection is made to exactly the socket that was looked at. Errors: kernels.ErrInvalid for a handle that is none;
// kernels.ErrUnavailable while no bridge listens.
func (e *Engine) Dial(ctx context.Context, handle string) (net.Conn, error) {
	if err := checkHandle(handle); err != nil {
		return nil, err
	}
	socket, err := openSocket(runDir(e.cfg.RunDir, handle))
	if err != nil {
		return nil, dialFailure(ctx, handle, err)
	}
	defer unix.Close(socket)
	// By way of the descriptor there is no second look-up, and no limit of 108 bytes for the path.
	conn, err := new(net.Dialer).DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d", socket))
	if err != nil {
		return nil, dialFailure(ctx, handle, err)
	}
	return conn, nil
}

var errNoSocket = errors.New("not a socket")

// openSocket returns a descriptor of the bridge's socket that can be used for nothing but connecting.
func openSocket(dir kernelDir) (int, error) {
	root, err := unix.Open(string(dir), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("open", err)
	}
	defer unix.Close(root)
	socket, err := unix.Openat2(root, "gate/"+bridgeSocket, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	})
	if err != nil {
		return -1, os.NewSyscallError("openat2", err)
	}
	// A link that is the last part of a path is opened itself in spite of the flags; this is what refuses it.
	var stat unix.Stat_t
	if err = unix.Fstat(socket, &stat); err == nil && stat.Mode&unix.S_IFMT != unix.S_IFSOCK {
		err = errNoSocket
	}
	if err != nil {
		unix.Close(socket)
		return -1, err
	}
	return socket, nil
}

// dialFailure makes a bridge that is not there, or not yet, kernels.ErrUnavailable; what is there and should not be is an
// internal error.
func dialFailure(ctx context.Context, handle string, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("dial the bridge of kernel %s: %w", handle, ctx.Err())
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("dial the bridge of kernel %s: %w: %w", handle, kernels.ErrUnavailable, err)
	default:
		return fmt.Errorf("dial the bridge of kernel %s: %w", handle, err)
	}
}
