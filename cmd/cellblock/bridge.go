package main

import (
	"log/slog"

	"github.com/spf13/cobra"

	"cellblock.io/cellblock/kernels/bridge"
)

func bridgeCommand(a *app) *cobra.Command {
	var cfg bridge.Config
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
			cfg.Log = a.logger("text", slog.LevelInfo)
			if a.logLevel != "" {
				cfg.Log = a.logger("text", level(a.logLevel))
			}
			return bridge.Run(cmd.Context(), cfg)
		},
	}
	cmd.Flags().StringVar(&cfg.ConnectionFile, "connection-file", "", "the kernel's connection `file`")
	cmd.Flags().StringVar(&cfg.Listen, "listen", "", "`address`: 127.0.0.1:8899 or unix:/path")
	cmd.Flags().StringVar(&cfg.KernelID, "kernel-id", "", "the only `id` that is served (default: any)")
	return cmd
}
