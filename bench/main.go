// Command bench measures how fast messages pass between a client and a Jupyter kernel: directly over ZeroMQ, through
// Cellblock, and through the other gateways, side by side in one run. `make bench` prepares what it needs and runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
)

// options are the command line's.
type options struct {
	instance string // prepared by deploy/up, with the image of the echo kernel in it
	cache    string // what bench/setup made: the programs in C, the other gateways
	out      string // Markdown file to write; empty writes none
	quick    bool   // fewer rows and rounds
	others   bool   // the other gateways too
	only     string // regular expression of the sections to run
}

// programs is the directory of echo, sub and ask.
func (o options) programs() string { return filepath.Join(o.cache, "bin") }

// python is the interpreter that has ipykernel and jupyter_client.
func (o options) python() string { return filepath.Join(o.cache, "jupyter-server/bin/python") }

func main() {
	var o options
	flag.StringVar(&o.instance, "instance", "cellblock-test", "prepared test instance")
	flag.StringVar(&o.cache, "cache", "/var/cache/cellblock-bench", "directory that bench/setup filled")
	flag.StringVar(&o.out, "out", "", "Markdown file to write")
	flag.BoolVar(&o.quick, "quick", false, "fewer rows, fewer rounds")
	flag.BoolVar(&o.others, "others", true, "also the other gateways")
	flag.StringVar(&o.only, "only", "", "regular expression of the sections to run")
	flag.Parse()
	// The load generator shares the machine with what it measures: let it collect its garbage seldom.
	debug.SetGCPercent(800)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
