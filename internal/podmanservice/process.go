package podmanservice

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"cellblock.io/cellblock/internal/respawn"
	"cellblock.io/cellblock/internal/unixsocket"
)

const (
	stopTimeout = 15 * time.Second // for requests in flight to end, before the process is killed
	maxLine     = 1000             // bytes of a line of output that are logged

	migrateTimeout = time.Minute
	// lostRemedy is what Podman advises when it cannot join the namespaces of any process of its own.
	lostRemedy = "system migrate"
)

// arguments are those of the service. By them a later gateway knows that the process is one of ours.
func (s *Service) arguments() []string {
	return []string{"system", "service", "--time=0", "unix://" + s.cfg.Socket}
}

// oversee runs a process until its end, and brings that about when ctx ends. The process has a session of its own:
// a terminal's ^C ends it only through Run.
func (s *Service) oversee(ctx context.Context, bin string) error {
	words := &lines{log: s.cfg.Log}
	cmd := exec.Command(bin, s.arguments()...)
	cmd.Env = append(os.Environ(), s.cfg.Env...)
	said := &respawn.Lines{Max: maxLine, Each: words.take}
	cmd.Stdout, cmd.Stderr = said, said // one writer for both: exec.Cmd calls it from one goroutine
	// Podman leaves processes behind that hold its output open: Wait must not wait for those.
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", bin, err)
	}
	s.cfg.Log.Info("podman service started", "socket", s.cfg.Socket, "pid", cmd.Process.Pid)
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }() // received below
	select {
	case err := <-done:
		if words.confused {
			s.migrate(ctx, bin)
		}
		return words.explain(err)
	case <-ctx.Done():
	}
	// Podman's first process hands the signal on to the one that serves.
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop podman service: %w", err)
	}
	select {
	case <-done:
		s.cfg.Log.Info("podman service stopped")
		return nil
	case <-time.After(stopTimeout):
	}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill podman service: %w", err)
	}
	<-done
	return fmt.Errorf("podman service did not stop within %s and was killed", stopTimeout)
}

// migrate tells Podman to look again at what runs. When all of its processes were killed while it believes in running
// containers, it refuses to start and asks for this.
func (s *Service) migrate(ctx context.Context, bin string) {
	ctx, cancel := context.WithTimeout(ctx, migrateTimeout)
	defer cancel()
	s.cfg.Log.Warn("podman's processes have all been killed: telling it to look again")
	// It fails for each container that it cannot stop any more, and then has done its work all the same.
	if out, err := exec.CommandContext(ctx, bin, "system", "migrate").CombinedOutput(); err != nil {
		s.cfg.Log.Info("podman system migrate", "err", err, "says", string(out[:min(len(out), maxLine)]))
	}
}

// follow waits until conn, on which nothing is asked any more, breaks: then the process that answered has ended. When
// ctx ends first, that process is stopped if it is one of ours.
func (s *Service) follow(ctx context.Context, conn *net.UnixConn) error {
	defer conn.Close()
	pid := s.ours(conn)
	s.cfg.Log.Info("podman service is running", "socket", s.cfg.Socket, "started_by_us", pid != 0)
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Read(make([]byte, 1)); ctx.Err() == nil {
		return fmt.Errorf("podman service closed the connection: %w", err)
	}
	if pid == 0 {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop podman service: %w", err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(stopTimeout)); err != nil {
		return fmt.Errorf("wait for podman service's end: %w", err)
	}
	if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("podman service did not stop within %s", stopTimeout)
	}
	s.cfg.Log.Info("podman service stopped")
	return nil
}

// ours returns the process id of the listener when a gateway with this configuration has started it, else 0.
func (s *Service) ours(conn *net.UnixConn) int {
	peer, err := unixsocket.Peer(conn)
	if err != nil || peer.Pid <= 0 {
		return 0
	}
	line, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(peer.Pid), "cmdline"))
	if err != nil {
		return 0
	}
	words := strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
	if n := len(s.arguments()); len(words) <= n || !slices.Equal(words[len(words)-n:], s.arguments()) {
		return 0
	}
	return int(peer.Pid)
}

// lines logs what the process writes and remembers the last line.
type lines struct {
	log      *slog.Logger
	last     string
	confused bool // a line had lostRemedy
}

func (l *lines) take(text []byte) error {
	if line := strings.TrimSpace(string(text)); line != "" {
		l.last = line[:min(len(line), maxLine)]
		l.confused = l.confused || strings.Contains(line, lostRemedy)
		l.log.Warn("podman service", "says", l.last)
	}
	return nil
}

// explain says how a process ended that should not have.
func (l *lines) explain(cause error) error {
	if cause == nil {
		cause = errors.New("exit status 0")
	}
	if l.last == "" {
		return fmt.Errorf("podman service: %w", cause)
	}
	return fmt.Errorf("podman service: %w; its last words: %s", cause, l.last)
}
