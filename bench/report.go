package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// table is the finished one, a heading first.
type table [][]string

// columns are those of all contenders, direct ZeroMQ first.
func (b *bench) columns() []string {
	all := []string{direct}
	for _, c := range b.contenders {
		all = append(all, c.name)
	}
	return all
}

// table makes a line of each row of which Cellblock, or anybody, has samples.
func (b *bench) table() (t table, missed []string) {
	columns := b.columns()
	t = table{append(append([]string{""}, columns...), "goal", "")}
	others := len(b.contenders) > 1
	if others {
		t[0] = append(t[0], "to the best other")
	}
	for _, r := range rows() {
		if r.others && !others {
			continue
		}
		line := []string{r.name}
		measured := false
		for _, c := range columns {
			cell := "–"
			if s := r.sample(b.results, c); s.any() {
				cell, measured = r.show(s), true
			}
			line = append(line, cell)
		}
		if !measured {
			continue
		}
		verdict := b.verdict(r)
		line = append(line, r.goal, verdict)
		if others {
			line = append(line, b.ratio(r))
		}
		if verdict == notMet {
			missed = append(missed, shortfall(r.name, line, b.ratio(r)))
		}
		t = append(t, line)
	}
	return t, missed
}

const notMet = "NOT MET"

// shortfall says by how much a goal was missed. line is that of the table: name, direct, Cellblock, ..., goal, verdict.
func shortfall(name string, line []string, ratio string) string {
	var parts []string
	for _, p := range []struct{ what, is string }{{"Cellblock", line[2]}, {"direct", line[1]}, {"against the best other", ratio}} {
		if p.is != "" {
			parts = append(parts, p.what+" "+p.is)
		}
	}
	return name + ": " + strings.Join(parts, ", ")
}

func (b *bench) verdict(r row) string {
	own := r.sample(b.results, cellblock)
	switch {
	case r.met == nil || !own.any():
		return ""
	case r.met(sides{own, r.sample(b.results, direct), b.best(r)}):
		return "met"
	}
	return notMet
}

// best is the best other gateway's sample, an empty one when there is none.
func (b *bench) best(r row) (best sample) {
	best.all = b.results
	if r.figure == nil {
		return best
	}
	for _, c := range b.contenders {
		s := r.sample(b.results, c.name)
		if c.name == cellblock || !s.any() {
			continue
		}
		if !best.any() || (r.figure(s) > r.figure(best)) == r.more {
			best = s
		}
	}
	return best
}

// ratio says how many times better Cellblock is than the best other gateway.
func (b *bench) ratio(r row) string {
	own, best := r.sample(b.results, cellblock), b.best(r)
	if !own.any() || !best.any() {
		return ""
	}
	over, under := r.figure(own), r.figure(best)
	if !r.more {
		over, under = under, over
	}
	if over <= 0 || under <= 0 {
		return ""
	}
	return fmt.Sprintf("%.3g × better", over/under)
}

// write writes the table with aligned columns, as Markdown understands it too.
func (t table) write(w io.Writer) {
	width := make([]int, len(t[0]))
	for _, line := range t {
		for i, cell := range line {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for n, line := range t {
		for i, cell := range line {
			fmt.Fprintf(w, "| %s%s ", cell, strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)))
		}
		fmt.Fprintln(w, "|")
		if n == 0 {
			for _, n := range width {
				fmt.Fprintf(w, "|%s", strings.Repeat("-", n+2))
			}
			fmt.Fprintln(w, "|")
		}
	}
}

// report prints the table, writes the Markdown file and quotes it in the README.
func (b *bench) report() error {
	t, missed := b.table()
	fmt.Println()
	t.write(os.Stdout)
	b.remarks(os.Stdout, missed)
	b.say("done")
	if b.out == "" {
		return nil
	}
	var text strings.Builder
	fmt.Fprintf(&text, "# Benchmark\n\nWritten by `make bench`; bench/README.md says how it measures and what the rows mean.\n\n%s\n", b.circumstances())
	t.write(&text)
	b.remarks(&text, missed)
	if err := os.WriteFile(b.out, []byte(text.String()), 0o644); err != nil {
		return err
	}
	readme, err := b.quote(read("README.md"))
	if err != nil {
		return fmt.Errorf("README.md: %w", err)
	}
	return os.WriteFile("README.md", []byte(readme), 0o644)
}

// Marks of the part of the README that is the short table.
const (
	shortBegin = "<!-- bench: written by make bench -->\n"
	shortEnd   = "<!-- bench: end -->\n"
)

// shortTable has the rows that a reader of the README wants first, and no goals.
func (b *bench) shortTable() (t table) {
	columns := b.columns()
	t = table{append([]string{""}, columns...)}
	for _, r := range rows() {
		line := []string{r.short}
		for _, c := range columns {
			if s := r.sample(b.results, c); s.any() {
				line = append(line, r.show(s))
			} else {
				line = append(line, "–")
			}
		}
		if r.short != "" && r.sample(b.results, cellblock).any() {
			t = append(t, line)
		}
	}
	return t
}

// quote puts the short table into the README's text.
func (b *bench) quote(readme string) (string, error) {
	before, rest, begun := strings.Cut(readme, shortBegin)
	_, after, ended := strings.Cut(rest, shortEnd)
	if !begun || !ended {
		return "", fmt.Errorf("no %s%s in it", shortBegin, shortEnd)
	}
	var text strings.Builder
	text.WriteString(before + shortBegin)
	b.shortTable().write(&text)
	text.WriteString(shortEnd + after)
	return text.String(), nil
}

func (b *bench) remarks(w io.Writer, missed []string) {
	for title, lines := range map[string][]string{"Goals that were not met": missed, "What happened besides": b.results.notes} {
		if len(lines) > 0 {
			fmt.Fprintf(w, "\n%s:\n\n- %s\n", title, strings.Join(lines, "\n- "))
		}
	}
}
