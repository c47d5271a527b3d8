package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"cellblock.io/cellblock/internal/config"
)

// takeFront makes the directories of serve and takes the lock that keeps a second one from ending the private Redis under
// the first. release gives the lock back; so does the process's end, however it comes.
func takeFront(cfg config.Config) (release func(), err error) {
	for key, dir := range map[string]string{"state_dir": cfg.StateDir, "run_dir": cfg.FrontDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make %s: %w; name a directory of this user's, or run as the user for whom deploy/up made it", key, err)
		}
	}
	if cfg.Redis.URL != "" {
		return func() {}, nil
	}
	release, err = lock(cfg.ServeLock())
	switch {
	case errors.Is(err, fs.ErrPermission):
		// Also root cannot open another user's file for writing there: the directory may be sticky.
		return nil, fmt.Errorf("%s belongs to another user, as whom the gateway runs: deploy/up starts it, cellblock status says how it is", cfg.RunDir)
	case errors.Is(err, unix.EWOULDBLOCK):
		return nil, fmt.Errorf("another gateway runs in %s: stop it first; several gateways side by side need one Redis for all, see redis.url", cfg.RunDir)
	}
	return release, err
}

// predecessorLimit is how long a launcher that ends may take to give its place up.
const predecessorLimit = time.Minute

// takeLauncher makes the directories of a launcher and takes its lock, for which it waits: the launcher of a gateway that
// was killed ends by itself.
func takeLauncher(ctx context.Context, cfg config.Config) (release func(), err error) {
	for _, dir := range []string{cfg.EngineDir(), cfg.LauncherDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make %s: %w; name a directory of this user's as run_dir, or run as the user for whom deploy/up made it", dir, err)
		}
		if owner, _, err := ownerOf(dir); err != nil || owner != os.Geteuid() {
			return nil, fmt.Errorf("%s belongs to user %d, as whom the launcher runs (%w)", dir, owner, errors.Join(err, fs.ErrPermission))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, predecessorLimit)
	defer cancel()
	for {
		release, err := lock(filepath.Join(cfg.EngineDir(), "launcher.lock"))
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return release, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("another launcher runs in %s: %w", cfg.RunDir, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func lock(path string) (release func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}

// listenForFront opens the launcher's socket. The directory decides who gets there, and peer credentials who is heard.
// It is called with the launcher's lock held: a socket that is there already is nobody's.
func listenForFront(cfg config.Config) (*net.UnixListener, error) {
	path := cfg.LauncherSocket()
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listen for the gateway: %w", err)
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen for the gateway: %w", err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		ln.Close()
		return nil, fmt.Errorf("listen for the gateway: %w", err)
	}
	return ln, nil
}

// ownerOf is the user and the group to whom a file belongs.
func ownerOf(path string) (uid, gid int, err error) {
	info, err := os.Lstat(path)
	if err != nil {
		return -1, -1, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1, -1, fmt.Errorf("%s has no owner", path)
	}
	return int(stat.Uid), int(stat.Gid), nil
}

// mayAsk are the users whose processes a launcher hears: its own, and the one to whom the place of serve belongs.
func mayAsk(cfg config.Config) func(uid int) bool {
	return func(uid int) bool {
		front, _, err := ownerOf(cfg.FrontDir())
		return uid == os.Geteuid() || err == nil && uid == front
	}
}

// separate reports whether the launcher runs, or is to be run, as another user than this process.
func separate(cfg config.Config) bool {
	owner, _, err := ownerOf(cfg.LauncherDir())
	return err == nil && owner != os.Geteuid()
}

// become turns root into the user of a directory: what it does for that user is no work for root. For everybody else it
// does nothing.
func become(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	uid, gid, err := ownerOf(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errNoGateway
	case err != nil:
		return fmt.Errorf("find the gateway's user: %w", err)
	case uid == 0:
		return nil
	}
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(gid), syscall.Setuid(uid)); err != nil {
		return fmt.Errorf("become the gateway's user: %w", err)
	}
	return nil
}
