//go:build integration

package containers_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cellblock.io/cellblock/containers"
)

// What ordinary work needs goes on under all that keeps kernels in (testdata/science.py says what that is).
func TestPodmanScience(t *testing.T) {
	p := open(t, func(c *containers.Config) { c.Images = []string{pythonImage} })
	handle := p.launch(t, "alice", nil)
	p.ready(t, handle)
	verdicts := map[string]string{}
	text := p.python(t, handle, "science.py")
	if err := json.Unmarshal([]byte(text), &verdicts); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if len(verdicts) < 20 {
		t.Errorf("only %d groups ran: %v", len(verdicts), verdicts)
	}
	for name, verdict := range verdicts {
		if verdict != "ok" {
			t.Errorf("%s: %s", name, verdict)
		}
	}
}

// ready waits until a kernel of the Python image has gone through its entry and made its sockets.
func (p *place) ready(t *testing.T, handle string) {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		out, err := exec.Command("podman", "exec", p.container(handle, false), "ls", "/run/cellblock/sock").CombinedOutput()
		if err == nil && strings.Contains(string(out), "k-5") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the kernel makes no sockets: %s (%v)", out, err)
		}
	}
}

// python runs a script of testdata in a kernel's container, beside the kernel and under the same controls.
func (p *place) python(t *testing.T, handle, script string, args ...string) string {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", script))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// A file of the workspace: what multiprocessing spawns reads it again.
	run := []string{"exec", "--interactive", p.container(handle, false), "sh", "-c",
		`cat >"$HOME/$0" && exec /opt/kernel/bin/python "$HOME/$0" "$@"`, script}
	cmd := exec.Command("podman", append(run, args...)...)
	cmd.Stdin = f
	out, err := cmd.Output()
	if err != nil {
		var complaint []byte
		if exit, ok := err.(*exec.ExitError); ok {
			complaint = exit.Stderr
		}
		t.Fatalf("%s: %v: %s", script, err, complaint)
	}
	return string(out)
}
