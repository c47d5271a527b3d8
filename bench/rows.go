package main

import (
	"fmt"
	"strings"
)

// row is one line of the table.
type row struct {
	name      string
	key, base string // of the samples; base is the key of direct ZeroMQ's, key when empty
	show      func(sample) string
	figure    func(sample) float64 // what contenders are compared by; nil when nothing is
	more      bool                 // is better than less
	goal      string               // as the project has set it for Cellblock; empty in rows that only inform
	met       func(sides) bool
	others    bool   // only makes sense when other gateways were measured
	short     string // its name in the README; empty leaves it out there
}

// sample is what was measured of one contender in one row.
type sample struct {
	all            *results
	contender, key string
}

// get returns the samples whose key ends so.
func (s sample) get(suffix string) values { return s.all.get(s.key+suffix, s.contender) }

// of is another row's sample of the same contender.
func (s sample) of(key string) sample { return sample{s.all, s.contender, key} }

// any reports whether there are samples at all.
func (s sample) any() bool { return len(s.get("")) > 0 || len(s.get(" lost")) > 0 }

// sides are those that a goal may speak of. best is the best other gateway.
type sides struct{ own, direct, best sample }

func (r row) sample(all *results, contender string) sample {
	if contender == direct && r.base != "" {
		return sample{all, contender, r.base}
	}
	return sample{all, contender, r.key}
}

// rows is the table.
func rows() (all []row) {
	for _, kind := range []string{"kernel_info", "execute"} {
		for _, o := range []dialOptions{{v1: true}, {v1: true, quick: true}, {}, {quick: true}} {
			all = append(all, tripRow(kind, o))
		}
		all = append(all, jupyterClientRow(kind))
	}
	all = append(all, connectRow())
	for _, size := range outputSizes {
		all = append(all, outputRow(size, true), outputRow(size, false))
	}
	all = append(all, timesBestRow(true), timesBestRow(false), manyRow(), cpuRow(true), cpuRow(false))
	for _, rate := range lossRates {
		all = append(all, lossRow(rate, true), lossRow(rate, false))
	}
	all = append(all, replayRow())
	for _, kind := range []string{"kernel_info", "execute"} {
		all = append(all, pythonTripRow(kind, dialOptions{v1: true}), pythonTripRow(kind, dialOptions{v1: true, quick: true}))
	}
	for _, c := range pythonCells {
		all = append(all, pythonCellRow(c))
	}
	return append(all, idleRows()...)
}

// thousands writes a number with a space between each three digits.
func thousands(x float64) string {
	text := fmt.Sprintf("%.0f", x)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + " " + text[i:]
	}
	return text
}

func bytesText(n int) string {
	switch {
	case n >= 1_000_000:
		return fmt.Sprintf("%d MB", n/1_000_000)
	case n >= 1_000:
		return fmt.Sprintf("%d kB", n/1_000)
	}
	return fmt.Sprintf("%d B", n)
}

// share writes how many of the samples are 1.
func share(v values) string { return fmt.Sprintf("%.0f/%d", v.sum(), len(v)) }

// faults lists what went wrong with bursts, if anything did.
func faults(s sample) string {
	var all []string
	if lost := s.get(" lost").sum(); lost > 0 {
		all = append(all, thousands(lost)+" lost")
	}
	if wrong := s.get(" wrong").sum(); wrong > 0 {
		all = append(all, thousands(wrong)+" doubled or out of order")
	}
	for _, end := range []string{" idle", " reply"} {
		if v := s.get(end); v.sum() < float64(len(v)) {
			all = append(all, share(v)+end)
		}
	}
	if len(all) == 0 {
		return ""
	}
	return " (" + strings.Join(all, ", ") + ")"
}

// ended says that each burst's idle and reply arrived, and that nothing came twice or out of order.
func ended(s sample) bool {
	return s.get(" idle").at(0) == 1 && s.get(" reply").at(0) == 1 && s.get(" wrong").sum() == 0
}

// whole says that nothing was lost besides.
func whole(s sample) bool { return ended(s) && s.get(" lost").max() == 0 }

// half is the figure of most rows: the value below which half of the samples lie.
func half(s sample) float64 { return s.get("").median() }
