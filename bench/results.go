package main

import (
	"fmt"
	"slices"
	"time"
)

// results are all samples, by what was measured and then by contender. None is ever taken out.
type results struct {
	samples map[string]map[string][]float64
	notes   []string // what went wrong, and what a reader has to know
}

func newResults() *results { return &results{samples: map[string]map[string][]float64{}} }

func (r *results) add(key, contender string, values ...float64) {
	if r.samples[key] == nil {
		r.samples[key] = map[string][]float64{}
	}
	r.samples[key][contender] = append(r.samples[key][contender], values...)
}

// addTimes adds durations in milliseconds.
func (r *results) addTimes(key, contender string, times []time.Duration) {
	for _, t := range times {
		r.add(key, contender, t.Seconds()*1e3)
	}
}

// addOutcome adds all that a burst gave.
func (r *results) addOutcome(key, contender string, o outcome) {
	r.add(key+" rate", contender, o.rate())
	r.add(key+" lost", contender, float64(o.Lost))
	r.add(key+" wrong", contender, float64(o.Doubled+o.Disordered))
	r.add(key+" idle", contender, number(o.Idle))
	r.add(key+" reply", contender, number(o.Reply))
	r.add(key+" notices", contender, float64(o.Notices))
}

func (r *results) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

func (r *results) get(key, contender string) values { return r.samples[key][contender] }

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// values are samples of one kind.
type values []float64

// at returns the value below which that part of the samples lies; 0 of none.
func (v values) at(part float64) float64 {
	if len(v) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(v))
	return sorted[min(len(sorted)-1, int(part*float64(len(sorted))))]
}

func (v values) median() float64 { return v.at(0.5) }

func (v values) sum() (sum float64) {
	for _, x := range v {
		sum += x
	}
	return sum
}

func (v values) max() float64 {
	if len(v) == 0 {
		return 0
	}
	return slices.Max(v)
}
