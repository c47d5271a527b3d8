//go:build e2e

package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"cellblock.io/cellblock/internal/redisserver"
	"cellblock.io/cellblock/internal/secret"
)

const (
	removalTime = 30 * time.Second // until all of an ended kernel must be gone
	// What a gateway may have more than when it was fresh: idle connections to Podman and Redis, two goroutines each.
	spareGoroutines = 12
)

// end stops the gateway and fails the test when anything of it is left: first while it runs and no kernel should, then
// after its end. Whatever it finds, it removes.
func (g *gateway) end(t *testing.T) {
	defer g.log.Close()
	defer g.purge(t)
	if t.Failed() {
		g.keepLogs(t)
	}
	if g.process == nil {
		t.Error("the test left no gateway running, so that nothing could be looked for")
		return
	}
	eventually(t, removalTime, func() string {
		return strings.Join(append(g.leftOfKernels(t), g.leftInGateway(t)...), "\n")
	})
	g.refusedByRedis(t)
	g.stop(t)
	g.stopLauncher(t)
	eventually(t, removalTime, func() string {
		return strings.Join(append(mentioning(g.name), g.sockets()...), "\n")
	})
	t.Logf("nothing is left of %s: no container, volume, process, socket, directory, Redis key or goroutine", g.name)
}

// leftOfKernels lists what the test's kernels have left in Podman, in the run directory and in Redis.
func (g *gateway) leftOfKernels(t *testing.T) (left []string) {
	t.Helper()
	own := "label=io.cellblock.instance=" + g.name
	left = append(left, g.podman(t, "ps", "--all", "--filter", own, "--format", "container {{.Names}} {{.Status}}")...)
	for _, volume := range g.podman(t, "volume", "ls", "--filter", own, "--format", "volume {{.Name}}") {
		if !strings.Contains(volume, "-workspace-") { // a person's files outlive their kernels
			left = append(left, volume)
		}
	}
	for _, path := range g.sockets() {
		if name := filepath.Base(path); name != "redis.sock" && name != "podman.sock" && name != "launcher.sock" {
			left = append(left, path)
		}
	}
	for _, part := range []string{"conf", "gate"} {
		dirs, err := filepath.Glob(filepath.Join(g.run, "*", "*", part))
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, dirs...)
	}
	return append(left, g.keys(t)...)
}

// redis connects to the gateway's private Redis as the user that may do everything. Whoever asks closes it.
func (g *gateway) redis(t *testing.T) *redis.Client {
	t.Helper()
	key, err := secret.Read(filepath.Join(g.state, "secret.key"))
	if err != nil {
		t.Fatal(err)
	}
	server := redisserver.New(redisserver.Config{Socket: filepath.Join(g.run, "front", "redis.sock"), Key: key})
	client, err := redisserver.NewClient(server.AdminURL())
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// refusedByRedis fails the test when the gateway or a command asked Redis for what their user may not have. There is
// nobody else who would.
func (g *gateway) refusedByRedis(t *testing.T) {
	t.Helper()
	client := g.redis(t)
	defer client.Close()
	entries, err := client.ACLLog(context.Background(), 10).Result()
	if err != nil {
		t.Fatalf("ask redis for what it refused: %v", err)
	}
	for _, e := range entries {
		t.Errorf("Redis refused %s of %s, for the %s", e.Object, e.Username, e.Reason)
	}
}

// keys lists the keys in Redis that belong to kernels. Users, tokens, quotas and user ids stay.
func (g *gateway) keys(t *testing.T) (found []string) {
	t.Helper()
	client := g.redis(t)
	defer client.Close()
	for _, pattern := range []string{"cellblock:kernel*", "cellblock:session*", "cellblock:owners"} {
		keys, err := client.Keys(context.Background(), pattern).Result()
		if err != nil {
			t.Fatalf("ask redis for keys: %v", err)
		}
		found = append(found, keys...)
	}
	return found
}

// leftInGateway compares the gateway's goroutines with those that it had when it was fresh.
func (g *gateway) leftInGateway(t *testing.T) []string {
	t.Helper()
	if now := g.goroutines(t); now > g.fresh+spareGoroutines {
		return []string{fmt.Sprintf("%d goroutines, %d when it was fresh", now, g.fresh)}
	}
	return nil
}

func (g *gateway) goroutines(t *testing.T) int {
	t.Helper()
	http.DefaultClient.CloseIdleConnections()
	response, err := http.Get(g.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		var n int
		if _, err := fmt.Sscanf(lines.Text(), "go_goroutines %d", &n); err == nil {
			return n
		}
	}
	t.Fatalf("GET /metrics: %s, and no go_goroutines in it", response.Status)
	return 0
}

// sockets lists the sockets below the run directory.
func (g *gateway) sockets() (found []string) {
	_ = filepath.WalkDir(g.run, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type() == fs.ModeSocket {
			found = append(found, path)
		}
		return nil // what cannot be read is gone already
	})
	return found
}

// mentioning lists the processes whose command line, directory or mounts have this name in them: all that belong to one
// gateway, those in containers too.
func mentioning(name string) (found []string) {
	dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is well formed
	for _, dir := range dirs {
		command, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		place, _ := os.Readlink(filepath.Join(dir, "cwd"))
		mounts, _ := os.ReadFile(filepath.Join(dir, "mountinfo"))
		if strings.Contains(string(command)+place+string(mounts), name) {
			found = append(found, fmt.Sprintf("process %s %s", filepath.Base(dir), strings.ReplaceAll(string(command), "\x00", " ")))
		}
	}
	return found
}

// keepLogs puts what explains a failure among the artefacts: containers, their logs, and the end of the gateway's log.
func (g *gateway) keepLogs(t *testing.T) {
	t.Helper()
	t.Logf("end of %s:\n%s", g.log.Name(), g.tail())
	own := "label=io.cellblock.instance=" + g.name
	t.Logf("containers:\n%s", strings.Join(g.podman(t, "ps", "--all", "--filter", own), "\n"))
	for _, name := range g.podman(t, "ps", "--all", "--filter", own, "--format", "{{.Names}}") {
		ctx, cancel := context.WithTimeout(context.Background(), commandTime)
		text, _ := g.as(ctx, "podman", "logs", name).CombinedOutput() // best effort: the container may have gone
		cancel()
		if err := os.WriteFile(filepath.Join(g.artefacts, strings.ReplaceAll(t.Name(), "/", "-")+"-"+name+".log"), text, 0o644); err != nil {
			t.Error(err)
		}
	}
}

// purge removes the gateway with all that it made, so that one failed test does not disturb the next.
func (g *gateway) purge(t *testing.T) {
	if g.process != nil {
		g.kill(t)
	}
	g.stopLauncher(t)
	own := "label=io.cellblock.instance=" + g.name
	for _, name := range g.podman(t, "ps", "--all", "--quiet", "--filter", own) {
		g.podman(t, "rm", "--force", "--time", "0", name)
	}
	for _, name := range g.podman(t, "volume", "ls", "--quiet", "--filter", own) {
		g.podman(t, "volume", "rm", "--force", name)
	}
	for _, line := range mentioning(g.run) { // Redis and Podman's service, after a kill
		var pid string
		if _, err := fmt.Sscanf(line, "process %s", &pid); err == nil {
			_ = exec.Command("sh", "-c", "kill -9 "+pid).Run() // it may have ended by itself
		}
	}
	for _, dir := range []string{g.run, g.state} {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove %s: %v", dir, err)
		}
	}
}
