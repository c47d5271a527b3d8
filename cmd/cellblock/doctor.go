package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"cellblock.io/cellblock/internal/doctor"
)

// doctorSchema is the version of the JSON's form, which docs/doctor.md documents.
const doctorSchema = 1

func doctorCommand(a *app) *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what on this machine is not as it should be, and what to do",
		Long: `Looks at this machine and at the installation of the configuration: Podman and what it can limit, ids, files, room,
images, the gateway's address and certificate, Redis, and the settings of the Linux kernel. It changes nothing and
asks no other machine. Run it as root, which sees most, or as the gateway's user; what it cannot see it says.

The exit status is 0 when nothing failed, 1 when something did (with --strict also for warnings and what could not be told), and 2 when it could
not look.`,
		Example: `  cellblock doctor
  cellblock doctor --verbose
  cellblock doctor --strict --ignore cpu.smt,module.vsock
  cellblock doctor --json --only engine`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.json && o.quiet {
				return &usageError{"write --json or --quiet, not both"}
			}
			for _, selector := range slices.Concat(o.only, o.ignore) {
				if !slices.ContainsFunc(doctor.IDs(), func(id string) bool { return doctor.Selected(id, []string{selector}) }) {
					return &usageError{fmt.Sprintf("there is no check %q (cellblock doctor --verbose shows all)", selector)}
				}
			}
			return a.doctor(cmd.Context(), o)
		},
	}
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
	cmd.Flags().BoolVar(&o.verbose, "verbose", false, "show also what is fine")
	cmd.Flags().BoolVar(&o.quiet, "quiet", false, "print nothing; the exit status says it")
	cmd.Flags().BoolVar(&o.strict, "strict", false, "warnings, and what could not be told, are failures")
	cmd.Flags().StringSliceVar(&o.only, "only", nil, "look only at these `checks`, or groups of checks")
	cmd.Flags().StringSliceVar(&o.ignore, "ignore", nil, "do not count these `checks`, or groups of checks")
	return cmd
}

type doctorOptions struct {
	verbose, quiet, strict bool
	only, ignore           []string
}

// diagnosis is what doctor prints as JSON.
type diagnosis struct {
	Schema  int    `json:"schema"`
	Version string `json:"version"` // of cellblock
	Passed  bool   `json:"passed"`
	// How many findings came out how. What is ignored is counted only as that.
	Counts   map[string]int `json:"counts"`
	Findings []finding      `json:"findings"`
}

type finding struct {
	doctor.Finding
	Ignored bool `json:"ignored"`
}

func (a *app) doctor(ctx context.Context, o doctorOptions) error {
	cfg, err := a.config()
	if err != nil {
		return &exit{exitUnable, err}
	}
	d := diagnose(doctor.Examine(a.host(ctx, cfg), o.only...), o)
	switch {
	case o.quiet:
	case a.json:
		err = a.printJSON(d)
	default:
		err = a.printDiagnosis(d, o.verbose)
	}
	if err != nil {
		return &exit{exitUnable, err}
	}
	if !d.Passed {
		return &exit{exitFailure, nil} // the findings have said it
	}
	return nil
}

// diagnose counts.
func diagnose(findings []doctor.Finding, o doctorOptions) diagnosis {
	d := diagnosis{Schema: doctorSchema, Version: thisBuild().Version, Findings: []finding{}, Counts: map[string]int{
		string(doctor.Fail): 0, string(doctor.Warn): 0, string(doctor.OK): 0,
		string(doctor.NotApplicable): 0, string(doctor.Unknown): 0, "ignored": 0,
	}}
	for _, f := range findings {
		ignored := doctor.Selected(f.ID, o.ignore)
		d.Findings = append(d.Findings, finding{f, ignored})
		if ignored {
			d.Counts["ignored"]++
		} else {
			d.Counts[string(f.Severity)]++
		}
	}
	d.Passed = d.Counts[string(doctor.Fail)] == 0 && (!o.strict || d.Counts[string(doctor.Warn)]+d.Counts[string(doctor.Unknown)] == 0)
	return d
}
