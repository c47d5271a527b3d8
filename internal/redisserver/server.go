// Package redisserver runs a private redis-server for a gateway that was given none, and makes the clients that reach
// Redis. The server listens on a Unix socket only and keeps its data in an append-only file, so that it outlives both
// itself and the gateway: a gateway that was killed finds its Redis still running and takes it over. It lets in two
// users, whose passwords come from the installation's key: the gateway's has just the commands and keys that Cellblock
// uses, and the other one is for looking after the server.
package redisserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"cellblock.io/cellblock/internal/respawn"
	"cellblock.io/cellblock/internal/secret"
)

const (
	maxSocketPath = 107                   // bytes of sockaddr_un's path, less the final NUL
	readyPause    = 20 * time.Millisecond // between two questions of Ready
)

// ErrNoBinary means that this machine has no redis-server; Run does not try again then.
var ErrNoBinary = errors.New("redis-server not found: install it (apt-get install redis-server) or set redis.url")

// Config says where the private Redis lives.
type Config struct {
	// Dir holds the append-only file, the log and the lock. It is made when missing, with mode 0700, and belongs to
	// one redis-server at a time: a lock that the process itself holds sees to that.
	Dir string
	// Socket is the path of the Unix socket, at most 107 bytes; empty means "redis.sock" in Dir.
	Socket string
	// Key makes the users' passwords. Whoever connects, in whatever process, needs the same.
	Key secret.Key
	// Binary is the program, by name or path; empty means "redis-server" from PATH.
	Binary string
	// Log gets starts and ends; nil means none.
	Log *slog.Logger
}

// Server is one private redis-server. Its methods may be called concurrently, Run once at a time.
type Server struct {
	cfg Config

	mu   sync.Mutex
	last error // why the process ended the last time
}

// New returns a Server that Run starts.
func New(cfg Config) *Server {
	if cfg.Socket == "" {
		cfg.Socket = filepath.Join(cfg.Dir, "redis.sock")
	}
	if cfg.Binary == "" {
		cfg.Binary = "redis-server"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{cfg: cfg}
}

// URL is the address for NewClient, with the password of the user that has what Cellblock needs and no more.
func (s *Server) URL() string { return s.url(gatewayUser) }

// AdminURL is the same for the user that may do everything.
func (s *Server) AdminURL() string { return s.url(adminUser) }

func (s *Server) url(user string) string {
	login := url.UserPassword(user, password(s.cfg.Key, user))
	return (&url.URL{Scheme: "unix", User: login, Path: s.cfg.Socket}).String()
}

// Run keeps a redis-server running until ctx ends, then shuts it down cleanly, its file flushed, and returns nil. One
// that already answers on the socket is taken over, and shut down in the end like one of its own. An end of the
// process is logged and followed by a new start after a growing pause. Errors: ErrNoBinary, a directory or path that
// cannot be used, and a server that would not stop.
func (s *Server) Run(ctx context.Context) error {
	bin, err := s.prepare()
	if err != nil {
		return err
	}
	return respawn.Keep(ctx, s.cfg.Log, respawn.Program{
		Name:  "redis-server",
		Run:   func(ctx context.Context) error { return s.serve(ctx, bin) },
		Ended: s.note,
	})
}

// Ready waits until the server answers and has loaded its data. When ctx ends first the error holds ctx's, and what
// stopped the server the last time if anything did.
func (s *Server) Ready(ctx context.Context) error {
	for {
		reply, err := s.ask(ctx, "PING")
		if err == nil && reply == pong {
			return nil
		}
		select {
		case <-ctx.Done():
			if last := s.lastEnd(); last != nil {
				return fmt.Errorf("wait for redis-server: %w: %w", ctx.Err(), last)
			}
			return fmt.Errorf("wait for redis-server: %w", ctx.Err())
		case <-time.After(readyPause):
		}
	}
}

func (s *Server) prepare() (bin string, err error) {
	if s.cfg.Key.Empty() {
		return "", errors.New("redis server: no secret key")
	}
	if n := len(s.cfg.Socket); n > maxSocketPath {
		return "", fmt.Errorf("redis socket %s: %d bytes, at most %d are possible", s.cfg.Socket, n, maxSocketPath)
	}
	bin, err = exec.LookPath(s.cfg.Binary)
	if err != nil {
		return "", fmt.Errorf("%w (%w)", ErrNoBinary, err)
	}
	for _, dir := range []string{s.cfg.Dir, filepath.Dir(s.cfg.Socket)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", fmt.Errorf("make redis directory: %w", err)
		}
	}
	if err := os.Chmod(s.cfg.Dir, 0o700); err != nil {
		return "", fmt.Errorf("protect redis directory: %w", err)
	}
	return bin, nil
}

// serve is one run of the process: taken over when one answers, started otherwise. It returns when the process has
// ended, with a nil error only when ctx asked for that.
func (s *Server) serve(ctx context.Context, bin string) error {
	if ctx.Err() != nil {
		return nil
	}
	conn, err := s.attach(ctx)
	if err == nil {
		s.cfg.Log.Info("running redis-server taken over", "socket", s.cfg.Socket)
		return s.follow(ctx, conn)
	}
	if errors.Is(err, errStranger) {
		return err
	}
	p, err := s.start(bin)
	if err != nil {
		if ctx.Err() != nil {
			return nil // nothing runs that would have to be stopped
		}
		return err
	}
	s.cfg.Log.Info("redis-server started", "socket", s.cfg.Socket, "pid", p.cmd.Process.Pid)
	return s.oversee(ctx, p)
}

func (s *Server) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = err
}

func (s *Server) lastEnd() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}
