package prove

import (
	"fmt"
	"io"
	"strings"
)

// Markdown writes the report as a page.
func (r *Report) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, `# Containment

What happens when the code of a kernel without network tries to get out. This page is the report of one run, written by
`+"`cellblock prove --markdown`"+` on %s with level "%s" (%s, Cellblock %s): run it on your own machine.

`, r.Started.Format("2006-01-02"), r.Level, r.Place, r.Version)
	for line := range strings.Lines(r.Summary()) {
		fmt.Fprintf(&b, "- %s", line)
	}
	b.WriteString(`
How a probe is judged: secrets are hidden before the run, on the machine and with a second tenant, and an observer
outside looks for them afterwards in everything that the probe printed, wrote and reached. System calls run under a
build of the filter whose errors no kernel gives. And each probe runs once more with the control taken away that should
hold it: if it gets nothing there either, it proves nothing and counts as inconclusive.
`)
	for _, category := range Categories {
		r.table(&b, category)
	}
	b.WriteString("\n## Without each control\n\nOne control is taken away and everything else stays.\n\n| control | is | without it |\n|---|---|---|\n")
	for _, c := range r.Controls {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", c.Name, cell(c.What), cell(c.told()))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// titles are the categories for people.
var titles = map[string]string{
	"python": "Python", "filesystem": "File system", "processes": "Processes", "syscalls": "System calls", "network": "Network",
	"resources": "Resources", "cross-tenant": "Other tenants", "engine": "The engine",
}

func (r *Report) table(b *strings.Builder, category string) {
	first := true
	for _, p := range r.Probes {
		if p.Category != category {
			continue
		}
		if first {
			fmt.Fprintf(b, "\n## %s\n\n", titles[category])
			if category == "python" {
				b.WriteString("These escapes *succeed*: each leaves a sandbox that is made of Python. Outside it there is nothing to get, since\nthe boundary is the operating system's. No filter in Python is part of Cellblock.\n\n")
			}
			b.WriteString("| id | probe | tries to | verdict | evidence | without |\n|---|---|---|---|---|---|\n")
			first = false
		}
		without := strings.Join(p.Control, " + ")
		if p.ControlEvidence != "" {
			without += ": " + p.ControlEvidence
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", p.ID, p.Name, cell(p.Tried), p.Verdict, cell(p.Evidence), cell(without))
	}
}

// cell makes text of a probe fit for one cell of a table: it may have anything in it.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;", "`", "'").Replace(text)
}
