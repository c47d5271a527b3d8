package prove

import (
	"context"
	"slices"
	"strings"
)

// finding is something that the observer found outside of places: at a listener, with the neighbour, on this machine.
type finding struct {
	probe string // who it was, if that can be known
	what  string
}

// gather adds what has been found since it was last called.
func (r *run) gather(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	add := func(probe, what string) { r.findings = append(r.findings, finding{probe, what}) }
	for _, c := range r.plant.heard() {
		if c.probe != "" {
			add(c.probe, c.where+" was reached")
		}
	}
	for _, id := range r.plant.marks() {
		add(id, "a file was made in a directory of the machine")
	}
	for _, f := range r.hearNeighbour() {
		probe, knocked := strings.CutPrefix(f.Detail, r.plant.knock+" ")
		if knocked {
			add(probe, "the neighbour's service was reached")
			continue
		}
		add("", "the neighbour noticed: "+f.What+" "+f.Detail)
	}
	changed := r.plant.changed(ctx)
	for _, what := range changed {
		if !slices.Contains(r.changed, what) {
			add("", what)
		}
	}
	r.changed = changed // each is told once, for as long as it lasts
}

// take removes and returns the findings of a batch: those of its own probes, and all others too when it runs alone. Of
// these nobody knows who it was.
func (r *run) take(b batch) (own map[string][]string, loose []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	own = map[string][]string{}
	var rest []finding
	for _, f := range r.findings {
		switch {
		case b.has(f.probe):
			own[f.probe] = append(own[f.probe], f.what)
		case b.exclusive():
			loose = append(loose, f.what)
		default:
			rest = append(rest, f)
		}
	}
	r.findings = rest
	return own, loose
}

// has reports whether a probe is in a batch.
func (b batch) has(id string) bool {
	return slices.ContainsFunc(b.probes, func(p Probe) bool { return p.ID == id })
}

// exclusive reports whether no other batch runs beside it.
func (b batch) exclusive() bool { return b.alone || len(b.without) == 0 }
