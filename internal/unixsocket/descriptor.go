// Package unixsocket is for what only Unix sockets do: they pass open files between processes (unix(7), SCM_RIGHTS), and the
// system tells who is at the other end.
package unixsocket

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Pass returns the control message that carries a file. The receiver gets a descriptor of its own.
func Pass(fd uintptr) []byte { return unix.UnixRights(int(fd)) }

// Room is the space that a reader of control messages needs for one file.
func Room() []byte { return make([]byte, unix.CmsgSpace(4)) }

// Passed returns the file in a control message, or nil when there is none. All further ones are closed.
func Passed(control []byte) *os.File {
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	var first *os.File
	for _, m := range messages {
		fds, err := syscall.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if first == nil {
				first = os.NewFile(uintptr(fd), "passed")
			} else {
				_ = unix.Close(fd)
			}
		}
	}
	return first
}
