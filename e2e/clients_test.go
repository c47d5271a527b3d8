//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const scriptTime = 3 * time.Minute // for one client's script

// TestClients runs existing Jupyter clients, as they are published, against one gateway.
func TestClients(t *testing.T) {
	g := startGateway(t, "")
	alice := person{g.url, g.user(t, "alice")}
	for _, row := range []struct{ name, script string }{
		{"jupyter_server in gateway mode", "server_cells.py"},
		{"jupyter-kernel-client", "kernel_client.py"},
		{"@jupyterlab/services", "services.cjs"},
		{"JupyterLab in Chromium", "lab_notebook.cjs"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Log(g.script(t, alice, row.script))
		})
	}
}

// script runs one client's script from clients/ and returns the JSON object that it printed.
func (g *gateway) script(t *testing.T, p person, name string) map[string]any {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), scriptTime)
	defer cancel()
	program := filepath.Join(g.cache, "clients/bin/python")
	if !strings.HasSuffix(name, ".py") {
		program = "node"
	}
	cmd := exec.CommandContext(ctx, program, filepath.Join("clients", name))
	cmd.Env = append(os.Environ(), "CELLBLOCK_URL="+p.url, "CELLBLOCK_TOKEN="+p.token, "E2E_CACHE="+g.cache,
		"E2E_ARTEFACTS="+g.artefacts, "NODE_PATH="+filepath.Join(g.cache, "node_modules"))
	out, err := output(cmd)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var result map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &result); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
	return result
}
