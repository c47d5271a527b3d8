package main

import (
	"bufio"
	"fmt"
	"strings"

	"cellblock.io/cellblock/internal/doctor"
)

// lineWidth is where text is broken that is not to be copied.
const lineWidth = 100

// groupTitles are the headings, by the first word of an ID.
var groupTitles = map[string]string{
	"engine": "Podman", "user": "Users and ids", "files": "Files", "capacity": "Room", "image": "Images", "gateway": "The gateway",
	"redis": "Redis", "service": "The gateway's process", "kernel": "The Linux kernel", "cpu": "Processors", "memory": "Memory",
	"sysctl": "Settings of the Linux kernel", "module": "Parts of the Linux kernel",
}

// severities are the words and colours of a terminal for each outcome.
var severities = map[doctor.Severity]struct{ word, colour string }{
	doctor.Fail: {"FAIL", "\x1b[1;31m"}, doctor.Warn: {"warn", "\x1b[33m"}, doctor.OK: {"ok", "\x1b[32m"},
	doctor.NotApplicable: {"n/a", ""}, doctor.Unknown: {"?", "\x1b[36m"},
}

const plain = "\x1b[0m"

// printDiagnosis writes for people: by groups, what is not as it should be, why that matters and what to do.
func (a *app) printDiagnosis(d diagnosis, verbose bool) error {
	w := bufio.NewWriter(a.Out)
	colours := isTerminal(a.Out) && a.Getenv("NO_COLOR") == ""
	for i, group := range groups(d.Findings, verbose) {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, groupTitles[group[0].Group()])
		for _, f := range group {
			printFinding(w, f, longest(group), colours)
		}
	}
	fmt.Fprintf(w, "\n%s\n", summary(d, verbose))
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// groups puts together what is shown under one heading.
func groups(findings []finding, verbose bool) (list [][]finding) {
	for _, f := range findings {
		switch {
		case f.well() && !verbose:
		case len(list) > 0 && list[len(list)-1][0].Group() == f.Group():
			list[len(list)-1] = append(list[len(list)-1], f)
		default:
			list = append(list, []finding{f})
		}
	}
	return list
}

// well says whether there is nothing to do.
func (f finding) well() bool {
	return f.Ignored || f.Severity == doctor.OK || f.Severity == doctor.NotApplicable
}

// longest is the width of the IDs of what takes one line.
func longest(group []finding) (width int) {
	for _, f := range group {
		if f.well() {
			width = max(width, len(f.ID))
		}
	}
	return width
}

// printFinding writes one line of what is well, and else also why it matters and what to do. Commands are not broken.
func printFinding(w *bufio.Writer, f finding, width int, colours bool) {
	s := severities[f.Severity]
	word := fmt.Sprintf("%-4s", s.word)
	if colours && s.colour != "" {
		word = s.colour + word + plain
	}
	if f.well() {
		fmt.Fprintf(w, "  %s  %-*s  %s\n", word, width, f.ID, harmless(f.Found))
		return
	}
	fmt.Fprintf(w, "  %s  %s\n", word, f.ID)
	text := f.Found
	if f.Severity != doctor.Unknown {
		text += " " + f.Why
	}
	for _, line := range wrap(harmless(text), lineWidth-8) {
		fmt.Fprintf(w, "        %s\n", line)
	}
	if f.Remedy != "" {
		fmt.Fprintf(w, "        > %s\n", harmless(f.Remedy))
	}
}

// wrap breaks a text between words.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return append(lines, line)
}

func summary(d diagnosis, verbose bool) string {
	n := func(s doctor.Severity) int { return d.Counts[string(s)] }
	text := fmt.Sprintf("%d failed, %d warnings, %d fine, %d not applicable, %d unknown",
		n(doctor.Fail), n(doctor.Warn), n(doctor.OK), n(doctor.NotApplicable), n(doctor.Unknown))
	if ignored := d.Counts["ignored"]; ignored > 0 {
		text += fmt.Sprintf(", %d ignored", ignored)
	}
	if !verbose {
		text += " (--verbose shows all)"
	}
	return text
}
