package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"cellblock.io/cellblock/gateway"
	"cellblock.io/cellblock/internal/config"
	"cellblock.io/cellblock/internal/doctor"
	"cellblock.io/cellblock/internal/redisserver"
	"cellblock.io/cellblock/internal/secret"
	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/kernels/redisstore"
	"cellblock.io/cellblock/launcher"
	"cellblock.io/cellblock/web"
)

// redisStart is how long a private Redis may take to answer for the first time: it reads its file.
const redisStart = time.Minute

func serveCommand(a *app) *cobra.Command {
	var address string
	var check bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long: `Runs the gateway until SIGTERM or ^C; then clients are told to come back, and kernels go on for the next gateway.
A second signal ends it at once. Where no Redis is configured it runs a private redis-server. Kernels are started by
another process (cellblock launcher), as a user of its own where deploy/up has set that up; elsewhere serve runs it,
and both as an ordinary user with subordinate ids, whose rootless Podman runs the kernels.`,
		Example: `  cellblock serve
  cellblock serve --check
  cellblock serve --config ./cellblock.yaml --listen 127.0.0.1:9999
  CELLBLOCK_LOG_FORMAT=json cellblock serve`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			if address != "" {
				cfg.Listen = address
				if err := cfg.Validate(); err != nil {
					return err
				}
			}
			if check {
				_, err := loadTLS(cfg)
				_, wrong := policies(cfg)
				return errors.Join(err, wrong)
			}
			return a.serve(cmd.Context(), cfg)
		},
	}
	cmd.Flags().StringVar(&address, "listen", "", "`address` and port (default from the configuration)")
	cmd.Flags().BoolVar(&check, "check", false, "check the configuration and start nothing")
	return cmd
}

// serve runs all parts until ctx ends or one of them fails. The parts end one after the other, the listener first.
func (a *app) serve(ctx context.Context, cfg config.Config) error {
	log := a.logger(cfg.Log.Format, level(cfg.Log.Level))
	release, err := takeFront(cfg)
	if err != nil {
		return err
	}
	defer release()
	key, err := secret.Make(cfg.KeyFile())
	if err != nil {
		return err
	}
	ln, err := listen(cfg)
	if err != nil {
		return err
	}
	defer ln.Close()

	s := &server{cfg: cfg, file: config.Path(a.configPath, a.Getenv), key: key, log: log, stack: newStack()}
	err = s.run(ctx, a, ln)
	if stopped := s.stack.stop(); err == nil {
		err = stopped
	}
	s.close()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // asked to end while it was starting
	}
	return err
}

// server is what serve wires together.
type server struct {
	cfg   config.Config
	file  string // that cfg is from
	key   secret.Key
	log   *slog.Logger
	stack *stack

	redis    *redis.Client
	launcher *launcher.Client
}

// run starts the parts from the bottom and returns when ctx ends or one breaks.
func (s *server) run(ctx context.Context, a *app, ln net.Listener) error {
	if err := s.reachRedis(ctx); err != nil {
		return err
	}
	if err := s.reachLauncher(ctx, a); err != nil {
		return err
	}
	registry, meter, err := newRegistry(thisBuild())
	if err != nil {
		return err
	}
	store := newStore(s.cfg, s.key, s.redis, s.log)
	manager, err := newManager(s.cfg, s.launcher, store, meter, s.log)
	if err != nil {
		return err
	}
	service, err := newAuth(s.cfg, s.key, s.redis, s.log)
	if err != nil {
		return err
	}
	h := &health{checks: s.checks(store, meter), log: s.log}
	h.look(ctx)
	page, err := newPage(web.Assets(), web.ContentSecurityPolicy)
	if err != nil {
		return err
	}
	g, err := gateway.New(gateway.Config{
		Kernels:        manager,
		Auth:           service,
		Dial:           s.launcher.Dial,
		Page:           page,
		BaseURL:        s.cfg.BaseURL,
		AllowOrigins:   origins(s.cfg),
		Hosts:          hosts(),
		EnvAllow:       s.cfg.Kernels.EnvAllow,
		TrustedProxies: proxies(s.cfg.TrustedProxies),
		MetricsOpen:    s.cfg.Metrics.Open,
		Metrics:        registry,
		Health:         h.state,
		Version:        thisBuild().Version,
		Log:            s.log,
	})
	if err != nil {
		return err
	}
	s.stack.start("memory", new(collector).Run)
	s.stack.start("health", h.Run)
	s.stack.start("user ids", func(ctx context.Context) error { return s.claimUserIDs(ctx, store) })
	s.stack.start("kernels", manager.Run)
	s.stack.start("gateway", func(ctx context.Context) error { return g.Run(ctx, ln) })
	s.announce(ln)
	select {
	case <-ctx.Done():
		s.log.Info("draining: clients are told to come back, kernels go on")
	case <-s.stack.broken.Done():
	}
	return nil
}

