// Package podmanservice keeps Podman's API service running for a gateway that found nobody on the socket. The service
// outlives a gateway that was killed, and the next gateway takes it over.
package podmanservice

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"cellblock.io/cellblock/internal/respawn"
)

const (
	maxSocketPath = 107                   // bytes of sockaddr_un's path, less the final NUL
	readyPause    = 50 * time.Millisecond // between two questions of Ready
	failedFirst   = 2                     // ends without any answer after which Ready gives up
)

// ErrNoBinary means that the program does not exist here; Run does not try again then.
var ErrNoBinary = errors.New("podman not found: install it (apt-get install podman) or set podman.command")

// Config says where the service listens.
type Config struct {
	// Socket is the path of the Unix socket, at most 107 bytes. Its directory is made when missing.
	Socket string
	// Command is the program, by name or path; empty means "podman" from PATH.
	Command string
	// Env are variables (KEY=VALUE) for the service beside this process's own.
	Env []string
	// Log gets starts, ends and what the program writes; nil means none.
	Log *slog.Logger
}

// Service is Podman's API service on one socket. Its methods may be called concurrently, Run once at a time.
type Service struct {
	cfg Config

	mu    sync.Mutex
	fails int   // ends since the service last answered
	last  error // why it ended the last time
}

// New returns a Service that Run starts.
func New(cfg Config) *Service {
	if cfg.Command == "" {
		cfg.Command = "podman"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{cfg: cfg}
}

// Run keeps somebody answering on the socket until ctx ends. One who answers already is left alone while they do; when
// they end, or nobody answers, Run starts the service. When ctx ends it stops a service that it, or a gateway before,
// has started, never one of somebody else's, and returns nil. Ends are followed by a new start after a growing
// pause. Errors: ErrNoBinary, a path that cannot be used, and a service that would not stop.
func (s *Service) Run(ctx context.Context) error {
	if n := len(s.cfg.Socket); n > maxSocketPath {
		return fmt.Errorf("podman socket %s: %d bytes, at most %d are possible", s.cfg.Socket, n, maxSocketPath)
	}
	return respawn.Keep(ctx, s.cfg.Log, respawn.Program{
		Name:  "podman service",
		Run:   s.serve,
		Final: func(err error) bool { return errors.Is(err, ErrNoBinary) },
		Ended: s.note,
	})
}

// Ready waits until somebody answers on the socket. It fails when ctx ends, or when the service has ended repeatedly
// without an answer; the error then quotes what it wrote.
func (s *Service) Ready(ctx context.Context) error {
	for {
		if s.Ping(ctx) == nil {
			s.answered()
			return nil
		}
		fails, last := s.state()
		if fails >= failedFirst {
			return fmt.Errorf("start podman service: %w", last)
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("wait for podman service: %w", ctx.Err()), last)
		case <-time.After(readyPause):
		}
	}
}

// serve is one run: of somebody who answers, or of a service of our own.
func (s *Service) serve(ctx context.Context) error {
	if ctx.Err() != nil {
		return nil
	}
	// Also a ctx that ends now must not leave behind what a gateway before has started.
	if conn, err := attach(context.WithoutCancel(ctx), s.cfg.Socket); err == nil {
		return s.follow(ctx, conn)
	}
	if ctx.Err() != nil {
		return nil
	}
	bin, err := exec.LookPath(s.cfg.Command)
	if err != nil {
		return fmt.Errorf("%w (%w)", ErrNoBinary, err)
	}
	if err := os.MkdirAll(filepath.Dir(s.cfg.Socket), 0o700); err != nil {
		return fmt.Errorf("make podman's socket directory: %w", err)
	}
	return s.oversee(ctx, bin)
}

func (s *Service) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails++
	s.last = err
}

func (s *Service) answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = 0
}

func (s *Service) state() (fails int, last error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fails, s.last
}
