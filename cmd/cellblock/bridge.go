package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"cellblock.io/cellblock/internal/config"
	"cellblock.io/cellblock/kernels/bridge"
)

func bridgeCommand(a *app) *cobra.Command {
	var cfg bridge.Config
	standard := config.Default().Output
	cmd := &cobra.Command{
		Use:   "bridge --connection-file FILE --listen ADDRESS",
		Short: "Serve one kernel's channels (started beside each kernel)",
		Long: `Connects to one running kernel by its connection file (transport tcp or ipc) and serves the Jupyter WebSocket
protocol: /api/kernels/ID/channels, the kernel's model at /api/kernels/ID, and /healthz. The gateway starts one beside
each kernel. By hand it makes any kernel reachable, for tests and for the curious; it asks nobody for a credential.`,
		Example: `  python -m ipykernel_launcher -f k.json &
  cellblock bridge --connection-file k.json --listen 127.0.0.1:8899`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cfg.ConnectionFile == "" || cfg.Listen == "" {
				return &usageError{"say which kernel and where: --connection-file FILE --listen ADDRESS"}
			}
			if err := cfg.Validate(); err != nil {
				return &usageError{err.Error()}
			}
			cfg.Log = a.logger("text", slog.LevelInfo)
			if a.logLevel != "" {
				cfg.Log = a.logger("text", level(a.logLevel))
			}
			ctx, stop := context.WithCancel(cmd.Context())
			var parts errgroup.Group
			parts.Go(func() error { return new(collector).Run(ctx) })
			parts.Go(func() error {
				defer stop()
				return bridge.Run(ctx, cfg)
			})
			return parts.Wait()
		},
	}
	cmd.Flags().StringVar(&cfg.ConnectionFile, "connection-file", "", "the kernel's connection `file`")
	cmd.Flags().StringVar(&cfg.Listen, "listen", "", "`address`: 127.0.0.1:8899 or unix:/path")
	cmd.Flags().StringVar(&cfg.KernelID, "kernel-id", "", "the only `id` that is served (default: any)")
	cmd.Flags().IntVar(&cfg.RateLimits.Messages, "iopub-msg-rate-limit", 0, "output `messages` a second on one connection (default: no limit)")
	cmd.Flags().IntVar(&cfg.RateLimits.Bytes, "iopub-data-rate-limit", 0, "`bytes` of printed text a second on one connection (default: no limit)")
	cmd.Flags().DurationVar(&cfg.RateLimits.Window, "rate-limit-window", standard.RateWindow, "the `time` over which these are averages")
	cmd.Flags().IntVar(&cfg.JournalBytes, "journal-bytes", int(standard.JournalBytes), "`bytes` that are kept for those who come back")
	cmd.Flags().IntVar(&cfg.JournalMessages, "journal-messages", standard.JournalMessages, "`messages` that are kept for those who come back")
	return cmd
}

// bridgeArgs are the flags that give a bridge what the configuration says; what is a default is left out.
func bridgeArgs(o config.Output) (args []string) {
	standard := config.Default().Output
	for _, flag := range []struct {
		name        string
		value, left any
	}{
		{"--iopub-msg-rate-limit", o.MessageRate, standard.MessageRate},
		{"--iopub-data-rate-limit", int(o.DataRate), int(standard.DataRate)},
		{"--rate-limit-window", o.RateWindow, standard.RateWindow},
		{"--journal-bytes", int(o.JournalBytes), int(standard.JournalBytes)},
		{"--journal-messages", o.JournalMessages, standard.JournalMessages},
	} {
		if flag.value != flag.left {
			args = append(args, flag.name, fmt.Sprint(flag.value))
		}
	}
	return args
}
