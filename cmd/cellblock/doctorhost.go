package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"cellblock.io/cellblock/containers"
	"cellblock.io/cellblock/internal/config"
	"cellblock.io/cellblock/internal/doctor"
	"cellblock.io/cellblock/internal/podmanservice"
	"cellblock.io/cellblock/internal/redisserver"
)

// host is this machine, as doctor looks at it. Podman and Redis are asked when a check wants to know, once.
func (a *app) host(ctx context.Context, cfg config.Config) *doctor.Host {
	h := &doctor.Host{
		FS: os.DirFS("/"), Xattr: xattr, Space: space, Clock: synchronized,
		Now: time.Now(), Built: builtAt(),
		Config: cfg, ConfigFile: config.Path(a.configPath, a.Getenv), User: engineUser(cfg),
		Engine: sync.OnceValues(func() (doctor.Engine, error) { return askEngine(ctx, cfg) }),
		Redis:  sync.OnceValues(func() (map[string]string, error) { return askRedis(ctx, cfg) }),
	}
	if os.Geteuid() == 0 && h.User.UID != 0 {
		h.Enter = "setpriv --reuid " + h.User.Name + " --regid " + strconv.Itoa(h.User.GID) + " --clear-groups --"
		if enter := filepath.Join(cfg.StateDir, "bin", "enter"); isFile(enter) {
			h.Enter = enter + " --instance " + h.User.Name + " --"
		}
	}
	return h
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// engineUser is who asks; for root, the one to whom the gateway's directories belong.
func engineUser(cfg config.Config) doctor.User {
	if uid := os.Geteuid(); uid != 0 {
		return named(uid, os.Getegid())
	}
	for _, dir := range []string{cfg.KernelsDir(), cfg.RedisDir(), filepath.Join(cfg.StateDir, "containers")} {
		if uid, gid, err := ownerOf(dir); err == nil {
			return named(uid, gid)
		}
	}
	return doctor.User{}
}

func named(uid, gid int) doctor.User {
	name := strconv.Itoa(uid)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	return doctor.User{UID: uid, GID: gid, Name: name}
}

// askEngine asks the gateway's Podman service. Where none runs, it starts one for the time of the question; root does
// not, for that would be another Podman than the gateway's.
func askEngine(ctx context.Context, cfg config.Config) (doctor.Engine, error) {
	if podmanService(cfg, nil).Ping(ctx) == nil {
		survey, err := containers.Look(ctx, cfg.PodmanSocket(), imageNames(cfg))
		return doctor.Engine{Survey: survey, Lasting: true}, err
	}
	if os.Geteuid() == 0 {
		return doctor.Engine{}, fmt.Errorf("no Podman service answers at %s", cfg.PodmanSocket())
	}
	dir, err := os.MkdirTemp("", "cellblock-doctor")
	if err != nil {
		return doctor.Engine{}, err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(ctx, podmanStart)
	defer cancel()
	socket := filepath.Join(dir, "podman.sock")
	var survey containers.Survey
	err = withPodman(ctx, podmanservice.Config{Socket: socket, Command: cfg.Podman.Command}, func() (err error) {
		survey, err = containers.Look(ctx, socket, imageNames(cfg))
		return err
	})
	return doctor.Engine{Survey: survey}, err
}

// askRedis asks the configured Redis, or the private one as the user that looks after it.
func askRedis(ctx context.Context, cfg config.Config) (map[string]string, error) {
	address := cfg.Redis.URL
	if address == "" {
		key, err := officeKey(cfg)
		if err != nil {
			return nil, err
		}
		address = privateRedis(cfg, key, nil).AdminURL()
	}
	return redisInfo(ctx, cfg, address)
}

// redisInfo returns the fields of INFO; an error where the address' user may not ask for that.
func redisInfo(ctx context.Context, cfg config.Config, address string) (map[string]string, error) {
	client, err := redisserver.NewClient(address)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, officeTimeout)
	defer cancel()
	if err := reach(ctx, cfg, client); err != nil {
		return nil, err
	}
	text, err := client.Info(ctx).Result()
	if err != nil {
		return nil, fmt.Errorf("ask Redis about itself: %w", err)
	}
	info := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return info, nil
}

func xattr(path, name string) ([]byte, error) {
	value := make([]byte, 64<<10) // the most that Linux keeps
	n, err := unix.Lgetxattr(path, name, value)
	if errors.Is(err, unix.ENODATA) {
		return nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	return value[:n], nil
}

func space(path string) (doctor.Space, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return doctor.Space{}, err
	}
	block := uint64(s.Bsize)
	return doctor.Space{Bytes: s.Blocks * block, Free: s.Bavail * block, Files: s.Files, FreeFiles: s.Ffree}, nil
}

// synchronized asks the Linux kernel whether a program like chrony keeps its clock.
func synchronized() (bool, error) {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return false, err
	}
	return t.Status&unix.STA_UNSYNC == 0, nil
}

// builtAt is when this binary's source was committed; zero when it does not say.
func builtAt() time.Time {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return time.Time{}
	}
	for _, s := range info.Settings {
		if t, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil {
			return t
		}
	}
	return time.Time{}
}
