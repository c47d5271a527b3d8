package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"cellblock.io/cellblock/auth"
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
	return group(cmd, userAddCommand(a), userListCommand(a), userRemoveCommand(a))
}

// newUser is what user add was told.
type newUser struct {
	name       string
	admin      bool
	maxKernels int
	ownQuota   bool // maxKernels was said
	existOK    bool
}

func userAddCommand(a *app) *cobra.Command {
	var u newUser
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Add a user",
		Long: `Adds a user. The name has 1 to 64 small letters, digits and _.@-. A user gets in with a token: make one with
cellblock token create --user NAME. With --exist-ok it changes the quota of a user who exists, at once.`,
		Example: `  cellblock user add alice
  cellblock user add alice --max-kernels 3
  cellblock user add alice --max-kernels 6 --exist-ok
  cellblock user add admin --admin --exist-ok`,
		Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			u.name, u.ownQuota = args[0], cmd.Flags().Changed("max-kernels")
			return a.inOffice(cmd.Context(), func(ctx context.Context, o *office) error { return a.addUser(ctx, o, u) })
		},
	}
	cmd.Flags().BoolVar(&u.admin, "admin", false, "an administrator, who sees everybody's kernels")
	cmd.Flags().IntVar(&u.maxKernels, "max-kernels", 0, "how many kernels the user may have at once (default quota.max_kernels)")
	cmd.Flags().BoolVar(&u.existOK, "exist-ok", false, "no error when the user exists with the same role; --max-kernels, when given, is the new quota")
	cmd.Flags().BoolVar(&a.json, "json", false, "print the user as JSON")
	return cmd
}

func (a *app) addUser(ctx context.Context, o *office, u newUser) error {
	name, err := owner(u.name)
	if err != nil {
		return err
	}
	if u.ownQuota && u.maxKernels < 0 {
		return &usageError{"--max-kernels must be 0 or more"}
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
	if u.ownQuota {
		if err := o.store.SetQuota(ctx, name, kernels.Quota{MaxKernels: u.maxKernels}); err != nil {
			return err
		}
	}
	if a.json {
		shown, err := o.show(ctx, found, nil)
		if err != nil {
			return err
		}
		return a.printJSON(shown)
	}
	switch {
	case !existed:
		fmt.Fprintf(a.Out, "%s %s added\n", role(found), u.name)
	case u.ownQuota:
		fmt.Fprintf(a.Out, "%s %s may have %d kernels at once\n", role(found), u.name, u.maxKernels)
	}
	return nil
}

// shownUser is a user as commands print it.
type shownUser struct {
	Name       string    `json:"name"`
	Role       auth.Role `json:"role"`
	Kernels    int       `json:"kernels"`
	MaxKernels int       `json:"max_kernels"`
	Created    time.Time `json:"created"`
}

func (o *office) show(ctx context.Context, u auth.User, running map[kernels.Owner]int) (shownUser, error) {
	quota, err := o.store.Quota(ctx, kernels.Owner(u.Name))
	return shownUser{u.Name, role(u), running[kernels.Owner(u.Name)], quota.MaxKernels, u.Created}, err
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
		rows = append(rows, []string{s.Name, string(s.Role), fmt.Sprintf("%d of %d", s.Kernels, s.MaxKernels), ago(s.Created)})
	}
	if a.json {
		return a.printJSON(shown)
	}
	return a.printTable([]string{"NAME", "ROLE", "KERNELS", "ADDED"}, rows)
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
