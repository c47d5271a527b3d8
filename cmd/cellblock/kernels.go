package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/launcher"
)

// stopTimeout is for all kernels that one command ends.
const stopTimeout = 5 * time.Minute

func kernelsCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "kernels",
		Short: "See and stop running kernels",
		Example: `  cellblock kernels list
  cellblock kernels stop --user alice --all`,
	}
	return group(cmd, kernelsListCommand(a), kernelsExplainCommand(a), kernelsStopCommand(a))
}

func kernelsListCommand(a *app) *cobra.Command {
	var user string
	var ended bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List kernels with their states, or those that ended and why",
		Example: `  cellblock kernels list --user alice --json
  cellblock kernels list --ended`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if user != "" {
				if _, err := owner(user); err != nil {
					return err
				}
			}
			list := a.listKernels
			if ended {
				list = a.listEnded
			}
			return a.inOffice(cmd.Context(), func(ctx context.Context, o *office) error { return list(ctx, o, user) })
		},
	}
	cmd.Flags().BoolVar(&ended, "ended", false, "the kernels that ended within a day (100 of each user at most), and why")
	cmd.Flags().StringVar(&user, "user", "", "only the kernels of the user of that `name`")
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return cmd
}

// shownKernel is a kernel as commands print it.
type shownKernel struct {
	ID           string        `json:"id"`
	User         kernels.Owner `json:"user"`
	Kernelspec   string        `json:"kernelspec"`
	State        kernels.State `json:"state"`
	Connections  int           `json:"connections"`
	LastActivity time.Time     `json:"last_activity"`
	Created      time.Time     `json:"created"`
}

func (a *app) listKernels(ctx context.Context, o *office, user string) error {
	var list []kernels.Kernel
	err := a.withManager(ctx, o, func(m *kernels.Manager) (err error) {
		list, err = m.List(ctx, kernels.Owner(user))
		return err
	})
	if err != nil {
		return err
	}
	shown := []shownKernel{}
	var rows [][]string
	for _, k := range list {
		shown = append(shown, shownKernel{k.ID, k.Owner, k.Spec, k.State, k.Connections, k.LastActivity, k.Created})
		rows = append(rows, []string{string(k.Owner), k.ID, k.Spec, string(k.State), strconv.Itoa(k.Connections), ago(k.LastActivity), ago(k.Created)})
	}
	if a.json {
		return a.printJSON(shown)
	}
	return a.printTable([]string{"USER", "ID", "KERNELSPEC", "STATE", "CONNECTIONS", "ACTIVE", "STARTED"}, rows)
}

// shownEnd is how a kernel ended as commands print it.
type shownEnd struct {
	ID         string        `json:"id"`
	User       kernels.Owner `json:"user"`
	Kernelspec string        `json:"kernelspec"`
	Created    time.Time     `json:"created"`
	Ended      time.Time     `json:"ended"`
	Reason     string        `json:"reason"`
}

func (a *app) listEnded(ctx context.Context, o *office, user string) error {
	list, err := o.store.Recollect(ctx, kernels.Owner(user))
	if err != nil {
		return err
	}
	shown := []shownEnd{}
	var rows [][]string
	for _, e := range list {
		shown = append(shown, shownEnd{e.ID, e.Owner, e.Spec, e.Born, e.At, e.Reason})
		rows = append(rows, []string{string(e.Owner), e.ID, e.Spec, ago(e.At), e.Reason})
	}
	if a.json {
		return a.printJSON(shown)
	}
	return a.printTable([]string{"USER", "ID", "KERNELSPEC", "ENDED", "WHY"}, rows)
}

func kernelsStopCommand(a *app) *cobra.Command {
	var user string
	var all bool
	cmd := &cobra.Command{
		Use:   "stop ID...",
		Short: "End kernels for good",
		Example: `  cellblock kernels stop 5f0c3a52-0d3c-4f53-9a2b-6f8f9c1f6d11
  cellblock kernels stop --user alice --all`,
		RunE: func(cmd *cobra.Command, ids []string) error {
			if all == (len(ids) > 0) {
				return &usageError{"name the kernels to stop, or write --all (cellblock kernels list shows ids)"}
			}
			return a.inOffice(cmd.Context(), func(ctx context.Context, o *office) error {
				if user != "" {
					if _, err := owner(user); err != nil {
						return err
					}
				}
				if all {
					return a.stopAll(ctx, o, kernels.Owner(user))
				}
				return a.stopKernels(ctx, o, kernels.Owner(user), ids)
			})
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "only kernels of the user of that `name`")
	cmd.Flags().BoolVar(&all, "all", false, "all kernels, with --user all of that user")
	return cmd
}

// stopAll ends all kernels of one owner, or of everybody.
func (a *app) stopAll(ctx context.Context, o *office, owner kernels.Owner) error {
	records, err := o.store.Records(ctx, owner)
	if err != nil || len(records) == 0 {
		return err
	}
	return a.stop(ctx, o, records)
}

// stopKernels ends the kernels with these ids.
func (a *app) stopKernels(ctx context.Context, o *office, owner kernels.Owner, ids []string) error {
	found, err := o.find(ctx, owner, ids)
	if err != nil {
		return err
	}
	return a.stop(ctx, o, found)
}

// find looks up kernels by their ids, which are unique among one owner's only.
func (o *office) find(ctx context.Context, owner kernels.Owner, ids []string) ([]kernels.Record, error) {
	records, err := o.store.Records(ctx, owner)
	if err != nil {
		return nil, err
	}
	var found []kernels.Record
	for _, id := range ids {
		before := len(found)
		for _, r := range records {
			if r.ID == id {
				found = append(found, r)
			}
		}
		switch len(found) - before {
		case 0:
			return nil, fmt.Errorf("there is no kernel %q (cellblock kernels list)", id)
		case 1:
		default:
			return nil, fmt.Errorf("several users have a kernel %s: say whose with --user", id)
		}
	}
	return found, nil
}

// stop ends kernels as their owners could. One that has ended meanwhile is no error.
func (a *app) stop(ctx context.Context, o *office, records []kernels.Record) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return a.withManager(ctx, o, func(m *kernels.Manager) error {
		var errs []error
		for _, r := range records {
			if err := m.StopFor(ctx, r.Owner, r.ID, "Shut down by an administrator."); err != nil && !errors.Is(err, kernels.ErrNotFound) {
				errs = append(errs, fmt.Errorf("stop kernel %s of %s: %w", r.ID, r.Owner, err))
			}
		}
		return errors.Join(errs...)
	})
}

// withManager calls fn with a Manager over the same Redis and launcher as the gateway's, as another gateway would have.
func (a *app) withManager(ctx context.Context, o *office, fn func(*kernels.Manager) error) error {
	if err := become(o.cfg.FrontDir()); err != nil {
		return err
	}
	m, err := newManager(o.cfg, launcher.NewClient(o.cfg.LauncherSocket()), o.store, nil, a.logger("text", slog.LevelWarn))
	if err != nil {
		return err
	}
	return fn(m)
}
