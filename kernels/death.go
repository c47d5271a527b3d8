package kernels

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// Death is how a process ended that nobody using it had asked to end.
type Death struct {
	Code        int  // exit status; 128+n after signal n
	OutOfMemory bool // ended by the system for its limit of memory
	// Broken is what was wrong with a process that lived and had to be ended for it, and Since until when nothing was.
	Broken string
	Since  time.Time
}

// String says it in a few words that follow "The kernel died: ".
func (d Death) String() string {
	switch n := d.Code - 128; {
	case d.Broken != "":
		return d.Broken
	case d.OutOfMemory:
		return "it used more memory than it may and was killed by the system"
	case n == int(syscall.SIGKILL):
		return "killed by signal 9, which is also what happens when memory runs out"
	case n > 0 && n <= 64:
		return fmt.Sprintf("signal %d (%s)", n, syscall.Signal(n))
	}
	return fmt.Sprintf("its process ended with exit status %d", d.Code)
}

// tellDeath lets clients know why the kernel's process has gone, while they wait for the next one.
func (c *change) tellDeath(ctx context.Context, d Death) {
	c.within(ctx, farewellTimeout, "tell clients", func(ctx context.Context) error {
		return c.bridge().Tell(ctx, Died, fmt.Sprintf("The kernel died: %s. It is started again, without its variables.", d))
	})
}
