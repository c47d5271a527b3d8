package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"
)

// table is the finished one, a heading first.
type table [][]string

// table makes a line of each row of which Cellblock, or anybody, has samples.
func (b *bench) table() (t table, missed []string) {
	columns := []string{direct}
	for _, c := range b.contenders {
		columns = append(columns, c.name)
	}
	t = table{append(append([]string{""}, columns...), "goal", "")}
	peers := len(b.contenders) > 1
	if peers {
		t[0] = append(t[0], "to best other")
	}
	for _, r := range rows() {
		line := []string{r.name}
		any := false
		for _, c := range columns {
			cell := "–"
			if b.measured(r, c) {
				cell, any = r.show(r.sample(b.results, c)), true
			}
			line = append(line, cell)
		}
		if !any {
			continue
		}
		verdict := b.verdict(r)
		line = append(line, r.goal, verdict)
		if peers {
			line = append(line, b.ratio(r))
		}
		if verdict == notMet {
			missed = append(missed, fmt.Sprintf("%s: %s, direct %s, goal %s", r.name, line[2], line[1], r.goal))
		}
		t = append(t, line)
	}
	return t, missed
}

const notMet = "NOT MET"

func (b *bench) measured(r row, contender string) bool {
	s := r.sample(b.results, contender)
	return len(s("")) > 0 || len(s(" lost")) > 0
}

func (b *bench) verdict(r row) string {
	switch {
	case r.met == nil || !b.measured(r, cellblock):
		return ""
	case r.met(r.sample(b.results, cellblock), r.sample(b.results, direct), b.best(r)):
		return "met"
	}
	return notMet
}

// best is the best other gateway's sample, nil when there is none. Rates are better when higher, all else when lower.
func (b *bench) best(r row) (best sample) {
	if r.figure == nil {
		return nil
	}
	for _, c := range b.contenders {
		if c.name == cellblock || !b.measured(r, c.name) {
			continue
		}
		s := r.sample(b.results, c.name)
		if best == nil || (r.figure(s) > r.figure(best)) == (len(s(" rate")) > 0) {
			best = s
		}
	}
	return best
}

// ratio is Cellblock's figure to that of the best other gateway.
func (b *bench) ratio(r row) string {
	best := b.best(r)
	if best == nil || r.figure(best) == 0 || !b.measured(r, cellblock) {
		return ""
	}
	return fmt.Sprintf("%.3g ×", r.figure(r.sample(b.results, cellblock))/r.figure(best))
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

// report prints the table and writes the Markdown file.
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
	fmt.Fprintf(&text, "# Benchmark\n\n%s\n\n", b.circumstances())
	t.write(&text)
	b.remarks(&text, missed)
	return os.WriteFile(b.out, []byte(text.String()), 0o644)
}

func (b *bench) remarks(w io.Writer, missed []string) {
	for title, lines := range map[string][]string{"Goals that were not met": missed, "What happened besides": b.results.notes} {
		if len(lines) > 0 {
			fmt.Fprintf(w, "\n%s:\n\n- %s\n", title, strings.Join(lines, "\n- "))
		}
	}
}

func (b *bench) circumstances() string { return time.Now().UTC().Format("2006-01-02 15:04") + " UTC" }
