//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"testing"
	"time"
)

// proveTime is for all probes on a slow machine.
const proveTime = 12 * time.Minute

// proof is the part of `cellblock prove --json` that is looked at here.
type proof struct {
	Seconds int
	Counts  map[string]int
	Probes  []struct {
		ID, Name, Category, Verdict, Evidence string
		ControlEvidence                       string `json:"control_evidence"`
		Flipped                               bool
		EscapedPython                         bool `json:"escaped_python"`
	}
	Controls []struct {
		Name, Missing string
		Flips         []string
	}
	Left []string
}

// Every probe of the corpus is contained on this machine, or about a limit that it cannot enforce; every control that it
// has is proved by one probe at least; and a person's kernel beside it notices nothing.
func TestProve(t *testing.T) {
	g := startGateway(t, "")
	alice := person{g.url, g.user(t, "alice")}
	id := alice.newKernel(t)
	cell := alice.connect(t, id, randomHex(t, 16))
	cell.execute(t, "hers = 42")

	ctx, cancel := context.WithTimeout(t.Context(), proveTime)
	defer cancel()
	cmd := g.as(ctx, "env", "CELLBLOCK_CONFIG="+g.config, g.program(), "prove", "--json")
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	failed := cmd.Run()
	var p proof
	if err := json.Unmarshal(out.Bytes(), &p); err != nil {
		t.Fatalf("%v, %v: %s", failed, err, complaints.String())
	}
	if failed != nil {
		t.Errorf("it ended with %v: %s", failed, complaints.String())
	}
	t.Logf("%d probes in %d s: %v", len(p.Probes), p.Seconds, p.Counts)
	checkProof(t, p)

	if got := cell.execute(t, "print(hers)"); got != "42\n" {
		t.Errorf("her kernel says %q", got)
	}
	if got := g.cli(t, "kernels", "list", "--json"); bytes.Count([]byte(got), []byte(`"id"`)) != 1 {
		t.Errorf("kernels after it: %s", got)
	}
	if left, err := filepath.Glob(filepath.Join(g.run, "prove*")); err != nil || len(left) > 0 {
		t.Errorf("left in the run directory: %v, %v", left, err)
	}
	if left := g.podman(t, "ps", "--all", "--quiet", "--filter", "name=^prove-"); len(left) > 0 {
		t.Errorf("containers left: %s", left)
	}
	if left := g.podman(t, "volume", "ls", "--quiet", "--filter", "name=^prove-"); len(left) > 0 {
		t.Errorf("volumes left: %s", left)
	}
}

// checkProof says of each probe and control what is not as it should be.
func checkProof(t *testing.T, p proof) {
	t.Helper()
	if len(p.Probes) < 150 {
		t.Errorf("only %d probes", len(p.Probes))
	}
	for _, probe := range p.Probes {
		switch {
		case probe.Verdict == "contained" && probe.Flipped:
		case probe.Verdict == "not enforceable here" && probe.Evidence != "":
		default:
			t.Errorf("%s %s: %s, %s (control: %s)", probe.ID, probe.Name, probe.Verdict, probe.Evidence, probe.ControlEvidence)
		}
		if probe.Category == "python" && !probe.EscapedPython {
			t.Errorf("%s %s did not leave the sandbox made of Python", probe.ID, probe.Name)
		}
	}
	for _, c := range p.Controls {
		if c.Missing == "" && len(c.Flips) == 0 {
			t.Errorf("no probe gets through without %s", c.Name)
		}
	}
	for _, what := range p.Left {
		t.Errorf("left behind: %s", what)
	}
}
