package redisserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	stopTimeout = 10 * time.Second // for a clean shutdown, before the process is killed
	maxLog      = 1 << 20          // bytes of redis.log above which a start begins a new one
	logTail     = 300              // bytes of redis.log that an end's error quotes
)

// process is a redis-server that this program started.
type process struct {
	cmd  *exec.Cmd
	done chan error // Wait's result, once
}

// start runs the program. The settings go in by standard input, so that neither arguments nor files show them, and
// nothing of this program's environment is handed on. The process has a session of its own: a terminal's ^C ends it
// only through Run. It inherits the lock on Dir and so keeps it exactly as long as it lives.
func (s *Server) start(bin string) (*process, error) {
	lock, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	out, err := s.openLog()
	if err != nil {
		return nil, err
	}
	defer out.Close()

	cmd := exec.Command(bin, "-")
	cmd.Dir = s.cfg.Dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
	cmd.Stdin = strings.NewReader(settings(s.cfg))
	cmd.Stdout, cmd.Stderr = out, out
	cmd.ExtraFiles = []*os.File{lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start redis-server: %w", err)
	}
	p := &process{cmd: cmd, done: make(chan error, 1)}
	go func() { p.done <- cmd.Wait() }() // oversee receives it
	return p, nil
}

// lock takes the directory for a new process. It fails while another one that does not answer still has it: two
// servers on one append-only file would ruin it.
func (s *Server) lock() (*os.File, error) {
	path := filepath.Join(s.cfg.Dir, "redis.lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open redis lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("a redis-server that does not answer holds %s: %w", path, err)
	}
	return f, nil
}

func (s *Server) openLog() (*os.File, error) {
	path := s.logPath()
	if fi, err := os.Stat(path); err == nil && fi.Size() > maxLog {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, fmt.Errorf("put redis log aside: %w", err)
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open redis log: %w", err)
	}
	return f, nil
}

func (s *Server) logPath() string { return filepath.Join(s.cfg.Dir, "redis.log") }

// oversee waits for the process's end, and brings it about when ctx ends.
func (s *Server) oversee(ctx context.Context, p *process) error {
	select {
	case err := <-p.done:
		return s.endError(err)
	case <-ctx.Done():
	}
	if err := s.shutdown(ctx); err != nil {
		// Not listening yet, or not willing: the signal means the same to redis-server.
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("stop redis-server: %w", err)
		}
	}
	select {
	case <-p.done:
		s.cfg.Log.Info("redis-server stopped")
		return nil
	case <-time.After(stopTimeout):
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill redis-server: %w", err)
	}
	<-p.done
	return fmt.Errorf("redis-server did not stop within %s and was killed", stopTimeout)
}

// follow does the same for a process that was taken over: conn, on which nothing is asked any more, breaks when the
// process has ended.
func (s *Server) follow(ctx context.Context, conn net.Conn) error {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Read(make([]byte, 1)); ctx.Err() == nil {
		return s.endError(err)
	}
	if err := s.shutdown(ctx); err != nil {
		return fmt.Errorf("stop redis-server: %w", err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(stopTimeout)); err != nil {
		return fmt.Errorf("wait for redis-server's end: %w", err)
	}
	if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("redis-server did not stop within %s", stopTimeout)
	}
	s.cfg.Log.Info("redis-server stopped")
	return nil
}

// endError says how a process ended that should not have, with the last it wrote.
func (s *Server) endError(cause error) error {
	if cause == nil {
		cause = errors.New("exit status 0")
	}
	f, err := os.Open(s.logPath())
	if err != nil {
		return fmt.Errorf("redis-server: %w", cause)
	}
	defer f.Close()
	if fi, err := f.Stat(); err == nil {
		f.Seek(max(0, fi.Size()-logTail), io.SeekStart)
	}
	tail, err := io.ReadAll(io.LimitReader(f, logTail))
	if text := strings.Join(strings.Fields(string(tail)), " "); err == nil && text != "" {
		return fmt.Errorf("redis-server: %w; its last words: %s", cause, text)
	}
	return fmt.Errorf("redis-server: %w", cause)
}
