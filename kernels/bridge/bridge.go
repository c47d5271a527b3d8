// Package bridge is the small process beside one kernel. It owns the kernel's ZeroMQ sockets for the kernel's whole
// life, speaks the Jupyter WebSocket protocol to any number of clients, keeps a journal of what they were sent, and
// gives those who come back what they missed. It is the only code that parses what a kernel sends.
package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"golang.org/x/sync/errgroup"
)

// Config says which kernel a bridge serves, and where.
type Config struct {
	// ConnectionFile is the kernel's connection file (jupyter_client): transport tcp or ipc, hmac-sha256.
	ConnectionFile string
	// Listen is "unix:/path" or "host:port".
	Listen string
	// KernelID is the only id that is served; empty serves any id, for a bridge that is used by hand.
	KernelID string
	// RateLimits bound the output on each WebSocket.
	RateLimits RateLimits
	// JournalBytes and JournalMessages bound what is kept for those who come back; zero means 64 MiB and 100 000.
	JournalBytes, JournalMessages int
	Log                           *slog.Logger

	kernelName string
}

// Validate says what is wrong with the limits.
func (c Config) Validate() error {
	errs := []error{c.RateLimits.Validate()}
	if c.JournalBytes != 0 && (c.JournalBytes < minJournalBytes || c.JournalBytes > journalBytes) {
		errs = append(errs, fmt.Errorf("a journal has %d to %d bytes", minJournalBytes, journalBytes))
	}
	if c.JournalMessages != 0 && (c.JournalMessages < minJournalCount || c.JournalMessages > journalCount) {
		errs = append(errs, fmt.Errorf("a journal has %d to %d messages", minJournalCount, journalCount))
	}
	return errors.Join(errs...)
}

// The smallest journal that makes sense. The largest is the default: what a bridge may use of memory is fitted to it.
const (
	minJournalBytes = 1 << 20
	minJournalCount = 100
)

// Run serves until ctx ends; then clients are closed with code 1012 and Run returns nil. The kernel is neither
// started nor ended by it, and may come and go: requests wait while there is none.
func Run(ctx context.Context, cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	file, err := readConnectionFile(cfg.ConnectionFile)
	if err != nil {
		return err
	}
	cfg.kernelName = file.KernelName
	l, err := listen(cfg.Listen)
	if err != nil {
		return err
	}
	cfg.Log.Info("bridge listens", "address", l.Addr().String())
	h := newHub(cfg.Log, newJournal(cmp.Or(cfg.JournalBytes, journalBytes), cmp.Or(cfg.JournalMessages, journalCount)))
	s := &server{hub: h, cfg: cfg, pages: make(chan struct{}, maxPages), largePages: make(chan struct{}, 1)}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return h.serveKernel(ctx, file) })
	g.Go(func() error { return s.run(ctx, l) })
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("bridge: %w", err)
	}
	return nil
}
