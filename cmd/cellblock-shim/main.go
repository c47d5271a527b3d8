// Command cellblock-shim stands before the command of a kernel's image. It is put into the container from outside, since
// images are made by users, and is small, since each kernel has one: with --proxy it leaves a process behind that takes
// 127.0.0.1:3128 to the socket of Cellblock's proxy; with --filtered it makes sure that the packet filter is in force.
// Then it becomes the image's command.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

const usage = "usage: cellblock-shim [--proxy SOCKET] [--filtered] -- COMMAND [ARGUMENT ...]"

// Exit statuses, as a shell's.
const (
	exitUsage     = 2
	exitCannotRun = 126
	exitNotFound  = 127
)

func main() {
	status, err := run(os.Args[1:])
	fmt.Fprintln(os.Stderr, "cellblock-shim:", err)
	os.Exit(status)
}

// run returns only when something is wrong.
func run(args []string) (status int, err error) {
	var socket string
	filtered := false
	for len(args) > 0 && args[0] != "--" {
		switch {
		case args[0] == "--serve" && len(args) == 2:
			return exitCannotRun, serve(args[1])
		case args[0] == "--detach" && len(args) == 2:
			if err := detach(args[1]); err != nil {
				return exitCannotRun, err
			}
			os.Exit(0)
		case args[0] == "--proxy" && len(args) > 1:
			socket, args = args[1], args[1:]
		case args[0] == "--filtered":
			filtered = true
		default:
			return exitUsage, fmt.Errorf("unknown argument %q", args[0])
		}
		args = args[1:]
	}
	if len(args) < 2 {
		return exitUsage, errors.New(usage)
	}
	if filtered {
		if err := checkFilter(); err != nil {
			return exitCannotRun, err
		}
	}
	if socket != "" {
		// A kernel without its proxy has no network; that is no reason to have no kernel.
		if err := startServing(socket); err != nil {
			fmt.Fprintln(os.Stderr, "cellblock-shim: no network:", err)
		}
	}
	path, err := exec.LookPath(args[1])
	if err != nil {
		return exitNotFound, err
	}
	return exitCannotRun, fmt.Errorf("run %s: %w", path, syscall.Exec(path, args[1:], os.Environ()))
}
