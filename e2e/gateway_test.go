//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
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
)

const (
	startTime = 60 * time.Second // until a started gateway answers
	stopTime  = 45 * time.Second // until one that was asked to stop has ended
)

// gateway is a whole private Cellblock: its own configuration, state and run directories, ports, Redis and instance
// label, in the test instance's Podman storage. It may be killed and started again any number of times.
type gateway struct {
	environment
	name     string // of this installation, part of labels and container names
	url      string
	state    string // also holds the binary and the configuration
	run      string
	config   string
	settings string    // more lines of the configuration
	front    bool      // it runs as the front's user, and its launcher as the instance's
	launcher *exec.Cmd // in that case; nil while none runs
	log      *os.File
	process  *exec.Cmd // nil while none runs
	fresh    int       // goroutines of the process when it had just started
}

// startGateway starts a gateway with more lines of configuration (YAML) and waits until it answers. When the test ends,
// it is stopped and nothing of it may be left.
func startGateway(t *testing.T, settings string) *gateway {
	t.Helper()
	g := prepareGateway(t, settings)
	t.Cleanup(func() { g.end(t) })
	g.start(t)
	return g
}

// prepareGateway makes all that a gateway needs to start.
func prepareGateway(t *testing.T, settings string) *gateway {
	t.Helper()
	e := readEnvironment(t)
	g := &gateway{environment: e, name: "e2e-" + randomHex(t, 3), settings: settings}
	g.state = filepath.Join("/var/lib", e.instance, g.name)
	g.run = filepath.Join("/run", e.instance, g.name)
	g.config = filepath.Join(g.state, "config.yaml")
	g.url = "http://" + freeAddress(t)

	var err error
	if g.log, err = os.Create(filepath.Join(e.artefacts, strings.ReplaceAll(t.Name(), "/", "-")+"-gateway.log")); err != nil {
		t.Fatal(err)
	}
	g.install(t)
	return g
}

// asGateway makes a command that runs as the user of the gateway itself.
func (g *gateway) asGateway(ctx context.Context, args ...string) *exec.Cmd {
	if g.front {
		return g.asFront(ctx, args...)
	}
	return g.as(ctx, args...)
}

// install makes the directories, with the binary and the configuration in them.
func (g *gateway) install(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandTime)
	defer cancel()
	// The directories above are root's alone.
	if _, err := output(exec.CommandContext(ctx, "install", "-d", "-m", "700", "-o", g.instance, "-g", g.instance, g.state, g.run)); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{g.binary: g.program(), filepath.Join(filepath.Dir(g.binary), "cellblock-shim"): g.program() + "-shim"} {
		binary, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, binary, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	g.configure(t)
}

// configure writes the configuration, which holds from the next start on.
func (g *gateway) configure(t *testing.T) {
	t.Helper()
	content := fmt.Sprintf(`listen: %s
instance: %s
state_dir: %s
run_dir: %s
log: {level: debug}
limits: {unenforceable: allow}
%s
`, strings.TrimPrefix(g.url, "http://"), g.name, g.state, g.run, g.settings)
	if err := os.WriteFile(g.config, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
}

// program is the binary where the instance's user can run it.
func (g *gateway) program() string { return filepath.Join(g.state, "cellblock") }

// start starts the gateway and waits until it says that it is well.
func (g *gateway) start(t *testing.T) {
	t.Helper()
	g.process = g.asGateway(context.Background(), g.program(), "serve", "--config", g.config)
	g.process.Stdout, g.process.Stderr = g.log, g.log
	if err := g.process.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, startTime, func() string {
		response, err := http.Get(g.url + "/healthz")
		if err != nil {
			return fmt.Sprintf("%v\n%s", err, g.tail())
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return response.Status
		}
		return ""
	})
	g.fresh = g.goroutines(t)
}

// kill ends the gateway's process as kill -9 does, and nothing else.
func (g *gateway) kill(t *testing.T) {
	t.Helper()
	if err := g.process.Process.Kill(); err != nil {
		t.Fatalf("kill the gateway: %v", err)
	}
	_ = g.process.Wait() // it was killed: no more to know
	g.process = nil
}

// stop asks the gateway to end, with SIGTERM, and waits until it has.
func (g *gateway) stop(t *testing.T) {
	t.Helper()
	if err := g.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("stop the gateway: %v", err)
	}
	late := time.AfterFunc(stopTime, func() { _ = g.process.Process.Signal(syscall.SIGQUIT) })
	defer late.Stop()
	if err := g.process.Wait(); err != nil {
		t.Errorf("the gateway did not end cleanly on SIGTERM: %v", err)
	}
	g.process = nil
}

// cli runs one cellblock command of the instance's user on this gateway's configuration and returns its output.
func (g *gateway) cli(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandTime)
	defer cancel()
	cmd := g.asGateway(ctx, append([]string{"env", "CELLBLOCK_CONFIG=" + g.config, g.program()}, args...)...)
	out, err := output(cmd)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// user adds a user and returns a token of theirs.
func (g *gateway) user(t *testing.T, name string, flags ...string) string {
	t.Helper()
	g.cli(t, append([]string{"user", "add", name}, flags...)...)
	return strings.TrimSpace(g.cli(t, "token", "create", "--user", name))
}

// tail is the end of the gateway's log.
func (g *gateway) tail() string {
	content, err := os.ReadFile(g.log.Name())
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(content, []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-40):], []byte("\n")))
}

func randomHex(t *testing.T, n int) string {
	t.Helper()
	raw := make([]byte, n)
	if _, err := rand.Read(raw); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(raw)
}

// freeAddress is an address on which nobody listens now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
