package redisserver_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sys/unix"

	"cellblock.io/cellblock/internal/redisserver"
	"cellblock.io/cellblock/internal/redisserver/redistest"
	"cellblock.io/cellblock/internal/secret"
)

const patience = 20 * time.Second

// shortDir is a directory whose path leaves room for a socket's.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "redis")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// run starts srv and returns an administrator's client once it is ready, and what ends it.
func run(t *testing.T, srv *redisserver.Server) (*redis.Client, func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx) }()
	stopped := false
	stop := func() error {
		cancel()
		if stopped {
			return nil
		}
		stopped = true
		return <-ended
	}
	t.Cleanup(func() { stop() })
	ready(t, srv)
	client, err := redisserver.NewClient(srv.AdminURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client, stop
}

func ready(t *testing.T, srv *redisserver.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := srv.Ready(ctx); err != nil {
		t.Fatal(err)
	}
}

// pid is the process id of the server that answers.
func pid(t *testing.T, c *redis.Client) int {
	t.Helper()
	info, err := c.Info(t.Context(), "server").Result()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(line, "process_id:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(v))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no process_id in INFO")
	return 0
}

// until polls a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func TestDataSurviveACleanEnd(t *testing.T) {
	dir := shortDir(t)
	client, stop := run(t, redisserver.New(config(dir)))
	if err := client.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	process := pid(t, client)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if !gone(process) {
		t.Error("the process outlived Run")
	}
	client, _ = run(t, redisserver.New(config(dir)))
	if got, err := client.Get(t.Context(), "k").Result(); err != nil || got != "v" {
		t.Fatalf("after the restart: %q, %v", got, err)
	}
}

// What a script writes is in the file as a transaction, which Redis takes from there only as the default user may.
func TestScriptsWritesSurviveACleanEnd(t *testing.T) {
	cfg := config(shortDir(t))
	c, stop := run(t, redisserver.New(cfg))
	const script = "redis.call('HSET', KEYS[1], 'a', '1') redis.call('SADD', KEYS[2], 'b') redis.call('EXPIRE', KEYS[2], 1000)"
	if err := c.Eval(t.Context(), script, []string{"cellblock:x", "cellblock:y"}).Err(); err != nil && !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	c, _ = run(t, redisserver.New(cfg))
	if got, err := c.HGet(t.Context(), "cellblock:x", "a").Result(); err != nil || got != "1" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := c.SMembers(t.Context(), "cellblock:y").Result(); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestPrivate(t *testing.T) {
	dir := shortDir(t)
	t.Setenv("CELLBLOCK_SECRET", "do not hand on")
	client, _ := run(t, redisserver.New(config(dir)))
	for path, want := range map[string]os.FileMode{"data": 0o700, "s": 0o600, "data/redis.log": 0o600} {
		fi, err := os.Stat(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, fi.Mode().Perm(), want)
		}
	}
	for _, file := range []string{"environ", "cmdline"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid(t, client), file))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "SECRET") || strings.Contains(string(text), "secret") {
			t.Errorf("%s: %q", file, text)
		}
	}
	want := map[string]string{
		"port": "0", "appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "save": "",
		"dir": filepath.Join(dir, "data"),
	}
	for key, value := range want {
		got, err := client.ConfigGet(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		if got[key] != value {
			t.Errorf("%s is %q, want %q", key, got[key], value)
		}
	}
}

func TestStartsAgainAfterADeath(t *testing.T) {
	srv := redisserver.New(config(shortDir(t)))
	client, _ := run(t, srv)
	if err := client.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	first := pid(t, client)
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "the first process is gone", func() bool { return gone(first) })
	ready(t, srv)
	if pid(t, client) == first {
		t.Error("the same process answers")
	}
	if got, err := client.Get(t.Context(), "k").Result(); err != nil || got != "v" {
		t.Errorf("after the death: %q, %v", got, err)
	}
}

