package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"cellblock.io/cellblock/containers"
	"cellblock.io/cellblock/internal/config"
	"cellblock.io/cellblock/internal/doctor"
	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/launcher"
)

// How long a part of the launcher may take to answer for the first time.
const (
	podmanStart = time.Minute // the first start after a boot makes namespaces
	engineStart = 30 * time.Second
)

func launcherCommand(a *app) *cobra.Command {
	var child bool
	cmd := &cobra.Command{
		Use:   "launcher",
		Short: "Start and stop kernels for the gateway",
		Long: `Holds Podman for the gateway, so that the process that the network reaches need not: it listens on a Unix socket in
run_dir, and does what is asked there by processes of the gateway's user, when its own check lets it pass. It ends on
SIGTERM or ^C, and kernels go on. It runs as an ordinary user with subordinate ids, another than the gateway's;
deploy/up sets both up. Where no launcher answers, cellblock serve runs one as its own user. Where nobody answers on
Podman's socket, the launcher runs Podman's API service.`,
		Example: "  cellblock launcher",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			if child {
				var cancel context.CancelFunc
				ctx, cancel = untilEnd(ctx, a.In)
				defer cancel()
			}
			return a.launch(ctx, cfg)
		},
	}
	cmd.Flags().BoolVar(&child, "child", false, "end when standard input does")
	_ = cmd.Flags().MarkHidden("child") // there is such a flag
	return cmd
}

// untilEnd returns a context that ends with ctx or with in, on which nothing is expected.
func untilEnd(ctx context.Context, in io.Reader) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	return ctx, cancel
}

// launch runs all parts of a launcher until ctx ends or one of them fails.
func (a *app) launch(ctx context.Context, cfg config.Config) error {
	release, err := takeLauncher(ctx, cfg)
	if err != nil {
		return err
	}
	defer release()
	l := &launching{cfg: cfg, file: config.Path(a.configPath, a.Getenv), log: a.logger(cfg.Log.Format, level(cfg.Log.Level)), stack: newStack()}
	err = l.run(ctx)
	if stopped := l.stack.stop(); err == nil {
		err = stopped
	}
	if l.engine != nil {
		l.engine.Close()
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // asked to end while it was starting
	}
	return err
}

// launching is what a launcher wires together.
type launching struct {
	cfg   config.Config
	file  string // of the configuration
	log   *slog.Logger
	stack *stack

	engine  *containers.Engine
	outlets *outlets
	lasting []string // what will be wrong for as long as this process runs
}

// run starts the parts from the bottom and returns when ctx ends or one breaks.
func (l *launching) run(ctx context.Context) error {
	outlets, err := newOutlets(l.cfg, l.log)
	if err != nil {
		return err
	}
	l.outlets = outlets
	if err := l.reachPodman(ctx); err != nil {
		return err
	}
	l.stack.start("egress", l.outlets.proxy.Run)
	ln, err := listenForFront(l.cfg)
	if err != nil {
		return err
	}
	server := launcher.NewServer(launcher.Config{
		Engine: l.engine, May: mayAsk(l.cfg), EnvAllow: kernels.EnvAllow(l.cfg.Kernels.EnvAllow), Problems: l.problems, Log: l.log,
	})
	l.stack.start("images", l.copyImages)
	l.stack.start("launcher", func(ctx context.Context) error { return server.Run(ctx, ln) })
	l.log.Info("cellblock launches kernels", "socket", ln.Addr().String(), "version", thisBuild().Version)
	select {
	case <-ctx.Done():
		l.log.Info("the launcher ends, kernels go on")
	case <-l.stack.broken.Done():
	}
	return nil
}

// reachPodman starts Podman's service where nobody answers, connects to it, and looks whether kernels could run.
func (l *launching) reachPodman(ctx context.Context) error {
	service := podmanService(l.cfg, l.log)
	l.stack.start("podman", service.Run)
	if err := l.stack.await(ctx, podmanStart, service.Ready); err != nil {
		return err
	}
	return l.stack.await(ctx, engineStart, func(ctx context.Context) (err error) {
		if l.engine, err = connectEngine(ctx, l.cfg, l.outlets, l.log); err != nil {
			return err
		}
		if err := l.inspect(ctx); err != nil {
			return err
		}
		if err := l.haveNetworks(); err != nil {
			return err
		}
		return l.engine.OpenOutlets(ctx)
	})
}

// haveNetworks makes sure that the networks of the configuration can be had.
func (l *launching) haveNetworks() error {
	needed := map[containers.Network]bool{connections(l.cfg)[l.cfg.Quota.Network]: true, containers.Allowlist: len(l.cfg.Networks) > 0}
	for network, wanted := range needed {
		if !wanted {
			continue
		}
		if err := l.engine.CanConnect(network); err != nil {
			return fmt.Errorf("kernels cannot have the network %s (quota.network, networks): %w", network, err)
		}
	}
	return nil
}

// inspect refuses what cannot work and takes note of what works but not as it should, by the rules of doctor.
func (l *launching) inspect(ctx context.Context) error {
	survey, err := containers.Look(ctx, l.cfg.PodmanSocket(), imageNames(l.cfg))
	if err != nil {
		return err
	}
	host := &doctor.Host{FS: os.DirFS("/"), Config: l.cfg, ConfigFile: l.file, Engine: func() (doctor.Engine, error) {
		return doctor.Engine{Survey: survey, Lasting: true}, nil
	}}
	for _, f := range doctor.Examine(host, doctor.Required...) {
		switch f.Severity {
		case doctor.Fail:
			return fmt.Errorf("%s\n%s", f.Found, f.Remedy)
		case doctor.Warn:
			l.log.Warn(f.Found, "remedy", f.Remedy)
			if f.Group() == "engine" { // images may come while the launcher runs
				l.lasting = append(l.lasting, f.Found)
			}
		}
	}
	return nil
}

// copyImages prepares what a first kernel would wait for. It fails nothing: that kernel tries again.
func (l *launching) copyImages(ctx context.Context) error {
	if err := l.engine.CopyImages(ctx); err != nil && ctx.Err() == nil {
		l.log.Warn("the first kernel will take longer to start", "err", err)
	}
	<-ctx.Done()
	return nil
}

// problems are what the gateway shows to people of this side.
func (l *launching) problems(ctx context.Context) []string {
	all := l.lasting
	if err := podmanService(l.cfg, nil).Ping(ctx); err != nil && ctx.Err() == nil {
		all = append(all[:len(all):len(all)], "Podman does not answer. Kernels cannot be started or stopped.")
	}
	return all
}
