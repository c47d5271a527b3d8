package prove

import (
	"fmt"
	"slices"
	"strings"
)

// Verdict is what came of a probe.
type Verdict string

const (
	// Contained: it tried, the observer found nothing, and with the control taken away it gets through.
	Contained Verdict = "contained"
	// Escaped: it got something.
	Escaped Verdict = "escaped"
	// Inconclusive: it proves nothing, for a reason that the result names.
	Inconclusive Verdict = "inconclusive"
	// NotEnforceable: this machine does not have the limit that it is about. It was not run.
	NotEnforceable Verdict = "not enforceable here"
)

// Result is the report on one probe.
type Result struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Category string   `json:"category"`
	Tried    string   `json:"tried"`
	Verdict  Verdict  `json:"verdict"`
	Evidence string   `json:"evidence"`
	Control  []string `json:"control"`
	// ControlEvidence says what it got with the control taken away.
	ControlEvidence string `json:"control_evidence,omitempty"`
	// Flipped: with the control taken away it got through.
	Flipped bool `json:"flipped"`
	// EscapedPython: the sandbox that its code was in was made of Python, and it left that.
	EscapedPython bool `json:"escaped_python,omitempty"`
}

// tally is what one run of one probe says, and what the observer adds.
type tally struct {
	ran      bool
	gains    []string // what it got by its own words, and what was found
	refusals []string
	tricks   []string
	found    []string
	flaw     string // why the run proves nothing
}

// count reads the outcome of one run.
func count(p Probe, res result) tally {
	var t tally
	o := res.outcomes[p.ID]
	if res.err != nil && (o == nil || !o.ended) {
		t.flaw = res.err.Error()
		return t
	}
	if o == nil || !o.begun {
		t.flaw = "it was not run"
		return t
	}
	t.ran, t.found = true, res.finds[p.ID]
	finished := false
	for _, w := range o.words {
		text := w.What
		if w.Why != "" {
			text += ": " + w.Why
		}
		switch w.Kind {
		case "got", "reached":
			t.gains = append(t.gains, text)
		case "refused", "filtered":
			t.refusals = append(t.refusals, text)
		case "trick":
			t.tricks = append(t.tricks, w.What)
		case "end":
			finished = true
		default:
			t.flaw = "it said something that is no report: " + text
		}
	}
	switch {
	case !o.ended && p.Dies && p.Alone:
		t.refusals = append(t.refusals, "its place was ended")
	case !o.ended:
		t.flaw = "the runner ended while it ran"
	case o.why != "":
		t.flaw = "it was ended: " + o.why
	case !finished && !p.Dies:
		t.flaw = fmt.Sprintf("it broke off with status %d: %s", o.code, lastLine(o.output))
	}
	return t
}

// escaped says what a run got, in the order of what is most certain.
func (t tally) escaped() []string { return append(slices.Clone(t.found), t.gains...) }

// judge puts a probe's run and its control together.
func judge(p Probe, run, control result, missing map[string]string) Result {
	r := Result{ID: p.ID, Name: p.Name, Category: p.Category, Tried: p.Tries, Control: p.Control}
	if why := missing[p.Needs]; p.Needs != "" && why != "" {
		r.Verdict, r.Evidence = NotEnforceable, why
		return r
	}
	got, weak := count(p, run), count(p, control)
	r.EscapedPython = p.Escapes && len(got.tricks) > 0
	r.Flipped, r.ControlEvidence = flipped(p, weak)
	switch {
	case len(got.escaped()) > 0:
		r.Verdict, r.Evidence = Escaped, brief(got.escaped())
	case len(run.loose) > 0:
		r.Verdict, r.Evidence = Escaped, "somebody among those who ran with it: "+brief(run.loose)
	case got.flaw != "":
		r.Verdict, r.Evidence = Inconclusive, got.flaw
	case p.Escapes && len(got.tricks) == 0:
		r.Verdict, r.Evidence = Inconclusive, "it did not leave even the sandbox made of Python"
	case len(got.refusals) == 0:
		r.Verdict, r.Evidence = Inconclusive, "it tried nothing"
	case !r.Flipped:
		r.Verdict, r.Evidence = Inconclusive, "it got nothing, but neither with the control taken away: "+r.ControlEvidence
	default:
		r.Verdict, r.Evidence = Contained, evidence(p, got)
	}
	return r
}

// flipped reports whether a probe gets through without the control, and what it got. What cannot be put down to this
// very probe does not count.
func flipped(p Probe, weak tally) (bool, string) {
	switch {
	case p.Evidence == ByCanary && len(weak.found) > 0:
		return true, brief(weak.found)
	case p.Evidence != ByCanary && len(weak.gains) > 0:
		return true, brief(weak.gains)
	case weak.flaw != "":
		return false, weak.flaw
	case len(weak.escaped()) > 0:
		return false, "only by its own words: " + brief(weak.escaped())
	}
	return false, "refused: " + brief(weak.refusals)
}

// evidence says by what a probe was found contained.
func evidence(p Probe, got tally) string {
	var text string
	switch {
	case p.Escapes:
		text = "It left the sandbox of Python (" + brief(got.tricks) + "); outside there was nothing to get. "
	case p.Evidence == ByFilter:
		return fmt.Sprintf("The filter refused: %s.", brief(got.refusals))
	case p.Evidence == ByReport:
		return fmt.Sprintf("Refused: %s. The observer found nothing.", brief(got.refusals))
	}
	return text + fmt.Sprintf("The observer found nothing; %d attempts.", len(got.refusals))
}

// brief joins the first of a list.
func brief(list []string) string {
	const most = 4
	list = slices.Compact(slices.Clone(list))
	if len(list) <= most {
		return strings.Join(list, "; ")
	}
	return strings.Join(list[:most], "; ") + fmt.Sprintf("; and %d more", len(list)-most)
}

// lastLine is the end of a probe's output, where Python says what was wrong.
func lastLine(output []byte) string {
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	return fmt.Sprintf("%.200q", lines[len(lines)-1])
}
