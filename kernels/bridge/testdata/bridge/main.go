// Command bridge is a bridge and nothing else, for tests that need one as a process of its own: its memory can be
// measured, and what it does to itself it does to nobody else.
package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"cellblock.io/cellblock/kernels/bridge"
)

func main() {
	var cfg bridge.Config
	flag.StringVar(&cfg.ConnectionFile, "connection-file", "", "")
	flag.StringVar(&cfg.Listen, "listen", "", "")
	flag.StringVar(&cfg.KernelID, "kernel-id", "", "")
	flag.Parse()
	cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := bridge.Run(ctx, cfg); err != nil {
		cfg.Log.Error("bridge", "err", err)
		os.Exit(1)
	}
}
