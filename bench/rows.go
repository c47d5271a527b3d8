package main

import (
	"fmt"
	"strings"
)

// row is one line of the table.
type row struct {
	name      string
	key, base string // of the samples; base is the key of direct ZeroMQ's
	show      func(sample) string
	figure    func(sample) float64 // what ratios are made of; nil makes none
	goal      string               // as the project has set it for Cellblock; empty for rows that only inform
	met       func(own, direct, best sample) bool
}

// sample gives what was measured of one contender in one row, by the suffix of its key.
type sample func(suffix string) values

func (r row) sample(all *results, contender string) sample {
	key := r.key
	if contender == direct {
		key = r.base
	}
	return func(suffix string) values { return all.get(key+suffix, contender) }
}

// What goals allow.
const (
	tripOver     = 0.15 // milliseconds over direct, of half of the round trips
	tripOverTail = 0.6  // of 99 of 100
	timesBest    = 30   // as many messages as the best other gateway
	cpuGoal      = 2.0  // seconds for 100 000 small messages
)

func tripRow(kind string, o dialOptions) row {
	name := fmt.Sprintf("%s, %s, %s client", kind, formats[o.v1], clients[o.quick])
	return row{
		name: name + " (ms, p50 / p99)", key: tripKey(kind, o), base: kind,
		show:   func(s sample) string { return fmt.Sprintf("%.2f / %.2f", s("").median(), s("").at(0.99)) },
		figure: func(s sample) float64 { return s("").median() },
		goal:   fmt.Sprintf("direct + %.2f / + %.1f", tripOver, tripOverTail),
		met: func(own, direct, _ sample) bool {
			return own("").median() <= direct("").median()+tripOver && own("").at(0.99) <= direct("").at(0.99)+tripOverTail
		},
	}
}

// outputGoals are in messages a second, for small ones, and in MB a second for large ones.
var outputGoals = map[string]float64{outputKey(100, true): 100_000, outputKey(100, false): 60_000,
	outputKey(1_000_000, true): 250, outputKey(1_000_000, false): 250}

func outputRow(size int, v1 bool) row {
	unit, scale := "messages/s", 1.0
	if size >= 1_000_000 {
		unit, scale = "MB/s", float64(size)/1e6
	}
	key := outputKey(size, v1)
	r := row{
		name: fmt.Sprintf("output of %s, %s (%s)", bytesText(size), formats[v1], unit), key: key, base: fmt.Sprintf("output %d", size),
		figure: func(s sample) float64 { return s(" rate").median() * scale },
	}
	r.show = func(s sample) string { return thousands(r.figure(s)) + lostText(s) }
	if goal := outputGoals[key]; goal > 0 {
		r.goal = "≥ " + thousands(goal)
		if size == 100 {
			r.goal += fmt.Sprintf(", %d × best", timesBest)
		}
		r.met = func(own, _, best sample) bool {
			return r.figure(own) >= goal && own(" lost").max() == 0 && (size > 100 || best == nil || r.figure(own) >= timesBest*r.figure(best))
		}
	}
	return r
}

func cpuRow(v1 bool) row {
	figure := func(s sample) float64 { return s("").median() }
	return row{
		name: fmt.Sprintf("server CPU for 100 000 of 100 B, %s (s)", formats[v1]), key: outputKey(100, v1) + " cpu",
		show: func(s sample) string { return fmt.Sprintf("%.2f", figure(s)) }, figure: figure,
		goal: fmt.Sprintf("≤ %.0f", cpuGoal), met: func(own, _, _ sample) bool { return figure(own) <= cpuGoal },
	}
}

func lossRow(rate int, v1 bool) row {
	name := "flat out"
	if rate > 0 {
		name = "at " + thousands(float64(rate)) + "/s"
	}
	r := row{
		name: fmt.Sprintf("lost of 100 000 %s, %s", name, formats[v1]), key: lossKey(rate, v1), base: fmt.Sprintf("loss %d", rate),
		show: func(s sample) string {
			lost := s(" lost")
			text := fmt.Sprintf("%s (%s–%s), idle %s, reply %s", thousands(lost.median()), thousands(lost.at(0)), thousands(lost.max()),
				share(s(" idle")), share(s(" reply")))
			if s(" wrong").sum() > 0 {
				text += fmt.Sprintf(", %.0f doubled or out of order", s(" wrong").sum())
			}
			return text
		},
	}
	ended := func(s sample) bool { return s(" idle").at(0) == 1 && s(" reply").at(0) == 1 && s(" wrong").sum() == 0 }
	switch rate {
	case 50_000:
		r.goal = "none, idle and reply always"
		r.met = func(own, _, _ sample) bool { return own(" lost").max() == 0 && ended(own) }
	case 0:
		r.goal = "≤ direct, idle and reply always"
		r.met = func(own, direct, _ sample) bool {
			return own(" lost").median() <= direct(" lost").median() && ended(own)
		}
	}
	return r
}

// rows is the table.
func rows() (all []row) {
	for _, kind := range []string{"kernel_info", "execute"} {
		for _, o := range []dialOptions{{v1: true}, {v1: true, quick: true}, {}, {quick: true}} {
			all = append(all, tripRow(kind, o))
		}
	}
	for _, size := range []int{100, 10_000, 1_000_000} {
		all = append(all, outputRow(size, true), outputRow(size, false))
	}
	all = append(all, cpuRow(true), cpuRow(false))
	for _, rate := range lossRates {
		all = append(all, lossRow(rate, true), lossRow(rate, false))
	}
	return all
}

// thousands writes a number with a space between each three digits.
func thousands(x float64) string {
	text := fmt.Sprintf("%.0f", x)
	if x != 0 && x < 10 {
		return fmt.Sprintf("%.1f", x)
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + " " + text[i:]
	}
	return text
}

func bytesText(n int) string {
	return strings.NewReplacer("000000", " MB", "000", " kB").Replace(fmt.Sprint(n)) + map[bool]string{true: " B"}[n < 1000]
}

// share writes how many of the samples are 1.
func share(v values) string { return fmt.Sprintf("%.0f/%d", v.sum(), len(v)) }

func lostText(s sample) string {
	if lost := s(" lost").sum(); lost > 0 {
		return fmt.Sprintf(" (%s lost)", thousands(lost))
	}
	return ""
}
