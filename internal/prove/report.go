package prove

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Report is what a run found.
type Report struct {
	Level   string    `json:"level"`
	Started time.Time `json:"started"`
	Seconds int       `json:"seconds"`
	Place   string    `json:"place"` // the machine and the engine, in a line
	Version string    `json:"version"`

	Counts   map[Verdict]int `json:"counts"`
	Probes   []Result        `json:"probes"`
	Controls []Ablation      `json:"controls"`
	// NotPlanted says which canaries there were none of.
	NotPlanted []string `json:"not_planted"`
	// Left says what places have left behind.
	Left []string `json:"left"`
}

// Ablation is what came of taking one control away, and nothing else.
type Ablation struct {
	Name    string   `json:"name"`
	What    string   `json:"what"`
	Missing string   `json:"missing,omitempty"` // why this machine cannot enforce it
	Flips   []string `json:"flips"`             // probes that then get through
	Tried   int      `json:"tried"`             // probes that should
}

// Untested reports whether the control is there and no probe gets through without it: then nobody knows what it is for.
func (a Ablation) Untested() bool { return a.Missing == "" && len(a.Flips) == 0 }

// Passed reports whether everything was contained or cannot be enforced here, and nothing was left behind.
func (r *Report) Passed() bool {
	return r.Counts[Escaped] == 0 && r.Counts[Inconclusive] == 0 && len(r.Left) == 0
}

// ablation counts, and says for each control which probes prove it.
func (r *Report) ablation(controls []Control, probes []Probe) {
	r.Counts = map[Verdict]int{Contained: 0, Escaped: 0, Inconclusive: 0, NotEnforceable: 0}
	single := map[string][]Result{}
	for i, p := range probes {
		r.Counts[r.Probes[i].Verdict]++
		if len(p.Control) == 1 {
			single[p.Control[0]] = append(single[p.Control[0]], r.Probes[i])
		}
	}
	for _, c := range controls {
		a := Ablation{Name: c.Name, What: c.What, Missing: c.Missing, Flips: []string{}, Tried: len(single[c.Name])}
		for _, result := range single[c.Name] {
			if result.Flipped && result.Verdict != Escaped {
				a.Flips = append(a.Flips, result.Name)
			}
		}
		r.Controls = append(r.Controls, a)
	}
	slices.SortStableFunc(r.Probes, func(a, b Result) int {
		return cmp.Or(cmp.Compare(slices.Index(Categories, a.Category), slices.Index(Categories, b.Category)), cmp.Compare(a.ID, b.ID))
	})
}

// Summary is the result in a few lines.
func (r *Report) Summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d probes: %d contained, %d escaped, %d inconclusive, %d not enforceable here (%d s)\n", len(r.Probes),
		r.Counts[Contained], r.Counts[Escaped], r.Counts[Inconclusive], r.Counts[NotEnforceable], r.Seconds)
	free := 0
	for _, p := range r.Probes {
		if p.EscapedPython && p.Verdict == Contained {
			free++
		}
	}
	if free > 0 {
		fmt.Fprintf(&b, "%d of them left a sandbox made of Python, with success, and outside there was nothing to get: Python is no boundary.\n", free)
	}
	tested, untested := 0, []string{}
	for _, c := range r.Controls {
		switch {
		case c.Untested():
			untested = append(untested, c.Name)
		case c.Missing == "":
			tested++
		}
	}
	fmt.Fprintf(&b, "%d controls hold: without any one of them probes get through.\n", tested)
	if len(untested) > 0 {
		fmt.Fprintf(&b, "No probe gets through without these controls, which are thus not tested: %s.\n", strings.Join(untested, ", "))
	}
	for _, what := range r.Left {
		fmt.Fprintf(&b, "Left behind: %s\n", what)
	}
	for _, what := range r.NotPlanted {
		fmt.Fprintf(&b, "Note: %s.\n", what)
	}
	return b.String()
}

// Text writes the report for a terminal: what is not contained at the end, where it is seen.
func (r *Report) Text(w io.Writer) error {
	var b strings.Builder
	for _, category := range Categories {
		first := true
		for _, p := range r.Probes {
			if p.Category != category {
				continue
			}
			if first {
				fmt.Fprintf(&b, "\n%s\n", category)
				first = false
			}
			fmt.Fprintf(&b, "  %-5s  %-28s %-20s  %s\n", p.ID, p.Name, p.Verdict, p.Evidence)
		}
	}
	b.WriteString("\nWithout each control\n")
	for _, c := range r.Controls {
		fmt.Fprintf(&b, "  %-18s %s\n", c.Name, c.told())
	}
	b.WriteString("\n" + r.Summary())
	for _, p := range r.Probes {
		if p.Verdict == Escaped || p.Verdict == Inconclusive {
			fmt.Fprintf(&b, "\n%s: %s %s tries to %s.\n    %s\n", strings.ToUpper(string(p.Verdict)), p.ID, p.Name, p.Tried, p.Evidence)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (a Ablation) told() string {
	switch {
	case a.Missing != "":
		return "not enforceable here: " + a.Missing
	case a.Untested():
		return fmt.Sprintf("NOT TESTED: none of %d probes gets through", a.Tried)
	}
	return fmt.Sprintf("%d of %d probes get through: %s", len(a.Flips), a.Tried, brief(a.Flips))
}
