//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startSeparated starts the launcher as the instance's user and the front as the front's, as deploy/up does.
func startSeparated(t *testing.T) *gateway {
	t.Helper()
	g := prepareGateway(t, "")
	front := g.instance + "_front"
	own := func(mode os.FileMode, user string, dirs ...string) {
		t.Helper()
		for _, dir := range dirs {
			ctx, cancel := context.WithTimeout(context.Background(), commandTime)
			defer cancel()
			cmd := exec.CommandContext(ctx, "install", "-d", "-m", fmt.Sprintf("%o", mode), "-o", user, "-g", g.instance, dir)
			if _, err := output(cmd); err != nil {
				t.Fatal(err)
			}
		}
	}
	own(0o711, front, g.state)
	own(0o711, "root", g.run)
	own(0o700, front, filepath.Join(g.run, "front"))
	own(0o700, g.instance, filepath.Join(g.run, "engine"), filepath.Join(g.run, "kernels"))
	own(0o710, g.instance, filepath.Join(g.run, "launcher"))
	g.front = true
	t.Cleanup(func() { g.end(t) })
	g.startLauncher(t)
	g.start(t)
	return g
}

func (g *gateway) startLauncher(t *testing.T) {
	t.Helper()
	g.launcher = g.as(context.Background(), g.program(), "launcher", "--config", g.config)
	g.launcher.Stdout, g.launcher.Stderr = g.log, g.log
	if err := g.launcher.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, startTime, func() string {
		if _, err := os.Stat(filepath.Join(g.run, "launcher", "launcher.sock")); err != nil {
			return err.Error() + "\n" + g.tail()
		}
		return ""
	})
}

func (g *gateway) stopLauncher(t *testing.T) {
	t.Helper()
	if g.launcher == nil {
		return
	}
	_ = g.launcher.Process.Signal(syscall.SIGTERM)
	if err := g.launcher.Wait(); err != nil {
		t.Errorf("the launcher did not end cleanly on SIGTERM: %v", err)
	}
	g.launcher = nil
}

// problems is what /healthz says.
func (g *gateway) problems(t *testing.T) string {
	t.Helper()
	return person{url: g.url}.call(t, "GET", "/healthz", "").body
}

// TestSeparation holds what the network reaches apart from what may start containers.
func TestSeparation(t *testing.T) {
	g := startSeparated(t)
	alice := person{g.url, g.user(t, "alice")}
	id := alice.newKernel(t)
	ch := alice.connect(t, id, randomHex(t, 16))
	if got := ch.execute(t, "open('secret', 'w').write('x'); print(6*7)"); got != "42\n" {
		t.Fatalf("a kernel through both processes says %q", got)
	}
	t.Run("the front's user reaches nothing of the launcher", g.frontReachesNothing)
	t.Run("the launcher's user reaches nothing of the front", g.launcherReachesNothing)
	t.Run("others are not heard", g.othersAreNotHeard)
	t.Run("the launcher is killed", func(t *testing.T) { g.launcherKilled(t, alice, ch) })
	if got := g.cli(t, "kernels", "list", "--json"); !strings.Contains(got, id) {
		t.Errorf("kernels list: %s", got)
	}
	g.cli(t, "kernels", "stop", id)
	if got := alice.call(t, "GET", "/api/kernels", ""); got.status != http.StatusOK || strings.Contains(got.body, id) {
		t.Errorf("after kernels stop: %d %s", got.status, got.body)
	}
}

