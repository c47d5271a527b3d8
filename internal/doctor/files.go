package doctor

import (
	"io/fs"
	"net/url"

	"cellblock.io/cellblock/containers"
)

// fileChecks are about who may change or read what belongs to the installation.
var fileChecks = []check{
	{"files.run_dir", "Whoever may swap entries of run_dir puts other sockets in the place of Podman's and Redis'.",
		"", func(h *Host) verdict { return h.guarded("run_dir", h.Config.RunDir) }},
	{"files.state_dir", "Whoever may swap entries of state_dir puts other data in the place of people's.",
		"", func(h *Host) verdict { return h.guarded("state_dir", h.Config.StateDir) }},
	{"files.kernels_dir", "The sockets of all kernels lie below, open to everybody who gets that far.",
		"", func(h *Host) verdict { return h.private(h.Config.KernelsDir(), h.User.UID) }},
	{"files.redis_dir", "Redis' data say who may do what.",
		"", redisDirectory},
	{"files.secret_key", "Whoever reads the installation's key signs users and tokens of their own.",
		"", secretKey},
	{"files.config", "Whoever writes the configuration runs what they like; it may hold Redis' password.",
		"", configFile},
}

// guarded wants a directory of root's or the engine's user, whose entries nobody else can swap.
func (h *Host) guarded(key, dir string) verdict {
	mode, uid, err := h.stat(dir)
	switch {
	case absent(err):
		return notApplicable("%s is not there yet; serve makes it.", dir)
	case err != nil:
		return unknown(dir, err)
	case !mode.IsDir():
		return fail("%s (%s) is not a directory.", dir, key).with("rm %s, then deploy/up", dir)
	case uid != 0 && uid != h.User.UID:
		return fail("%s belongs to user %d.", dir, uid).with("chown %d %s", h.User.UID, dir)
	case mode.Perm()&0o022 != 0 && (mode&fs.ModeSticky == 0 || uid != 0):
		return fail("%s can be changed by others (mode %04o).", dir, mode.Perm()).with("chmod go-w %s", dir)
	}
	return ok("%s is as it should be.", dir)
}

// private wants a directory of a user, closed to all others, by the rule by which serve goes.
func (h *Host) private(dir string, uid int) verdict {
	info, err := fs.Stat(h.FS, rel(dir))
	switch {
	case absent(err):
		return notApplicable("%s is not there yet; serve makes it.", dir)
	case err != nil:
		return unknown(dir, err)
	}
	if err := containers.CheckPrivate(dir, info, uid); err != nil {
		return fail("%v.", err).with("chown %d %s && chmod 0700 %[2]s", uid, dir)
	}
	return ok("%s is closed to others.", dir)
}

func redisDirectory(h *Host) verdict {
	if h.Config.Redis.URL != "" {
		return notApplicable("Redis is not the gateway's own.")
	}
	return h.private(h.Config.RedisDir(), h.front())
}

// secretKey wants a file that is nobody else's to read or to change.
func secretKey(h *Host) verdict {
	file := h.Config.KeyFile()
	mode, uid, err := h.stat(file)
	switch {
	case absent(err):
		return notApplicable("There is no %s yet; serve makes it.", file)
	case err != nil:
		return unknown(file, err)
	case uid != h.front():
		return fail("%s belongs to user %d.", file, uid).with("chown %d %s", h.front(), file)
	case mode.Perm()&0o077 != 0:
		return fail("%s is open to others (mode %04o).", file, mode.Perm()).with("chmod 0600 %s; if others may have read it, remove it, run deploy/up, and make users and tokens again", file)
	}
	return ok("%s is nobody else's to read.", file)
}

func configFile(h *Host) verdict {
	if h.ConfigFile == "" {
		return notApplicable("There is no configuration file: the defaults hold.")
	}
	mode, uid, err := h.stat(h.ConfigFile)
	switch {
	case absent(err):
		return notApplicable("There is no %s: the defaults hold.", h.ConfigFile)
	case err != nil:
		return unknown(h.ConfigFile, err)
	case uid != 0 && uid != h.User.UID:
		return fail("%s belongs to user %d.", h.ConfigFile, uid).with("chown root %s", h.ConfigFile)
	case mode.Perm()&0o022 != 0:
		return fail("%s can be changed by others (mode %04o).", h.ConfigFile, mode.Perm()).with("chmod go-w %s", h.ConfigFile)
	case mode.Perm()&0o004 != 0 && hasPassword(h.Config.Redis.URL):
		return fail("Everybody can read %s, which holds Redis' password.", h.ConfigFile).with("chmod o-r %s", h.ConfigFile)
	}
	return ok("Nobody else can change %s.", h.ConfigFile)
}

func hasPassword(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	_, there := u.User.Password()
	return there
}
