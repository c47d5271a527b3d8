package prove_test

import (
	"strings"
	"testing"
	"time"

	"cellblock.io/cellblock/internal/prove"
)

func sample() *prove.Report {
	return &prove.Report{
		Level: "container", Started: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), Place: "Linux 6", Version: "1",
		Counts: map[prove.Verdict]int{prove.Contained: 1, prove.NotEnforceable: 1},
		Probes: []prove.Result{
			{ID: "PY-01", Name: "walk", Category: "python", Tried: "walk", Verdict: prove.Contained, Evidence: "nothing | `x` <b>", Control: []string{"network"}, EscapedPython: true},
			{ID: "RX-20", Name: "bomb", Category: "resources", Tried: "burst", Verdict: prove.NotEnforceable, Evidence: "no controller", Control: []string{"memory"}},
		},
		Controls: []prove.Ablation{
			{Name: "network", What: "none", Flips: []string{"walk"}, Tried: 1}, {Name: "memory", What: "a limit", Missing: "no controller"},
		},
	}
}

func TestMarkdown(t *testing.T) {
	var b strings.Builder
	if err := sample().Markdown(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# Containment", "2026-11-28", "These escapes *succeed*", `| PY-01 | walk | walk | contained | nothing \| 'x' &lt;b> | network |`,
		"| RX-20 | bomb | burst | not enforceable here | no controller | memory |", "| network | none | 1 of 1 probes get through: walk |",
		"1 of them left a sandbox made of Python",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, b.String())
		}
	}
}

func TestPassed(t *testing.T) {
	if r := sample(); !r.Passed() {
		t.Error("what cannot be enforced counts as a failure")
	}
	for name, spoil := range map[string]func(*prove.Report){
		"escaped":      func(r *prove.Report) { r.Counts[prove.Escaped] = 1 },
		"inconclusive": func(r *prove.Report) { r.Counts[prove.Inconclusive] = 1 },
		"left":         func(r *prove.Report) { r.Left = []string{"a process"} },
	} {
		r := sample()
		spoil(r)
		if r.Passed() {
			t.Errorf("passed although something %s", name)
		}
	}
}
