package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cellblock.io/cellblock/auth"
	"cellblock.io/cellblock/internal/config"
	"cellblock.io/cellblock/kernels"
)

func userCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Say who may use the gateway",
		Example: `  cellblock user add alice --max-kernels 3
  cellblock user list
  cellblock user remove alice`,
	}
	return group(cmd, userAddCommand(a), userSetCommand(a), userListCommand(a), userRemoveCommand(a))
}

// newUser is what user add was told.
type newUser struct {
	name       string
	admin      bool
	maxKernels int
	network    string
	quota      kernels.QuotaChange // what of these was said
	existOK    bool
}

// quotaFlags adds the flags for a user's quota; said finds out which were given and whether they make sense.
func (u *newUser) quotaFlags(cmd *cobra.Command) {
	cmd.Flags().IntVar(&u.maxKernels, "max-kernels", 0, "how many kernels the user may have at once (default quota.max_kernels)")
	cmd.Flags().StringVar(&u.network, "network", "", "the network `policy` of the user's kernels: none, internet or one of networks (default quota.network)")
}

func (u *newUser) said(cmd *cobra.Command, cfg config.Config) error {
	if cmd.Flags().Changed("max-kernels") {
		if u.maxKernels < 0 {
			return &usageError{"--max-kernels must be 0 or more"}
		}
		u.quota.MaxKernels = &u.maxKernels
	}
	if cmd.Flags().Changed("network") {
		if _, defined := connections(cfg)[u.network]; !defined {
			return &usageError{fmt.Sprintf("there is no network policy %q: %s", u.network, strings.Join(slices.Sorted(maps.Keys(connections(cfg))), ", "))}
		}
		u.quota.Network = &u.network
	}
	return nil
}

// changes reports whether anything of the quota was said.
func (u *newUser) changes() bool { return u.quota != kernels.QuotaChange{} }

func userAddCommand(a *app) *cobra.Command {
	var u newUser
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Add a user",
		Long: `Adds a user. The name has 1 to 64 small letters, digits and _.@-. A user gets in with a token: make one with
cellblock token create --user NAME. With --exist-ok it changes the quota of a user who exists, as user set does.`,
		Example: `  cellblock user add alice
  cellblock user add alice --max-kernels 3
  cellblock user add alice --max-kernels 6 --exist-ok
  cellblock user add admin --admin --exist-ok`,
		Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			u.name = args[0]
			return a.inOffice(cmd.Context(), func(ctx context.Context, o *office) error {
				if err := u.said(cmd, o.cfg); err != nil {
					return err
				}
				return a.addUser(ctx, o, u)
			})
		},
	}
	cmd.Flags().BoolVar(&u.admin, "admin", false, "an administrator, who sees everybody's kernels")
	u.quotaFlags(cmd)
	cmd.Flags().BoolVar(&u.existOK, "exist-ok", false, "no error when the user exists with the same role; --max-kernels and --network, when given, are the new quota")
	cmd.Flags().BoolVar(&a.json, "json", false, "print the user as JSON")
	return cmd
}

func (a *app) addUser(ctx context.Context, o *office, u newUser) error {
	name, err := owner(u.name)
	if err != nil {
		return err
	}
	err = o.auth.AddUser(ctx, auth.User{Name: u.name, Admin: u.admin})
	existed := errors.Is(err, auth.ErrExists)
	switch {
	case existed && !u.existOK:
		return fmt.Errorf("there is a user %s already (--exist-ok accepts that)", u.name)
	case err != nil && !existed:
		return err
	}
	found, err := o.auth.User(ctx, u.name)
	if err != nil {
		return err
	}
	if found.Admin != u.admin {
		return fmt.Errorf("there is a user %s already, with the role %s; remove it first to change that", u.name, role(found))
	}
	if u.changes() {
		if err := o.store.ChangeQuota(ctx, name, u.quota); err != nil {
			return err
		}
	}
	switch {
	case a.json || existed && u.changes():
		return a.sayUser(ctx, o, found)
	case !existed:
		fmt.Fprintf(a.Out, "%s %s added\n", role(found), u.name)
	}
	return nil
}

// sayUser says what a user may use now.
func (a *app) sayUser(ctx context.Context, o *office, u auth.User) error {
	shown, err := o.show(ctx, u, nil)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(shown)
	}
	fmt.Fprintf(a.Out, "%s %s may have %d kernels at once, with network %s\n", shown.Role, shown.Name, shown.MaxKernels, shown.Network)
	return nil
}