// reachRedis connects to the configured Redis, or starts a private one first.
func (s *server) reachRedis(ctx context.Context) (err error) {
	if s.redis, err = redisserver.NewClient(redisURL(s.cfg, s.key)); err != nil {
		return err
	}
	if s.cfg.Redis.URL != "" {
		if err := reach(ctx, s.cfg, s.redis); err != nil {
			return err
		}
		s.lookAtRedis(ctx, s.cfg.Redis.URL)
		return nil
	}
	private := privateRedis(s.cfg, s.key, s.log)
	s.stack.start("redis", private.Run)
	if err := s.stack.await(ctx, redisStart, private.Ready); err != nil {
		return err
	}
	s.lookAtRedis(ctx, private.AdminURL())
	return nil
}

// lookAtRedis warns of what doctor would say of it. It is not for /healthz, which everybody can read.
func (s *server) lookAtRedis(ctx context.Context, address string) {
	info, err := redisInfo(ctx, s.cfg, address)
	if err != nil {
		s.log.Info("Redis was not looked at", "err", err)
		return
	}
	host := &doctor.Host{FS: os.DirFS("/"), Config: s.cfg, ConfigFile: s.file, Redis: func() (map[string]string, error) { return info, nil }}
	for _, f := range doctor.Examine(host, "redis") {
		if f.Severity == doctor.Fail || f.Severity == doctor.Warn {
			s.log.Warn(f.Found, "remedy", f.Remedy)
		}
	}
}

// reachLauncher finds the process that starts kernels. One of another user's is waited for by those who need it; one of
// this user's is run where none answers.
func (s *server) reachLauncher(ctx context.Context, a *app) error {
	s.launcher = launcher.NewClient(s.cfg.LauncherSocket())
	if separate(s.cfg) {
		s.log.Info("the launcher is another user's: this process cannot reach Podman, kernels or workspaces")
		return nil
	}
	s.log.Warn("no separation of privileges: the launcher runs as this same user, so whoever takes over the gateway has all kernels and workspaces")
	child, err := a.newChild(s.launcher, s.log)
	if err != nil {
		return err
	}
	s.stack.start("launcher", child.Run)
	return s.stack.await(ctx, launcherStart, child.ready)
}

// claimRetry is between two attempts to tell Redis whose the user ids are.
const claimRetry = 2 * time.Second

// claimUserIDs tells a Redis that may have lost everything whose the ids are, as soon as the launcher answers. Until then
// the launcher itself refuses an id that is another owner's.
func (s *server) claimUserIDs(ctx context.Context, store *redisstore.Store) error {
	for {
		ids, err := s.launcher.UserIDs(ctx)
		if err == nil {
			err = store.ClaimUIDs(ctx, ids)
		}
		if err == nil {
			break
		}
		s.log.Debug("tell Redis whose the user ids are", "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(claimRetry):
		}
	}
	<-ctx.Done()
	return nil
}

// checks are what /healthz looks at while the gateway runs.
func (s *server) checks(store kernels.Store, m *meter) []check {
	return []check{
		{"Redis does not answer. Nobody can sign in or start kernels.", true, func(ctx context.Context) ([]string, error) {
			records, err := store.Records(ctx, "")
			if err == nil {
				m.count(records)
			}
			return nil, err
		}},
		{"The launcher does not answer. Kernels cannot be started, stopped or connected to.", false, s.launcher.Problems},
	}
}

// announce says where the gateway is, and what its address means.
func (s *server) announce(ln net.Listener) {
	for _, f := range doctor.Examine(&doctor.Host{Config: s.cfg, ConfigFile: s.file}, "gateway.encryption") {
		if f.Severity != doctor.OK {
			s.log.Warn(f.Found, "remedy", f.Remedy)
		}
	}
	s.log.Info("cellblock serves", "address", ln.Addr().String(), "url", address(s.cfg), "version", thisBuild().Version)
}

// close releases what is no part.
func (s *server) close() {
	if s.redis != nil {
		if err := s.redis.Close(); err != nil {
			s.log.Warn("close Redis client", "err", err)
		}
	}
}
