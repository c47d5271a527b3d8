package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"cellblock.io/cellblock/containers"
	"cellblock.io/cellblock/internal/config"
	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/launcher"
)

func kernelsExplainCommand(a *app) *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use:     "explain ID",
		Short:   "Say what holds for a kernel and whence",
		Example: "  cellblock kernels explain 5f0c3a52-0d3c-4f53-9a2b-6f8f9c1f6d11",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.inOffice(cmd.Context(), func(ctx context.Context, o *office) error {
				if user != "" {
					if _, err := owner(user); err != nil {
						return err
					}
				}
				return a.explainKernel(ctx, o, kernels.Owner(user), args[0])
			})
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "the kernel of the user of that `name`")
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return cmd
}

// shownNetwork is what holds for a kernel's network.
type shownNetwork struct {
	ID      string        `json:"id"`
	User    kernels.Owner `json:"user"`
	Policy  string        `json:"policy"`  // of the user, now
	Defined bool          `json:"defined"` // whether the configuration has it; if not it is none
	Started string        `json:"started"` // how the kernel is connected
	Allow   []string      `json:"allow"`   // what it reaches through the proxy
	Note    string        `json:"note,omitempty"`
}

func (a *app) explainKernel(ctx context.Context, o *office, owner kernels.Owner, id string) error {
	records, err := o.find(ctx, owner, []string{id})
	if err != nil {
		return err
	}
	record := records[0]
	quota, err := o.store.Quota(ctx, record.Owner)
	if err != nil {
		return err
	}
	started, err := a.startedWith(ctx, o, record)
	if err != nil {
		return err
	}
	shown, err := explainNetwork(o.cfg, record, quota.Network, started)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(shown)
	}
	fmt.Fprintf(a.Out, "kernel   %s of %s\nnetwork  %s; the user's policy is %s\n", shown.ID, shown.User, shown.Started, shown.Policy)
	if len(shown.Allow) > 0 {
		fmt.Fprintf(a.Out, "reaches  %s\n", strings.Join(shown.Allow, ", "))
	}
	if shown.Note != "" {
		fmt.Fprintf(a.Out, "note     %s\n", shown.Note)
	}
	return nil
}

// startedWith asks the launcher how a kernel is connected.
func (a *app) startedWith(ctx context.Context, o *office, record kernels.Record) (string, error) {
	if err := become(o.cfg.FrontDir()); err != nil {
		return "", err
	}
	list, err := launcher.NewClient(o.cfg.LauncherSocket()).List(ctx)
	if err != nil {
		return "", err
	}
	for _, i := range list {
		if i.Record.Handle == record.Handle && i.Network != "" {
			return i.Network, nil
		}
	}
	return "", fmt.Errorf("kernel %s has no container at the moment", record.ID)
}

// explainNetwork puts together how a kernel is connected and what its owner's policy says now.
func explainNetwork(cfg config.Config, r kernels.Record, policy, started string) (shownNetwork, error) {
	named, err := policies(cfg)
	if err != nil {
		return shownNetwork{}, err
	}
	wanted, defined := connections(cfg)[policy]
	if !defined {
		wanted = containers.NoNetwork
	}
	n := shownNetwork{ID: r.ID, User: r.Owner, Policy: policy, Defined: defined, Started: started, Allow: []string{}}
	if started == string(containers.Allowlist) {
		n.Allow = append(n.Allow, named[policy].Rules()...)
	}
	switch {
	case !defined:
		n.Note = "The configuration does not define this policy, so it is none."
	case started == string(wanted):
	case started == string(containers.Internet):
		n.Note = "The policy changed after this kernel had started: it keeps its network until it ends (cellblock kernels stop)."
	default:
		n.Note = "The policy changed after this kernel had started: a kernel that is started now gets its network."
	}
	return n, nil
}
