package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"cellblock.io/cellblock/containers"
	"cellblock.io/cellblock/gateway"
	"cellblock.io/cellblock/internal/config"
	"cellblock.io/cellblock/internal/doctor"
	"cellblock.io/cellblock/internal/redisserver"
	"cellblock.io/cellblock/internal/secret"
	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/kernels/redisstore"
	"cellblock.io/cellblock/web"
)

// How long a part may take to answer for the first time.
const (
	redisStart  = time.Minute // a private one reads its file first
	podmanStart = time.Minute // the first start after a boot makes namespaces
	engineStart = 30 * time.Second
)

func serveCommand(a *app) *cobra.Command {
	var address string
	var check bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long: `Runs the gateway until SIGTERM or ^C; then clients are told to come back, and kernels go on for the next gateway.
A second signal ends it at once. It runs as an ordinary user with subordinate ids, whose rootless Podman runs the
kernels; deploy/up sets all of that up. Where no Redis is configured it runs a private redis-server, and where nobody
answers on Podman's socket it runs Podman's API service.`,
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
	release, err := takePlaces(cfg)
	if err != nil {
		return err
	}
	defer release()
	key, err := secret.Make(keyFile(cfg))
	if err != nil {
		return err
	}
	ln, err := listen(cfg)
	if err != nil {
		return err
	}
	defer ln.Close()

	s := &server{cfg: cfg, file: config.Path(a.configPath, a.Getenv), key: key, log: log, stack: newStack()}
	err = s.run(ctx, ln)
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

	redis   *redis.Client
	engine  *containers.Engine
	outlets *outlets
}

// run starts the parts from the bottom and returns when ctx ends or one breaks.
func (s *server) run(ctx context.Context, ln net.Listener) error {
	outlets, err := newOutlets(s.cfg, s.log)
	if err != nil {
		return err
	}
	s.outlets = outlets
	if err := s.reachRedis(ctx); err != nil {
		return err
	}
	lasting, err := s.reachPodman(ctx)
	if err != nil {
		return err
	}
	s.stack.start("egress", s.outlets.proxy.Run)
	registry, meter, err := newRegistry(thisBuild())
	if err != nil {
		return err
	}
	store := newStore(s.cfg, s.key, s.redis, s.log)
	if err := claimUserIDs(ctx, s.engine, store); err != nil {
		return err
	}
	manager, err := newManager(s.cfg, s.engine, store, meter, s.log)
	if err != nil {
		return err
	}
	service, err := newAuth(s.cfg, s.key, s.redis, s.log)
	if err != nil {
		return err
	}
	h := &health{lasting: lasting, checks: s.checks(store, meter), log: s.log}
	h.look(ctx)
	page, err := newPage(web.Assets(), web.ContentSecurityPolicy)
	if err != nil {
		return err
	}
	g, err := gateway.New(gateway.Config{
		Kernels:        manager,
		Auth:           service,
		Dial:           s.engine.Dial,
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
	s.stack.start("images", s.copyImages)
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

// reachPodman starts Podman's service where nobody answers, connects to it, and looks whether kernels could run. It
// returns what will be wrong for as long as the gateway runs.
func (s *server) reachPodman(ctx context.Context) (lasting []string, err error) {
	service := podmanService(s.cfg, s.log)
	s.stack.start("podman", service.Run)
	if err := s.stack.await(ctx, podmanStart, service.Ready); err != nil {
		return nil, err
	}
	err = s.stack.await(ctx, engineStart, func(ctx context.Context) error {
		s.engine, err = connectEngine(ctx, s.cfg, s.outlets, s.log)
		if err != nil {
			return err
		}
		if lasting, err = s.inspect(ctx); err != nil {
			return err
		}
		if err := s.haveNetworks(); err != nil {
			return err
		}
		return s.engine.OpenOutlets(ctx)
	})
	return lasting, err
}

// inspect refuses what cannot work and returns what works but not as it should, by the rules of doctor.
func (s *server) inspect(ctx context.Context) (lasting []string, err error) {
	survey, err := containers.Look(ctx, podmanSocket(s.cfg), imageNames(s.cfg))
	if err != nil {
		return nil, err
	}
	host := &doctor.Host{FS: os.DirFS("/"), Config: s.cfg, ConfigFile: s.file, Engine: func() (doctor.Engine, error) {
		return doctor.Engine{Survey: survey, Lasting: true}, nil
	}}
	for _, f := range doctor.Examine(host, doctor.Required...) {
		switch f.Severity {
		case doctor.Fail:
			return nil, fmt.Errorf("%s\n%s", f.Found, f.Remedy)
		case doctor.Warn:
			s.log.Warn(f.Found, "remedy", f.Remedy)
			if f.Group() == "engine" { // images may come while the gateway runs
				lasting = append(lasting, f.Found)
			}
		}
	}
	return lasting, nil
}

// claimUserIDs tells a Redis that may have lost everything whose the ids are.
func claimUserIDs(ctx context.Context, engine *containers.Engine, store *redisstore.Store) error {
	ids, err := engine.UserIDs(ctx)
	if err != nil {
		return err
	}
	return store.ClaimUIDs(ctx, ids)
}

// copyImages prepares what a first kernel would wait for. It fails nothing: that kernel tries again.
func (s *server) copyImages(ctx context.Context) error {
	if err := s.engine.CopyImages(ctx); err != nil && ctx.Err() == nil {
		s.log.Warn("the first kernel will take longer to start", "err", err)
	}
	<-ctx.Done()
	return nil
}

// checks are what /healthz looks at while the gateway runs.
func (s *server) checks(store kernels.Store, m *meter) []check {
	return []check{
		{"Redis does not answer. Nobody can sign in or start kernels.", true, func(ctx context.Context) error {
			records, err := store.Records(ctx, "")
			if err == nil {
				m.count(records)
			}
			return err
		}},
		{"Podman does not answer. Kernels cannot be started or stopped.", false, func(ctx context.Context) error {
			return podmanService(s.cfg, nil).Ping(ctx)
		}},
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
	if s.engine != nil {
		s.engine.Close()
	}
	if s.redis != nil {
		if err := s.redis.Close(); err != nil {
			s.log.Warn("close Redis client", "err", err)
		}
	}
}

// haveNetworks makes sure that the networks of the configuration can be had.
func (s *server) haveNetworks() error {
	needed := map[containers.Network]bool{connections(s.cfg)[s.cfg.Quota.Network]: true, containers.Allowlist: len(s.cfg.Networks) > 0}
	for network, wanted := range needed {
		if !wanted {
			continue
		}
		if err := s.engine.CanConnect(network); err != nil {
			return fmt.Errorf("kernels cannot have the network %s (quota.network, networks): %w", network, err)
		}
	}
	return nil
}
