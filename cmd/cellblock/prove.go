package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"cellblock.io/cellblock/internal/prove"
	"cellblock.io/cellblock/internal/prove/container"
)

// proveOptions are the flags of prove.
type proveOptions struct {
	level    string
	only     []string
	list     bool
	markdown bool
	output   string
}

func proveCommand(a *app) *cobra.Command {
	var o proveOptions
	cmd := &cobra.Command{
		Use:   "prove",
		Short: "Try to break out of kernels in every known way, and report",
		Long: `Starts containers like those of kernels, for two tenants of its own, and runs every probe in them that is built in:
first as kernels run, then with the very control taken away that should hold it. Secrets are hidden everywhere before,
and what counts is what is found of them afterwards, not what a probe says. It takes about five minutes and leaves
nothing; other people's kernels go on. It runs as the gateway's user, beside a gateway that runs:

  deploy/enter -- cellblock prove

The exit status is 0 when everything is contained (what this machine cannot enforce is listed apart), and 1 when
something escaped or a probe proves nothing.`,
		Example: `  cellblock prove
  cellblock prove --list
  cellblock prove --only network,SC-07,fork-bomb
  cellblock prove --json --output report.json`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.prove(cmd.Context(), o) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.level, "level", "container", "isolation `level` to try: container")
	flags.StringSliceVar(&o.only, "only", nil, "only these probes: `names`, ids or categories, separated by commas")
	flags.BoolVar(&o.list, "list", false, "list the probes and run none")
	flags.BoolVar(&a.json, "json", false, "print JSON")
	flags.BoolVar(&o.markdown, "markdown", false, "print a page in Markdown")
	flags.StringVar(&o.output, "output", "", "write the report to this `file`")
	cmd.AddCommand(surveyCommand(a))
	return cmd
}

// surveyCommand is what prove runs of itself in the engine's user name space.
func surveyCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "survey", Hidden: true, Args: exactly(),
		Short: "Look into a container, for prove",
		RunE:  func(*cobra.Command, []string) error { return container.Survey(a.In, a.Out) },
	}
}

func (a *app) prove(ctx context.Context, o proveOptions) error {
	if o.level != "container" {
		return &usageError{fmt.Sprintf("there is no isolation level %q; there is: container", o.level)}
	}
	if a.json && o.markdown {
		return &usageError{"say either --json or --markdown"}
	}
	probes, err := prove.Corpus()
	if err != nil {
		return err
	}
	if probes, err = choose(probes, o.only); err != nil {
		return err
	}
	if o.list {
		return a.listProbes(probes)
	}
	out, done, err := a.outputTo(o.output)
	if err != nil {
		return err
	}
	report, err := a.proveAll(ctx, probes)
	if err == nil {
		err = a.writeReport(out, report, o)
	}
	if err := errors.Join(err, done()); err != nil {
		return err
	}
	if o.output != "" {
		fmt.Fprint(a.Err, report.Summary())
	}
	if !report.Passed() {
		return fmt.Errorf("not everything is contained: %d escaped, %d inconclusive, %d left behind",
			report.Counts[prove.Escaped], report.Counts[prove.Inconclusive], len(report.Left))
	}
	return nil
}

// choose returns the probes that words name, all for no words.
func choose(probes []prove.Probe, words []string) ([]prove.Probe, error) {
	if len(words) == 0 {
		return probes, nil
	}
	var chosen []prove.Probe
	used := map[string]bool{}
	for _, p := range probes {
		for _, word := range words {
			if word == p.Name || word == p.Category || strings.EqualFold(word, p.ID) {
				used[word] = true
				if len(chosen) == 0 || chosen[len(chosen)-1].ID != p.ID {
					chosen = append(chosen, p)
				}
			}
		}
	}
	if i := slices.IndexFunc(words, func(w string) bool { return !used[w] }); i >= 0 {
		return nil, &usageError{fmt.Sprintf("--only: no probe or category is called %q (cellblock prove --list)", words[i])}
	}
	return chosen, nil
}

func (a *app) listProbes(probes []prove.Probe) error {
	if a.json {
		type entry struct {
			ID       string   `json:"id"`
			Name     string   `json:"name"`
			Category string   `json:"category"`
			Tries    string   `json:"tries"`
			Control  []string `json:"control"`
		}
		list := []entry{}
		for _, p := range probes {
			list = append(list, entry{p.ID, p.Name, p.Category, p.Tries, p.Control})
		}
		return a.printJSON(list)
	}
	var rows [][]string
	for _, p := range probes {
		rows = append(rows, []string{p.ID, p.Name, p.Category, strings.Join(p.Control, "+"), "tries to " + p.Tries})
	}
	return a.printTable([]string{"ID", "NAME", "CATEGORY", "CONTROL", ""}, rows)
}

// outputTo opens the file for the report before the minutes that it takes to make one.
func (a *app) outputTo(path string) (io.Writer, func() error, error) {
	if path == "" {
		return a.Out, func() error { return nil }, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, nil, fmt.Errorf("--output: %w; name a file where the gateway's user may write", err)
	}
	return f, f.Close, nil
}

func (a *app) writeReport(out io.Writer, report *prove.Report, o proveOptions) error {
	switch {
	case a.json:
		b := *a
		b.Out = out
		return b.printJSON(report)
	case o.markdown:
		return report.Markdown(out)
	}
	return report.Text(out)
}
