package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"github.com/redis/go-redis/v9"

	"cellblock.io/cellblock/auth"
	"cellblock.io/cellblock/containers"
	"cellblock.io/cellblock/internal/config"
	"cellblock.io/cellblock/internal/podmanservice"
	"cellblock.io/cellblock/internal/redisserver"
	"cellblock.io/cellblock/internal/secret"
	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/kernels/bridge"
	"cellblock.io/cellblock/kernels/redisstore"
	"cellblock.io/cellblock/launcher"
)

// drainGrace is how long launches in flight may go on when the gateway ends.
const drainGrace = 10 * time.Second

func privateRedis(cfg config.Config, key secret.Key, log *slog.Logger) *redisserver.Server {
	return redisserver.New(redisserver.Config{
		Dir:    cfg.RedisDir(),
		Socket: filepath.Join(cfg.FrontDir(), "redis.sock"),
		Key:    key,
		Binary: cfg.Redis.Command,
		Log:    log,
	})
}

func podmanService(cfg config.Config, log *slog.Logger) *podmanservice.Service {
	return podmanservice.New(podmanservice.Config{Socket: cfg.PodmanSocket(), Command: cfg.Podman.Command, Log: log})
}

// withPodman calls use while a Podman service of this command's own answers.
func withPodman(ctx context.Context, cfg podmanservice.Config, use func() error) error {
	service := podmanservice.New(cfg)
	parts := newStack()
	parts.start("podman", service.Run)
	err := parts.await(ctx, podmanStart, service.Ready)
	if err == nil {
		err = use()
	}
	return errors.Join(err, parts.stop())
}

func newAuth(cfg config.Config, key secret.Key, client *redis.Client, log *slog.Logger) (*auth.Service, error) {
	j := cfg.Auth.JWT
	jwt := auth.JWTConfig{Issuer: j.Issuer, Audience: j.Audience, Leeway: j.Leeway, AdminClaim: j.AdminClaim, AdminValue: j.AdminValue}
	if j.Algorithm != "" {
		jwt.Keys = []auth.JWTKey{{Algorithm: j.Algorithm, File: j.KeyFile}}
	}
	s, err := auth.New(auth.Config{
		Redis: client, Key: key, JWT: jwt, SessionTTL: cfg.Auth.SessionTTL, SessionMax: cfg.Auth.SessionMax, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	return s, nil
}

func newStore(cfg config.Config, key secret.Key, client *redis.Client, log *slog.Logger) *redisstore.Store {
	return redisstore.New(redisstore.Config{
		Client:       client,
		Key:          key,
		DefaultQuota: kernels.Quota{MaxKernels: cfg.Quota.MaxKernels, Network: cfg.Quota.Network},
		Log:          log,
	})
}

// imageNames are the images that the configuration names.
func imageNames(cfg config.Config) []string {
	return append([]string{cfg.BridgeImage}, cfg.Kernels.Images...)
}

// connectEngine connects to Podman. Whoever launches kernels has outlets for them; others have nil.
func connectEngine(ctx context.Context, cfg config.Config, o *outlets, log *slog.Logger) (*containers.Engine, error) {
	c := engineConfig(cfg, log)
	if o != nil {
		c.Egress = o
	}
	return containers.Connect(ctx, c)
}

// engineConfig is what kernels run with.
func engineConfig(cfg config.Config, log *slog.Logger) containers.Config {
	return containers.Config{
		Socket:         cfg.PodmanSocket(),
		RunDir:         cfg.KernelsDir(),
		Instance:       cfg.Instance,
		BridgeImage:    cfg.BridgeImage,
		BridgeArgs:     bridgeArgs(cfg.Output),
		Images:         cfg.Kernels.Images,
		Networks:       connections(cfg),
		Shim:           shimPath(),
		Limits:         containers.Limits{CPUs: cfg.Limits.CPUs, Memory: int64(cfg.Limits.Memory), PIDs: int64(cfg.Limits.PIDs)},
		SeccompProfile: cfg.Podman.Seccomp,
		Log:            log,
	}
}

func newManager(cfg config.Config, engine launcher.Engine, store *redisstore.Store, meter kernels.Meter, log *slog.Logger) (*kernels.Manager, error) {
	c := kernels.Config{
		Launcher: engine, Observer: engine, Specs: engine, Networks: engine,
		Store: store, Sessions: store, Quotas: store, Leases: store, History: store,
		Bridge: func(handle string) kernels.Bridge {
			return bridge.NewClient(func(ctx context.Context) (net.Conn, error) { return engine.Dial(ctx, handle) })
		},
		Log:         log,
		DefaultSpec: cfg.Kernels.Default,
		Cull: kernels.Cull{
			IdleTimeout: cfg.Cull.IdleTimeout, Interval: cfg.Cull.Interval, Warning: cfg.Cull.Warning,
			Connected: cfg.Cull.Connected, Busy: cfg.Cull.Busy,
		},
		StartTimeout: cfg.Kernels.StartTimeout,
		Grace:        drainGrace,
		Meter:        meter,
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return kernels.New(c), nil
}
