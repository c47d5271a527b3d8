package config

import (
	"path/filepath"
	"strings"
)

// The places below run_dir. Whose they are says which user the front and which the launcher runs as: whoever makes run_dir
// for two of them, as deploy/up does, makes these four too.

// FrontDir belongs to serve and is closed to others.
func (c Config) FrontDir() string { return filepath.Join(c.RunDir, "front") }

// EngineDir belongs to the launcher and is closed to others.
func (c Config) EngineDir() string { return filepath.Join(c.RunDir, "engine") }

// KernelsDir belongs to the launcher, too: it has one directory per kernel.
func (c Config) KernelsDir() string { return filepath.Join(c.RunDir, "kernels") }

// LauncherDir belongs to the launcher, and serve may pass.
func (c Config) LauncherDir() string { return filepath.Join(c.RunDir, "launcher") }

// ServeLock is held by a gateway with a private Redis.
func (c Config) ServeLock() string { return filepath.Join(c.FrontDir(), "serve.lock") }

// LauncherSocket is where serve asks the launcher.
func (c Config) LauncherSocket() string { return filepath.Join(c.LauncherDir(), "launcher.sock") }

// PodmanSocket is the path of Podman's socket.
func (c Config) PodmanSocket() string {
	if s := c.Podman.Socket; s != "" && s != "auto" {
		return strings.TrimPrefix(s, "unix://")
	}
	return filepath.Join(c.EngineDir(), "podman.sock")
}

// KeyFile holds the key that signs what is written to Redis and makes the passwords of a private one.
func (c Config) KeyFile() string { return filepath.Join(c.StateDir, "secret.key") }

// RedisDir has the data of a private Redis.
func (c Config) RedisDir() string { return filepath.Join(c.StateDir, "redis") }
