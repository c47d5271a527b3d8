package podmanservice_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cellblock.io/cellblock/internal/podmanservice"
)

const patience = 20 * time.Second

// socketPath returns a path short enough for a socket.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "podman")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "run", "podman.sock")
}

func self(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// run starts s.Run; stop ends it and returns its error.
func run(t *testing.T, s *podmanservice.Service) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return func() error {
		cancel()
		return <-ended
	}
}

func ready(t *testing.T, s *podmanservice.Service) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Ready(ctx); err != nil {
		t.Fatal(err)
	}
}

// get asks the service over the socket on a connection of its own.
func get(socket, path string) error {
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}}
	reply, err := client.Get("http://podman" + path)
	if err != nil {
		return err
	}
	return reply.Body.Close()
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not in %v: %s", patience, what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func TestStartsRestartsAndStops(t *testing.T) {
	socket := socketPath(t)
	s := podmanservice.New(podmanservice.Config{Socket: socket, Command: self(t)})
	stop := run(t, s)
	ready(t, s)
	if err := get(socket, "/die"); err == nil {
		t.Error("the double did not die")
	}
	until(t, "it answers again after its death", func() bool { return get(socket, "/_ping") == nil })
	if err := stop(); err != nil {
		t.Error(err)
	}
	if err := get(socket, "/_ping"); err == nil {
		t.Error("somebody answers after the end")
	}
}

// A gateway that was killed leaves its service behind; the next one uses it and ends it.
func TestTakesOverWhatAPredecessorLeft(t *testing.T) {
	socket := socketPath(t)
	if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
		t.Fatal(err)
	}
	left := exec.Command(self(t), "system", "service", "--time=0", "unix://"+socket)
	if err := left.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- left.Wait() }()
	until(t, "the predecessor's service answers", func() bool { return get(socket, "/_ping") == nil })

	s := podmanservice.New(podmanservice.Config{Socket: socket, Command: "/nonexistent"})
	stop := run(t, s)
	ready(t, s)
	if err := stop(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the service did not end cleanly: %v", err)
		}
	case <-time.After(patience):
		left.Process.Signal(syscall.SIGKILL)
		t.Error("the service was not stopped")
	}
}

// Somebody else's service on the configured socket is used and stays.
func TestLeavesAloneWhatOthersStarted(t *testing.T) {
	socket := socketPath(t)
	if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "OK") })}
	go server.Serve(l)
	defer server.Close()

	s := podmanservice.New(podmanservice.Config{Socket: socket, Command: "/nonexistent"})
	stop := run(t, s)
	ready(t, s)
	if err := stop(); err != nil {
		t.Error(err)
	}
	if err := get(socket, "/_ping"); err != nil {
		t.Errorf("it was stopped: %v", err)
	}
}

// A socket file on which nobody listens is what a killed service leaves.
func TestReplacesAStaleSocket(t *testing.T) {
	socket := socketPath(t)
	if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	s := podmanservice.New(podmanservice.Config{Socket: socket, Command: self(t)})
	stop := run(t, s)
	ready(t, s)
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestNoProgram(t *testing.T) {
	s := podmanservice.New(podmanservice.Config{Socket: socketPath(t), Command: "no-such-podman"})
	err := s.Run(context.Background())
	if !errors.Is(err, podmanservice.ErrNoBinary) || !strings.Contains(err.Error(), "podman.command") {
		t.Errorf("error %v, want ErrNoBinary with the way out", err)
	}
}

func TestLongSocketPath(t *testing.T) {
	s := podmanservice.New(podmanservice.Config{Socket: "/" + strings.Repeat("x", 107)})
	if err := s.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "at most 107") {
		t.Errorf("error %v", err)
	}
}

// Ready quotes what the program says when it cannot start, and does not wait for its deadline.
func TestProgramThatCannotStart(t *testing.T) {
	t.Setenv("FAKE_PODMAN", "broken")
	s := podmanservice.New(podmanservice.Config{Socket: socketPath(t), Command: self(t)})
	stop := run(t, s)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := s.Ready(ctx)
	if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "no subuid ranges found") {
		t.Errorf("error %v", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// When all of Podman's processes have been killed, as at a user's end of session, it wants to be told.
func TestAllOfItsProcessesWereKilled(t *testing.T) {
	t.Setenv("FAKE_PODMAN", filepath.Join(t.TempDir(), "migrated"))
	s := podmanservice.New(podmanservice.Config{Socket: socketPath(t), Command: self(t)})
	stop := run(t, s)
	ready(t, s)
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestReadyEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s := podmanservice.New(podmanservice.Config{Socket: socketPath(t)})
	if err := s.Ready(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
