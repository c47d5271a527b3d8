package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"cellblock.io/cellblock/auth"
	"cellblock.io/cellblock/internal/config"
)

// The token of env: what it is called, how long it is valid, and how many of them a user has at most. Who lets each new
// shell evaluate env would reach the limit of all tokens soon.
const (
	envToken    = "env"
	envLifetime = 30 * 24 * time.Hour
	maxEnvToken = 20
)

func envCommand(a *app) *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use:   "env --user NAME",
		Short: "Print shell lines that point Jupyter clients at the gateway",
		Long: `Prints shell lines that set JUPYTER_GATEWAY_URL and JUPYTER_GATEWAY_AUTH_TOKEN, which JupyterLab and notebook
read, and CELLBLOCK_URL and CELLBLOCK_TOKEN for scripts. The token is a new one, valid for 30 days.`,
		Example: `  eval "$(cellblock env --user alice)"
  jupyter lab`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if user == "" {
				return &usageError{"say whose: --user NAME"}
			}
			return a.inOffice(cmd.Context(), func(ctx context.Context, o *office) error { return a.printEnv(ctx, o, user) })
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "`name` of the user")
	cmd.Flags().BoolVar(&a.json, "json", false, "print an object of variables as JSON")
	return cmd
}

func (a *app) printEnv(ctx context.Context, o *office, user string) error {
	if err := o.knownUser(ctx, user); err != nil {
		return err
	}
	token, err := o.envToken(ctx, user)
	if err != nil {
		return noSuchUser(user, err)
	}
	variables := []struct{ name, value string }{
		{"JUPYTER_GATEWAY_URL", address(o.cfg)},
		{"JUPYTER_GATEWAY_AUTH_TOKEN", token},
		{"CELLBLOCK_URL", address(o.cfg)},
		{"CELLBLOCK_TOKEN", token},
	}
	if a.json {
		object := map[string]string{}
		for _, v := range variables {
			object[v.name] = v.value
		}
		return a.printJSON(object)
	}
	var lines strings.Builder
	for _, v := range variables {
		fmt.Fprintf(&lines, "export %s=%s\n", v.name, quote(v.value))
	}
	if _, err := fmt.Fprint(a.Out, lines.String()); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	if isTerminal(a.Out) {
		fmt.Fprintf(a.Err, "# To set these in your shell: eval \"$(cellblock env --user %s)\"\n", user)
	}
	return nil
}

// envToken makes a token for env in the place of the one that was used least recently, when there are many.
func (o *office) envToken(ctx context.Context, user string) (string, error) {
	tokens, err := o.auth.Tokens(ctx, user)
	if err != nil {
		return "", err
	}
	tokens = slices.DeleteFunc(tokens, func(t auth.Token) bool { return t.Name != envToken })
	slices.SortStableFunc(tokens, func(a, b auth.Token) int { return lastSign(a).Compare(lastSign(b)) })
	for _, t := range tokens[:max(0, len(tokens)-maxEnvToken+1)] {
		if err := o.auth.RevokeToken(ctx, t.ID); err != nil && !errors.Is(err, auth.ErrNotFound) {
			return "", err
		}
	}
	token, _, err := o.auth.CreateToken(ctx, user, auth.TokenOptions{Name: envToken, TTL: envLifetime})
	return token, err
}

// lastSign is when a token was used last, or made.
func lastSign(t auth.Token) time.Time {
	if t.LastUsed.IsZero() {
		return t.Created
	}
	return t.LastUsed
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// quote makes one word of a POSIX shell that stands for text and nothing else.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// address is where people reach the gateway, without a slash at the end.
func address(cfg config.Config) string {
	if cfg.PublicURL != "" {
		return strings.TrimSuffix(cfg.PublicURL, "/")
	}
	return localAddress(cfg)
}

// localAddress is where this machine reaches it.
func localAddress(cfg config.Config) string {
	scheme := "http"
	if cfg.TLS.Cert != "" {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		host, port = cfg.Listen, ""
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port) + strings.TrimSuffix(cfg.BaseURL, "/")
}
