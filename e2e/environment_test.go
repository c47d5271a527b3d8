//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	commandTime = 60 * time.Second       // for one command of ours, clients' scripts excepted
	pollPause   = 100 * time.Millisecond // between two looks at something that will change
)

// environment is where things are on this machine.
type environment struct {
	binary, instance, cache, artefacts string
	enter                              string // deploy/enter
}

func readEnvironment(t *testing.T) environment {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("the end-to-end tests must run as root (deploy/enter needs it)")
	}
	e := environment{
		binary:    required(t, "E2E_CELLBLOCK", "the built binary"),
		instance:  required(t, "E2E_INSTANCE", "the test instance, for example cellblock-test"),
		cache:     withDefault("E2E_CACHE", "/var/cache/cellblock-e2e"),
		artefacts: absolute(t, withDefault("E2E_ARTEFACTS", "artefacts")),
		enter:     absolute(t, "../deploy/enter"),
	}
	if e.instance == "cellblock" {
		t.Fatal("E2E_INSTANCE=cellblock is an installed instance; the tests need one of their own")
	}
	if err := os.MkdirAll(e.artefacts, 0o755); err != nil {
		t.Fatalf("make artefacts: %v", err)
	}
	return e
}

func required(t *testing.T, name, what string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("set %s: %s (or use make e2e)", name, what)
	}
	return value
}

func withDefault(name, value string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return value
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// as makes a command that runs as the instance's user, in its environment. Its process is the command's own.
func (e environment) as(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, e.enter, append([]string{"--instance", e.instance, "--"}, args...)...)
}

// asFront is the same for the user of the front, who has no right to Podman.
func (e environment) asFront(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, e.enter, append([]string{"--instance", e.instance, "--front", "--"}, args...)...)
}

// output runs a command to its end and returns what it printed, or an error that holds its complaint.
func output(cmd *exec.Cmd) (string, error) {
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s%s", strings.Join(cmd.Args, " "), err, out, complaint.String())
	}
	return string(out), nil
}

// podman runs one podman command as the instance's user and returns the lines that it printed.
func (e environment) podman(t *testing.T, args ...string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandTime)
	defer cancel()
	out, err := output(e.as(ctx, append([]string{"podman"}, args...)...))
	if err != nil {
		t.Fatal(err)
	}
	return strings.FieldsFunc(out, func(r rune) bool { return r == '\n' })
}

// eventually polls until check returns "", which is when what is waited for has come. check otherwise says what is
// still wrong, for the message when limit has passed.
func eventually(t *testing.T, limit time.Duration, check func() string) {
	t.Helper()
	deadline := time.After(limit)
	for {
		wrong := check()
		if wrong == "" {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("still after %v: %s", limit, wrong)
		case <-time.After(pollPause):
		}
	}
}
