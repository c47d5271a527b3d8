//go:build e2e

package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	scriptTime = 6 * time.Minute // for one client's script
	maxLine    = 32 << 20        // bytes of one line that it prints
)

// TestClients runs existing Jupyter clients, as they are published, against one gateway.
func TestClients(t *testing.T) {
	g := startGateway(t, "")
	g.user(t, "alice")
	alice := g.eval(t, "alice")
	for _, row := range []struct{ name, script string }{
		{"jupyter_server in gateway mode", "server_cells.py"},
		{"jupyter-kernel-client", "kernel_client.py"},
		{"@jupyterlab/services", "services.cjs"},
		{"JupyterLab in Chromium", "lab_notebook.cjs"},
		{"the browser page in Chromium", "../../web/browser/page.cjs"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Log(g.script(t, alice, row.script))
		})
	}
}

// eval is the person that a shell is which has evaluated what `cellblock env` prints for them.
func (g *gateway) eval(t *testing.T, name string) person {
	t.Helper()
	show := `eval "$1"; echo "$JUPYTER_GATEWAY_URL $JUPYTER_GATEWAY_AUTH_TOKEN"; echo "$CELLBLOCK_URL $CELLBLOCK_TOKEN"`
	out, err := output(exec.Command("sh", "-ec", show, "sh", g.cli(t, "env", "--user", name)))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	values := strings.Fields(lines[0])
	if len(lines) != 2 || len(values) != 2 || lines[0] != lines[1] {
		t.Fatalf("cellblock env --user %s does not set both pairs of variables alike", name)
	}
	return person{values[0], values[1]}
}

// script runs one client's script from clients/ to its end and returns the JSON object that it printed last.
func (g *gateway) script(t *testing.T, p person, name string) map[string]any {
	t.Helper()
	return g.startScript(t, p, name).finish(t)
}

// script is a client's script that runs.
type script struct {
	name      string
	cmd       *exec.Cmd
	in        io.WriteCloser // its standard input
	lines     *bufio.Scanner // of its standard output
	last      string
	complaint strings.Builder
}

// startScript starts one client's script for a person. It ends with the test at the latest.
func (g *gateway) startScript(t *testing.T, p person, name string) *script {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), scriptTime)
	t.Cleanup(cancel)
	program := filepath.Join(g.cache, "clients/bin/python")
	if !strings.HasSuffix(name, ".py") {
		program = filepath.Join(g.cache, "node/bin/node")
	}
	s := &script{name: name, cmd: exec.CommandContext(ctx, program, filepath.Join("clients", name))}
	s.cmd.Env = append(os.Environ(), "CELLBLOCK_URL="+p.url, "CELLBLOCK_TOKEN="+p.token, "E2E_CACHE="+g.cache,
		"E2E_ARTEFACTS="+g.artefacts, "NODE_PATH="+filepath.Join(g.cache, "node_modules"))
	s.cmd.Stderr = &s.complaint
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	s.cmd.WaitDelay = 10 * time.Second
	pipe, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	s.lines = bufio.NewScanner(pipe)
	s.lines.Buffer(nil, maxLine)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return s
}

// line waits for the next line that the script prints; false when it has ended.
func (s *script) line() bool {
	if !s.lines.Scan() {
		return false
	}
	s.last = s.lines.Text()
	return true
}

// finish waits for the script's end and returns the JSON object in its last line.
func (s *script) finish(t *testing.T) map[string]any {
	t.Helper()
	for s.line() {
	}
	if err := s.cmd.Wait(); err != nil {
		t.Fatalf("%s: %v\n%s", s.name, err, s.complaint.String())
	}
	var result map[string]any
	if err := json.Unmarshal([]byte(s.last), &result); err != nil {
		t.Fatalf("%s printed %q: %v", s.name, s.last, err)
	}
	return result
}
