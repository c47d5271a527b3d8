package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"cellblock.io/cellblock/internal/config"
	"cellblock.io/cellblock/internal/respawn"
	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/launcher"
)

const (
	launcherStart = 2 * time.Minute       // all that it waits for itself
	launcherStop  = time.Minute           // calls in flight, and Podman's service
	launcherPause = 50 * time.Millisecond // between two questions of ready
	maxLastWords  = 2000                  // bytes of what a launcher says in the end
)

// child is the launcher of a gateway that runs as the user who holds Podman, too. It ends with the gateway, however that
// ends: it reads from a pipe of which the gateway has the only other end.
type child struct {
	client  *launcher.Client
	command func() *exec.Cmd
	out     io.Writer
	log     *slog.Logger

	mu   sync.Mutex
	last error // why it ended the last time
}

// newChild runs this very program, with the same configuration.
func (a *app) newChild(client *launcher.Client, log *slog.Logger) (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	args := []string{"launcher", "--child"}
	if a.configPath != "" {
		args = append(args, "--config", a.configPath)
	}
	if a.logLevel != "" {
		args = append(args, "--log-level", a.logLevel)
	}
	return &child{client: client, out: a.Err, log: log, command: func() *exec.Cmd {
		cmd := exec.Command(program, args...)
		cmd.Env = a.environment()
		return cmd
	}}, nil
}

// environment is this process's, with the configuration that it itself runs with.
func (a *app) environment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CELLBLOCK_") {
			env = append(env, v)
		}
	}
	names := []string{"CELLBLOCK_CONFIG"}
	for _, key := range config.Keys() {
		names = append(names, key.Env)
	}
	for _, name := range names {
		if v := a.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// Run keeps a launcher running until ctx ends, and then ends it. One who answers already is left alone while it does.
func (c *child) Run(ctx context.Context) error {
	return respawn.Keep(ctx, c.log, respawn.Program{Name: "launcher", Run: c.serve, Ended: c.note})
}

// ready waits until the launcher answers. It fails when ctx ends, or when one has ended without an answer, with what
// that one said.
func (c *child) ready(ctx context.Context) error {
	for {
		if _, err := c.client.Problems(ctx); err == nil {
			return nil
		}
		c.mu.Lock()
		last := c.last
		c.mu.Unlock()
		if last != nil {
			return last
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the launcher: %w", ctx.Err())
		case <-time.After(launcherPause):
		}
	}
}

func (c *child) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = err
}

// serve is one run: of somebody who answers, or of a launcher of our own.
func (c *child) serve(ctx context.Context) error {
	if _, err := c.client.Problems(ctx); err == nil {
		return c.client.Watch(ctx, func(kernels.Exit) {}) // for as long as it answers
	}
	if ctx.Err() != nil {
		return nil
	}
	cmd := c.command()
	words := &lastWords{out: c.out}
	cmd.Stderr = &respawn.Lines{Max: maxLastWords, Each: words.take}
	cmd.WaitDelay = time.Second                          // Podman leaves processes behind that hold its output open
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a terminal's ^C is for the gateway
	life, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("start the launcher: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the launcher: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }() // received below
	select {
	case err := <-done:
		return words.explain(err)
	case <-ctx.Done():
	}
	_ = life.Close() // it may have ended just now
	select {
	case err := <-done:
		if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
			return words.explain(err)
		}
		return nil
	case <-time.After(launcherStop):
	}
	_ = cmd.Process.Kill() // the same
	<-done
	return fmt.Errorf("the launcher did not end within %s and was killed", launcherStop)
}

// lastWords passes on the lines that a program of ours writes, but for how it explains its end, which is kept.
type lastWords struct {
	out  io.Writer
	kept []byte
}

var speaks = []byte("cellblock: ") // as run has it

func (w *lastWords) take(line []byte) error {
	if len(w.kept) > 0 || bytes.HasPrefix(line, speaks) {
		w.kept = append(w.kept, line[:min(len(line), maxLastWords-len(w.kept))]...)
		return nil
	}
	_, err := w.out.Write(line)
	return err
}

func (w *lastWords) explain(cause error) error {
	if text := strings.TrimSpace(string(bytes.TrimPrefix(w.kept, speaks))); text != "" {
		return fmt.Errorf("start kernels: %s", strings.ReplaceAll(text, "\n  ", "\n"))
	}
	if cause == nil {
		cause = errors.New("exit status 0")
	}
	return fmt.Errorf("the launcher ended: %w", cause)
}