func userSetCommand(a *app) *cobra.Command {
	var u newUser
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Change what a user may use",
		Long: `Changes the quota of a user. The number of kernels holds for the next start. A network policy holds at once for
kernels that reach others through the proxy; a kernel that was started without network, or with internet, keeps that
until it ends (cellblock kernels stop --user NAME --all).`,
		Example: `  cellblock user set alice --max-kernels 6
  cellblock user set alice --network none`,
		Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			u.name = args[0]
			return a.inOffice(cmd.Context(), func(ctx context.Context, o *office) error {
				if err := u.said(cmd, o.cfg); err != nil {
					return err
				}
				if !u.changes() {
					return &usageError{"say what to change: --max-kernels N or --network POLICY"}
				}
				return a.setUser(ctx, o, u)
			})
		},
	}
	u.quotaFlags(cmd)
	cmd.Flags().BoolVar(&a.json, "json", false, "print the user as JSON")
	return cmd
}

func (a *app) setUser(ctx context.Context, o *office, u newUser) error {
	name, err := owner(u.name)
	if err != nil {
		return err
	}
	found, err := o.auth.User(ctx, u.name)
	if err != nil {
		return noSuchUser(u.name, err)
	}
	if err := o.store.ChangeQuota(ctx, name, u.quota); err != nil {
		return err
	}
	return a.sayUser(ctx, o, found)
}

// shownUser is a user as commands print it.
type shownUser struct {
	Name       string    `json:"name"`
	Role       auth.Role `json:"role"`
	Kernels    int       `json:"kernels"`
	MaxKernels int       `json:"max_kernels"`
	Network    string    `json:"network"`
	Created    time.Time `json:"created"`
}

func (o *office) show(ctx context.Context, u auth.User, running map[kernels.Owner]int) (shownUser, error) {
	quota, err := o.store.Quota(ctx, kernels.Owner(u.Name))
	return shownUser{u.Name, role(u), running[kernels.Owner(u.Name)], quota.MaxKernels, quota.Network, u.Created}, err
}

func role(u auth.User) auth.Role {
	if u.Admin {
		return auth.RoleAdmin
	}
	return auth.RoleUser
}

func userListCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List users with their quotas",
		Example: "  cellblock user list --json",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.inOffice(cmd.Context(), a.listUsers)
		},
	}
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return cmd
}

func (a *app) listUsers(ctx context.Context, o *office) error {
	users, err := o.auth.Users(ctx)
	if err != nil {
		return err
	}
	running, err := o.running(ctx)
	if err != nil {
		return err
	}
	shown := []shownUser{}
	var rows [][]string
	for _, u := range users {
		s, err := o.show(ctx, u, running)
		if err != nil {
			return err
		}
		shown = append(shown, s)
		rows = append(rows, []string{s.Name, string(s.Role), fmt.Sprintf("%d of %d", s.Kernels, s.MaxKernels), s.Network, ago(s.Created)})
	}
	if a.json {
		return a.printJSON(shown)
	}
	return a.printTable([]string{"NAME", "ROLE", "KERNELS", "NETWORK", "ADDED"}, rows)
}

// running counts everybody's kernels.
func (o *office) running(ctx context.Context) (map[kernels.Owner]int, error) {
	records, err := o.store.Records(ctx, "")
	if err != nil {
		return nil, err
	}
	count := map[kernels.Owner]int{}
	for _, r := range records {
		count[r.Owner]++
	}
	return count, nil
}

func userRemoveCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove a user, with tokens and kernels",
		Long: `Removes a user: tokens and logins are invalid at once, then the user's kernels are ended. The files in the
user's workspace stay; a user who is added again under the same name has them.`,
		Example: "  cellblock user remove alice",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.inOffice(cmd.Context(), func(ctx context.Context, o *office) error { return a.removeUser(ctx, o, args[0]) })
		},
	}
}

func (a *app) removeUser(ctx context.Context, o *office, name string) error {
	who, err := owner(name)
	if err != nil {
		return err
	}
	if err := o.auth.RemoveUser(ctx, name); err != nil {
		return noSuchUser(name, err)
	}
	if err := o.store.ClearQuota(ctx, who); err != nil {
		return fmt.Errorf("user %s is removed; forget the quota: %w", name, err)
	}
	records, err := o.store.Records(ctx, who)
	if err == nil && len(records) > 0 {
		err = a.stopAll(ctx, o, who)
	}
	if err != nil {
		return fmt.Errorf("user %s is removed, but not the kernels (cellblock kernels stop --all --user %s): %w", name, name, err)
	}
	fmt.Fprintln(a.Out, "user "+name+" removed, "+strconv.Itoa(len(records))+" kernels ended")
	return nil
}