// TestTakesOverWhatAKilledParentLeft kills a process that runs a Server; the redis-server goes on and the next Run has it.
func TestTakesOverWhatAKilledParentLeft(t *testing.T) {
	dir := shortDir(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(exe)
	parent.Env = append(os.Environ(), hostDir+"="+dir)
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	srv := redisserver.New(config(dir))
	ready(t, srv)
	before, err := redisserver.NewClient(srv.AdminURL())
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	left := pid(t, before)
	// Orphans become this process's own, so that the one left behind can be waited for.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	parent.Wait()

	client, stop := run(t, srv)
	if now := pid(t, client); now != left {
		t.Fatalf("process %d answers, %d was left", now, left)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	var status unix.WaitStatus
	until(t, "the process that was left is gone", func() bool {
		n, err := unix.Wait4(left, &status, unix.WNOHANG, nil)
		return err == nil && n == left
	})
	if status.ExitStatus() != 0 {
		t.Errorf("it ended with %v", status)
	}
}

func TestTwoOnOneDirectory(t *testing.T) {
	dir := shortDir(t)
	one := redisserver.New(config(dir))
	client, stopOne := run(t, one)
	if err := client.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	first := pid(t, client)
	two := redisserver.New(config(dir))
	client, _ = run(t, two)
	if pid(t, client) != first {
		t.Fatal("two servers on one directory")
	}
	if err := stopOne(); err != nil {
		t.Fatal(err)
	}
	ready(t, two) // starts its own now
	if got, err := client.Get(t.Context(), "k").Result(); err != nil || got != "v" {
		t.Errorf("after the other's end: %q, %v", got, err)
	}
}

// TestNeverTwoOnOneFile: a server that hangs is not answering, and still nothing may write beside it.
func TestNeverTwoOnOneFile(t *testing.T) {
	dir := shortDir(t)
	client, _ := run(t, redisserver.New(config(dir)))
	held := pid(t, client)

	other := config(dir)
	other.Socket = filepath.Join(dir, "other")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	srv := redisserver.New(other)
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx) }()
	err := srv.Ready(ctx)
	if err == nil {
		t.Fatal("a second server on the same data")
	}
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "redis.lock") {
		t.Errorf("Ready: %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if pid(t, client) != held {
		t.Error("the first server was disturbed")
	}
}

func TestRefusesToRun(t *testing.T) {
	dir, key := shortDir(t), secret.New()
	tests := map[string]struct {
		cfg  redisserver.Config
		want string
	}{
		"no key":      {redisserver.Config{Dir: dir}, "no secret key"},
		"no binary":   {redisserver.Config{Dir: dir, Key: key, Binary: "no-such-redis-server"}, "install it (apt-get install redis-server) or set redis.url"},
		"long socket": {redisserver.Config{Dir: dir, Key: key, Socket: filepath.Join(dir, strings.Repeat("x", 100))}, "107"},
		"no dir":      {redisserver.Config{Dir: "/proc/nowhere", Key: key}, "make redis directory"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := redisserver.New(tt.cfg).Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Run: %v", err)
			}
		})
	}
	if err := redisserver.New(tests["no binary"].cfg).Run(t.Context()); !errors.Is(err, redisserver.ErrNoBinary) {
		t.Errorf("not ErrNoBinary: %v", err)
	}
}

// TestSaysWhyItDoesNotStart: what the process wrote before it ended is in Ready's error.
func TestSaysWhyItDoesNotStart(t *testing.T) {
	dir := shortDir(t)
	bad := filepath.Join(dir, "bad")
	if err := os.WriteFile(bad, []byte("#!/bin/sh\necho out of luck >&2\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	cfg := config(dir)
	cfg.Binary = bad
	srv := redisserver.New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx) }()
	until(t, "Ready knows why", func() bool {
		brief, done := context.WithTimeout(ctx, 10*time.Millisecond)
		defer done()
		err := srv.Ready(brief)
		return err != nil && strings.Contains(err.Error(), "exit status 3; its last words: out of luck")
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestOddDirectory: paths reach redis-server as they are.
func TestOddDirectory(t *testing.T) {
	dir := filepath.Join(shortDir(t), `a "b" \c é`)
	client, _ := run(t, redisserver.New(redisserver.Config{Dir: dir, Key: secret.New()}))
	got, err := client.ConfigGet(t.Context(), "dir").Result()
	if err != nil || got["dir"] != dir {
		t.Errorf("dir is %q, %v; want %q", got["dir"], err, dir)
	}
}

func TestInstancesAreApart(t *testing.T) {
	a, b := redistest.Start(t), redistest.Start(t)
	if err := a.Client.Set(t.Context(), "cellblock:k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := b.Client.Get(t.Context(), "cellblock:k").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("the other instance has the key: %v", err)
	}
	a.Stop()
	a.Stop()
	if err := a.Client.Ping(t.Context()).Err(); err == nil {
		t.Error("a stopped instance answers")
	}
}

func TestNewClient(t *testing.T) {
	for _, bad := range []string{"", "http://h/", "redis://u:hunter2@h:x/", "unix://", "redis://:hunter2@h\x7f/", "redis://u:hunter2@h/1/2"} {
		c, err := redisserver.NewClient(bad)
		if err == nil {
			c.Close()
			t.Errorf("%q was accepted", bad)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

// TestCallsAreBounded: a server that accepts and says nothing holds a call no longer than its context.
func TestCallsAreBounded(t *testing.T) {
	inst := redistest.Start(t)
	process := pid(t, inst.Admin)
	if err := syscall.Kill(process, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(process, syscall.SIGCONT)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := inst.Client.Get(ctx, "k").Err(); err == nil {
		t.Fatal("an answer from a stopped process")
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("took %s", took)
	}
}