// try is a command's output and whether it succeeded.
func try(cmd *exec.Cmd) (string, bool) {
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

// frontReachesNothing tries as the front's user, by the same way as the front itself runs.
func (g *gateway) frontReachesNothing(t *testing.T) {
	workspaces := filepath.Join("/var/lib", g.instance, "workspaces")
	secret := filepath.Join(workspaces, g.name+"-workspace-alice", "_data", "secret")
	if out, ok := try(exec.Command("cat", secret)); !ok || out != "x" {
		t.Fatalf("the canary is not where it is looked for: %q", out)
	}
	podman := filepath.Join(g.run, "engine", "podman.sock")
	gates, err := filepath.Glob(filepath.Join(g.run, "kernels", "*", "gate", "bridge.sock"))
	if err != nil || len(gates) != 1 {
		t.Fatalf("bridges' sockets: %v, %v", gates, err)
	}
	for name, script := range map[string]string{
		"list its sockets":         "ls " + filepath.Join(g.run, "engine"),
		"connect to Podman":        connecting(podman),
		"list kernels":             "ls " + filepath.Join(g.run, "kernels"),
		"connect to a bridge":      connecting(gates[0]),
		"list workspaces":          "ls " + workspaces,
		"read a workspace":         "cat " + secret,
		"list images":              "ls " + filepath.Join("/var/lib", g.instance, "containers"),
		"list the launcher's door": "ls " + filepath.Join(g.run, "launcher"),
		"put something beside it":  "touch " + filepath.Join(g.run, "launcher", "x"),
		"take podman's place":      "touch " + filepath.Join(g.run, "podman.sock"),
		"take the home":            "touch " + filepath.Join("/var/lib", g.instance, ".docker"),
		"change the configuration": "touch " + filepath.Join("/etc", g.instance, "config.yaml"),
		"gain a right":             "grep -q '^CapBnd:.*[1-9a-f]' /proc/self/status",
		"signal the launcher":      fmt.Sprintf("kill -0 %d", g.launcher.Process.Pid),
		"look into the launcher":   fmt.Sprintf("cat /proc/%d/environ", g.launcher.Process.Pid),
	} {
		if out, ok := try(g.asFront(t.Context(), "sh", "-c", script)); ok {
			t.Errorf("%s: it could: %s", name, out)
		}
		if strings.HasPrefix(name, "connect") || strings.HasPrefix(name, "list") {
			if out, ok := try(g.as(t.Context(), "sh", "-c", script)); !ok { // that the attempt would succeed at all
				t.Errorf("%s: the launcher's user could not either: %s", name, out)
			}
		}
	}
}

func connecting(socket string) string {
	return `python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect("` + socket + `")'`
}

// launcherReachesNothing: whoever breaks out of a kernel and takes the launcher over has nobody's credentials.
func (g *gateway) launcherReachesNothing(t *testing.T) {
	for name, script := range map[string]string{
		"connect to Redis":     connecting(filepath.Join(g.run, "front", "redis.sock")),
		"list Redis' data":     "ls " + filepath.Join(g.state, "redis"),
		"read the key":         "cat " + filepath.Join(g.state, "secret.key"),
		"look into the front":  fmt.Sprintf("cat /proc/%d/environ", g.process.Process.Pid),
		"take the front's run": "touch " + filepath.Join(g.run, "front", "x"),
	} {
		if out, ok := try(g.as(t.Context(), "sh", "-c", script)); ok {
			t.Errorf("%s: it could: %s", name, out)
		}
	}
}

// othersAreNotHeard asks as root, who can open every socket.
func (g *gateway) othersAreNotHeard(t *testing.T) {
	ask := []string{"--silent", "--unix-socket", filepath.Join(g.run, "launcher", "launcher.sock"), "--data", "{}", "http://launcher/v1/list"}
	if out, ok := try(exec.Command("curl", ask...)); ok {
		t.Errorf("heard: %s", out)
	}
	if out, ok := try(g.asFront(t.Context(), append([]string{"curl"}, ask...)...)); !ok || !strings.Contains(out, "KernelRunning") {
		t.Errorf("the front itself is not heard: %s", out)
	}
}

// launcherKilled kills the launcher in the midst of a cell: the cell goes on, other requests are told to come later, and
// all is well again when it is back.
func (g *gateway) launcherKilled(t *testing.T, alice person, ch *channels) {
	one := ch.start(t, counting(300))
	ch.follow(t, one, countTime, one.has(20))
	if err := g.launcher.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = g.launcher.Wait() // it was killed
	if got := alice.call(t, "POST", "/api/kernels", ""); got.status != http.StatusServiceUnavailable {
		t.Errorf("a start without a launcher: %d %s", got.status, got.body)
	}
	if got := alice.call(t, "GET", "/api/kernels", ""); got.status != http.StatusOK {
		t.Errorf("a list without a launcher: %d %s", got.status, got.body)
	}
	eventually(t, 15*time.Second, func() string {
		if got := g.problems(t); !strings.Contains(got, "launcher does not answer") {
			return got
		}
		return ""
	})
	if err := os.Remove(filepath.Join(g.run, "launcher", "launcher.sock")); err != nil {
		t.Fatal(err)
	}
	g.startLauncher(t)
	ch.finish(t, one, countTime)
	checkCounted(t, one, 300)
	eventually(t, 15*time.Second, func() string {
		if got := g.problems(t); strings.Contains(got, "launcher does not answer") {
			return got
		}
		return ""
	})
	more := alice.connect(t, alice.newKernel(t), randomHex(t, 16))
	if got := more.execute(t, "print(1)"); got != "1\n" {
		t.Errorf("a new kernel says %q", got)
	}
}
