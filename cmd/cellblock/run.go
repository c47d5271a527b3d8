package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"cellblock.io/cellblock/internal/config"
)

// Exit statuses.
const (
	exitFailure = 1
	exitUsage   = 2
	exitUnable  = 2 // doctor could not look
)

// process is what a run gets from outside.
type process struct {
	Args     []string // without the program's name
	Getenv   func(string) string
	In       io.Reader
	Out, Err io.Writer
}

// run executes one command line and returns the exit status: 0, 1 for a failure, 2 for a command line that says
// nothing. When ctx ends, what runs comes to a clean end.
func run(ctx context.Context, p process) int {
	p.Err = &sharedWriter{w: p.Err}
	root := newRoot(&app{process: p})
	root.SetArgs(p.Args)
	root.SetIn(p.In)
	root.SetOut(p.Out)
	root.SetErr(p.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if own := (*exit)(nil); errors.As(err, &own) {
		if own.err != nil {
			fmt.Fprintln(p.Err, "cellblock: "+strings.ReplaceAll(explain(own.err), "\n", "\n  "))
		}
		return own.status
	}
	fmt.Fprintln(p.Err, "cellblock: "+strings.ReplaceAll(explain(err), "\n", "\n  "))
	if usage := (*usageError)(nil); errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailure
}

// app is one run: its surroundings and the flags that all commands share.
type app struct {
	process
	configPath string
	logLevel   string
	json       bool
}

// exit is an end with a status of its own; without an error everything has been said.
type exit struct {
	status int
	err    error
}

// Error returns the error's text.
func (e *exit) Error() string { return fmt.Sprintf("exit status %d: %v", e.status, e.err) }

// usageError is a command line that says nothing; its text says why and what would.
type usageError struct{ text string }

// Error returns the text.
func (e *usageError) Error() string { return e.text }

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "cellblock",
		Short: "Jupyter kernels for many people, each in a container of its own",
		Long: `Cellblock is a gateway for Jupyter kernels. Many people share one machine; each kernel runs in a rootless
container without network; every Jupyter client works with it unchanged.`,
		Example: `  cellblock serve                          run the gateway
  cellblock user add alice                 let somebody in
  eval "$(cellblock env --user alice)"     and then: jupyter lab`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.PersistentFlags().StringVar(&a.configPath, "config", "", "configuration `file` (default $CELLBLOCK_CONFIG, else "+config.DefaultPath+")")
	root.PersistentFlags().StringVar(&a.logLevel, "log-level", "", "`level` of messages: debug, info, warn or error (default from the configuration)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{fmt.Sprintf("%s (see %s --help)", flagFault(err), cmd.CommandPath())}
	})
	root.AddCommand(serveCommand(a), launcherCommand(a), bridgeCommand(a), userCommand(a), tokenCommand(a), kernelsCommand(a),
		statusCommand(a), doctorCommand(a), proveCommand(a), envCommand(a), versionCommand(a), filterCommand(a))
	group(root)
	root.CompletionOptions.HiddenDefaultCmd = true
	return root
}

// flagFault says what is wrong with a flag, for people who do not know Go's types.
func flagFault(err error) string {
	invalid := (*pflag.InvalidValueError)(nil)
	if !errors.As(err, &invalid) {
		return err.Error()
	}
	want := map[string]string{"int": "a whole number", "duration": "a length of time, such as 90m or 720h"}
	kind, known := want[invalid.GetFlag().Value.Type()]
	if !known {
		return err.Error()
	}
	return fmt.Sprintf("--%s: %q is not %s", invalid.GetFlag().Name, invalid.GetValue(), kind)
}

// group makes a command that only has others: alone it shows its help, and a wrong word is an error.
func group(cmd *cobra.Command, children ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(children...)
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		text := fmt.Sprintf("there is no command %q in %s", args[0], cmd.CommandPath())
		if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
			text += "; did you mean " + strings.Join(similar, " or ") + "?"
		}
		return &usageError{text + " (see " + cmd.CommandPath() + " --help)"}
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.SuggestionsMinimumDistance = 2
	return cmd
}

// exactly makes a command's check of its arguments, which are named as in its Use line.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == len(names):
			return nil
		case len(names) == 0:
			return &usageError{fmt.Sprintf("%s takes no %q (see %s --help)", cmd.CommandPath(), args[0], cmd.CommandPath())}
		}
		return &usageError{fmt.Sprintf("write %s %s (see %s --help)", cmd.CommandPath(), strings.Join(names, " "), cmd.CommandPath())}
	}
}

// config loads the configuration.
func (a *app) config() (config.Config, error) {
	c, err := config.Load(a.configPath, a.Getenv)
	if err == nil && a.logLevel != "" {
		c.Log.Level = a.logLevel
		err = c.Validate()
	}
	return c, err
}

// logger writes to standard error as the configuration says. level is the least that it writes.
func (a *app) logger(format string, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(a.Err, options))
	}
	return slog.New(slog.NewTextHandler(a.Err, options))
}

// level reads a level that the configuration's check has let pass.
func level(text string) slog.Level {
	var l slog.Level
	if err := l.UnmarshalText([]byte(text)); err != nil {
		return slog.LevelInfo
	}
	return l
}

// sharedWriter lets a gateway's log and its launcher's be one.
type sharedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

// Write implements io.Writer.
func (s *sharedWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}
