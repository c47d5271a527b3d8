//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// diagnosis is the JSON of cellblock doctor, as docs/doctor.md has it.
type diagnosis struct {
	Schema   int            `json:"schema"`
	Passed   bool           `json:"passed"`
	Counts   map[string]int `json:"counts"`
	Findings []struct {
		ID, Severity, Found, Why, Remedy string
		Ignored                          bool
	} `json:"findings"`
}

func (d diagnosis) finding(t *testing.T, id string) (severity, found string) {
	t.Helper()
	for _, f := range d.Findings {
		if f.ID == id {
			return f.Severity, f.Found
		}
	}
	t.Fatalf("doctor says nothing of %s", id)
	return "", ""
}

// The real command says of this machine what is known of it in other ways, with and without a gateway, to root and to
// the gateway's user.
func TestDoctor(t *testing.T) {
	g := startGateway(t, "")
	wantLimits := map[string]string{"ok": "ok", "degraded": "warn"}[g.health(t)] // the gateway of this test allows it
	running := g.doctor(t, g.as(t.Context(), g.program(), "doctor", "--json", "--config", g.config))
	byRoot := g.doctor(t, exec.CommandContext(t.Context(), g.binary, "doctor", "--json", "--config", g.config))
	g.stop(t)
	alone := g.doctor(t, g.as(t.Context(), g.program(), "doctor", "--json", "--config", g.config))
	g.start(t)

	for name, d := range map[string]diagnosis{"without a gateway": alone, "beside it": running, "root": byRoot} {
		if d.Schema != 1 || len(d.Findings) < 60 {
			t.Errorf("%s: schema %d with %d findings", name, d.Schema, len(d.Findings))
		}
		for _, id := range []string{"engine.rootless", "engine.seccomp", "engine.storage", "user.account", "user.subordinate_ids", "image.bridge", "image.kernels", "image.setuid"} {
			if severity, found := d.finding(t, id); severity != "ok" {
				t.Errorf("%s: %s is %s: %s", name, id, severity, found)
			}
		}
		if severity, found := d.finding(t, "engine.limits"); severity != wantLimits {
			t.Errorf("%s: limits: %s: %s", name, severity, found)
		}
		checkSettings(t, d)
	}
	if severity, _ := alone.finding(t, "redis.eviction"); severity != "unknown" {
		t.Errorf("Redis without a gateway: %s", severity)
	}
	for _, d := range []diagnosis{running, byRoot} {
		for _, id := range []string{"redis.version", "redis.eviction", "service.oom_score"} {
			if severity, found := d.finding(t, id); severity != "ok" {
				t.Errorf("%s beside a gateway: %s: %s", id, severity, found)
			}
		}
		if _, found := d.finding(t, "engine.answers"); !strings.Contains(found, "the gateway's own service") {
			t.Errorf("engine.answers: %s", found)
		}
	}
	if _, found := running.finding(t, "user.account"); !strings.Contains(found, "as "+g.instance+" (") {
		t.Errorf("the gateway's user: %s", found)
	}
}

// checkSettings compares what doctor says of the Linux kernel with what the kernel says.
func checkSettings(t *testing.T, d diagnosis) {
	t.Helper()
	for _, name := range []string{"kernel.kptr_restrict", "kernel.pty.max", "fs.suid_dumpable", "vm.overcommit_memory"} {
		value, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("%s is %s.", name, strings.TrimSpace(string(value)))
		if _, found := d.finding(t, "sysctl."+name); found != want {
			t.Errorf("%q, want %q", found, want)
		}
	}
}

// doctor runs the command, whose exit status must be what its findings say.
func (g *gateway) doctor(t *testing.T, cmd *exec.Cmd) diagnosis {
	t.Helper()
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	var d diagnosis
	if bad := json.Unmarshal(out, &d); bad != nil {
		t.Fatalf("%v: %v, %v\n%s%s", cmd.Args, err, bad, out, complaint.String())
	}
	if d.Passed != (err == nil) || d.Passed != (d.Counts["fail"] == 0) || complaint.Len() > 0 {
		t.Errorf("passed %v, %v, %v %s", d.Passed, d.Counts, err, complaint.String())
	}
	return d
}

// health is the gateway's own word.
func (g *gateway) health(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandTime)
	defer cancel()
	out, err := output(g.as(ctx, g.program(), "status", "--json", "--config", g.config))
	if err != nil {
		t.Fatal(err)
	}
	var s struct{ Status string }
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatal(err)
	}
	return s.Status
}
