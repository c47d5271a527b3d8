package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sys/unix"

	"cellblock.io/cellblock/containers"
	"cellblock.io/cellblock/internal/config"
	"cellblock.io/cellblock/internal/podmanservice"
	"cellblock.io/cellblock/internal/prove"
	"cellblock.io/cellblock/internal/prove/container"
	"cellblock.io/cellblock/internal/redisserver"
)

// canaryKey keeps a canary's key apart from all others, and canaryTime ends it should nobody remove it.
const (
	canaryKey  = "cellblock:prove:"
	canaryTime = time.Hour
)

// proveAll runs the probes on this installation: in containers of an instance of their own, by a Podman service of their
// own in whose environment secrets are hidden.
func (a *app) proveAll(ctx context.Context, probes []prove.Probe) (*prove.Report, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		return nil, errors.New("this must run as the gateway's user, whose Podman runs the kernels: deploy/enter -- cellblock prove")
	}
	planted, forget, err := proveRedis(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer forget()
	dir, release, err := provePlace(cfg)
	if err != nil {
		return nil, err
	}
	defer release()
	log := a.logger(cfg.Log.Format, max(level(cfg.Log.Level), slog.LevelError))
	env, secrets := plantEnv()
	podman := podmanservice.Config{Socket: filepath.Join(dir, "podman.sock"), Command: cfg.Podman.Command, Env: env, Log: log}
	var report *prove.Report
	err = withPodman(ctx, podman, func() (err error) {
		report, err = a.proveWith(ctx, cfg, &proving{dir: dir, secrets: secrets, probes: probes, redis: planted, log: log})
		return err
	})
	if err != nil {
		return nil, err
	}
	return report, nil
}

// proveRedis connects to Redis for a canary there. Where it is another user's than Podman's there is none: the report says
// so, and what breaks out of a kernel would be the user who cannot reach it either.
func proveRedis(ctx context.Context, cfg config.Config) (planted prove.Redis, forget func(), err error) {
	if front, _, err := ownerOf(cfg.FrontDir()); err == nil && front != os.Geteuid() {
		return nil, func() {}, nil
	}
	key, err := officeKey(cfg)
	if err != nil {
		return nil, nil, err
	}
	client, err := redisserver.NewClient(redisURL(cfg, key))
	if err != nil {
		return nil, nil, err
	}
	if err := reach(ctx, cfg, client); err != nil {
		client.Close()
		return nil, nil, err
	}
	return canaries{client}, func() { client.Close() }, nil
}

// proving is what a run needs.
type proving struct {
	dir     string
	secrets map[string]string
	probes  []prove.Probe
	redis   prove.Redis
	log     *slog.Logger
}

func (a *app) proveWith(ctx context.Context, cfg config.Config, p *proving) (*prove.Report, error) {
	ec := engineConfig(cfg, p.log)
	ec.Socket, ec.RunDir = filepath.Join(p.dir, "podman.sock"), filepath.Join(p.dir, "kernels")
	ec.Instance = proveInstance(cfg)
	engine, err := containers.Connect(ctx, ec)
	if err != nil {
		return nil, err
	}
	defer engine.Close()
	specs, err := engine.Specs(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w (kernels.images; deploy/up builds localhost/cellblock/kernel-python)", err)
	}
	spec, ok := specs[cfg.Kernels.Default]
	if !ok {
		return nil, fmt.Errorf("no image provides the kernelspec %s (kernels.default), in which probes run", cfg.Kernels.Default)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	place, err := container.New(ctx, container.Config{
		Engine: engine, Spec: spec, Secrets: p.secrets,
		Survey: []string{cfg.Podman.Command, "unshare", self, "prove", "survey"},
	})
	if err != nil {
		return nil, err
	}
	report, err := prove.Run(ctx, prove.Config{
		Level: place, Probes: p.probes, Redis: p.redis,
		Dirs:     map[string]string{"state_dir": cfg.StateDir, "run_dir": cfg.RunDir},
		Files:    map[string]string{"the configuration": cmp.Or(a.configPath, a.Getenv("CELLBLOCK_CONFIG"), config.DefaultPath)},
		Progress: a.proveProgress(),
	})
	if err != nil {
		return nil, err
	}
	can, err := engine.Capabilities(ctx)
	if err != nil {
		return nil, err
	}
	report.Version = thisBuild().Version
	report.Place = fmt.Sprintf("Linux %s, Podman %s, %s", kernelRelease(), can.Version, can.Runtime)
	return report, nil
}

// proveProgress tells on standard error how far it is: in place on a terminal, else a line per tenth.
func (a *app) proveProgress() func(done, total int, what string) {
	terminal, last := isTerminal(a.Err), -1
	return func(done, total int, what string) {
		switch {
		case terminal:
			fmt.Fprintf(a.Err, "\r\x1b[K%d of %d: %s", done, total, what)
			if done == total {
				fmt.Fprintln(a.Err)
			}
		case done*10/total != last:
			last = done * 10 / total
			fmt.Fprintf(a.Err, "%d of %d: %s\n", done, total, what)
		}
	}
}

// provePlace makes the directory of a run. One run at a time: the next removes what one before has left.
func provePlace(cfg config.Config) (dir string, release func(), err error) {
	dir = filepath.Join(cfg.EngineDir(), "prove")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, fmt.Errorf("make a directory for the run: %w; prove runs as the gateway's user: deploy/enter -- cellblock prove", err)
	}
	lock, err := os.Open(dir)
	if err != nil {
		return "", nil, fmt.Errorf("open the run's directory: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return "", nil, errors.New("another cellblock prove is at work: wait until it is done")
	}
	return dir, func() { os.RemoveAll(dir); lock.Close() }, nil
}

// proveInstance is an instance beside the gateway's: neither sees the other's containers.
func proveInstance(cfg config.Config) string {
	sum := sha256.Sum256([]byte(cfg.Instance + "\x00" + cfg.RunDir))
	return "prove-" + hex.EncodeToString(sum[:4])
}

// plantEnv makes variables with secrets for the engine, by names that engines and programs like to hand on.
func plantEnv() (env []string, secrets map[string]string) {
	secrets = map[string]string{}
	for name, value := range map[string]string{
		"CELLBLOCK_SECRET": "%s", "HTTP_PROXY": "http://user:%s@proxy.invalid:3128", "AWS_SECRET_ACCESS_KEY": "%s",
	} {
		word := rand.Text() + rand.Text()
		env = append(env, name+"="+fmt.Sprintf(value, word))
		secrets["the engine's variable "+name] = word
	}
	return env, secrets
}

func kernelRelease() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return "of unknown release"
	}
	number, _, _ := strings.Cut(unix.ByteSliceToString(name.Release[:]), "-")
	return number
}

// canaries implements prove.Redis.
type canaries struct{ client *redis.Client }

// Set implements prove.Redis.
func (c canaries) Set(ctx context.Context, key, value string) error {
	return c.client.Set(ctx, canaryKey+key, value, canaryTime).Err()
}

// Get implements prove.Redis.
func (c canaries) Get(ctx context.Context, key string) (string, error) {
	return c.client.Get(ctx, canaryKey+key).Result()
}

// Delete implements prove.Redis.
func (c canaries) Delete(ctx context.Context, key string) error {
	return c.client.Del(ctx, canaryKey+key).Err()
}
