package main

import (
	"errors"
	"io/fs"
	"syscall"

	"cellblock.io/cellblock/auth"
	"cellblock.io/cellblock/kernels"
)

// hints say what to do about an error, for those whose own text does not. The first that fits is shown.
var hints = []struct {
	err  error
	hint string
}{
	{errNoGateway, ""}, // says it itself
	{syscall.EADDRINUSE, "another program listens there: stop it, or choose another address with --listen or listen in the configuration"},
	{syscall.EADDRNOTAVAIL, "this machine has no such address: choose another with --listen or listen in the configuration"},
	{fs.ErrPermission, "run this as root or as the user of the gateway"},
	{auth.ErrUnavailable, "Redis does not answer: is the gateway running? (cellblock status)"},
	{kernels.ErrUnavailable, "is the gateway running? (cellblock status)"},
}

// explain is what a person reads of an error: its text and the way out.
func explain(err error) string {
	for _, h := range hints {
		if errors.Is(err, h.err) {
			if h.hint != "" {
				return err.Error() + "\n" + h.hint
			}
			break
		}
	}
	return err.Error()
}
