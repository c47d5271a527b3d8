package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"cellblock.io/cellblock/auth"
)

func tokenCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make and revoke the tokens that let users in",
		Example: `  cellblock token create --user alice
  cellblock token list
  cellblock token revoke 1b2c3d4e5f60718293a4b5c6`,
	}
	return group(cmd, tokenCreateCommand(a), tokenListCommand(a), tokenRevokeCommand(a))
}

func tokenCreateCommand(a *app) *cobra.Command {
	var user, name string
	var expires time.Duration
	cmd := &cobra.Command{
		Use:   "create --user NAME",
		Short: "Make a token and print it",
		Long:  `Makes a token and prints it alone on standard output. It cannot be shown again: Cellblock keeps only its hash.`,
		Example: `  cellblock token create --user alice
  TOKEN=$(cellblock token create --user alice --name nightly --expires 720h)`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if user == "" {
				return &usageError{"say whose token it is: --user NAME"}
			}
			return a.inOffice(cmd.Context(), func(ctx context.Context, o *office) error {
				return a.createToken(ctx, o, user, auth.TokenOptions{Name: name, TTL: expires})
			})
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "`name` of the user whom the token lets in")
	cmd.Flags().StringVar(&name, "name", "", "what the token is for, shown by token list")
	cmd.Flags().DurationVar(&expires, "expires", 0, "`time` after which the token is invalid, for example 720h (default: never)")
	cmd.Flags().BoolVar(&a.json, "json", false, "print the token and what is known of it as JSON")
	return cmd
}

func (a *app) createToken(ctx context.Context, o *office, user string, opt auth.TokenOptions) error {
	if opt.TTL < 0 {
		return &usageError{"--expires must be a time in the future, for example 720h"}
	}
	if err := o.knownUser(ctx, user); err != nil {
		return err
	}
	raw, t, err := o.auth.CreateToken(ctx, user, opt)
	if err != nil {
		return noSuchUser(user, err)
	}
	if a.json {
		return a.printJSON(struct {
			Raw string `json:"token"`
			auth.Token
		}{raw, t})
	}
	fmt.Fprintln(a.Out, raw)
	return nil
}

func tokenListCommand(a *app) *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List valid tokens, without their secrets",
		Example: "  cellblock token list --user alice",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.inOffice(cmd.Context(), func(ctx context.Context, o *office) error { return a.listTokens(ctx, o, user) })
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "only the tokens of the user of that `name`")
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return cmd
}

func (a *app) listTokens(ctx context.Context, o *office, user string) error {
	if user != "" {
		if err := o.knownUser(ctx, user); err != nil {
			return err
		}
	}
	tokens, err := o.auth.Tokens(ctx, user)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(tokens)
	}
	var rows [][]string
	for _, t := range tokens {
		rows = append(rows, []string{t.ID, t.User, t.Name, ago(t.Created), until(t.Expires), ago(t.LastUsed)})
	}
	return a.printTable([]string{"ID", "USER", "NAME", "CREATED", "EXPIRES", "LAST USED"}, rows)
}

func tokenRevokeCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "revoke ID",
		Short:   "Make a token invalid, at once",
		Example: "  cellblock token revoke 1b2c3d4e5f60718293a4b5c6",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.inOffice(cmd.Context(), func(ctx context.Context, o *office) error {
				err := o.auth.RevokeToken(ctx, args[0])
				if errors.Is(err, auth.ErrNotFound) {
					return fmt.Errorf("there is no token with that id (cellblock token list shows ids)")
				}
				return err
			})
		},
	}
}
