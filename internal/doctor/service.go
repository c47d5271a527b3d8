package doctor

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"cellblock.io/cellblock/containers"
)

// serviceChecks are about the running gateway's process.
var serviceChecks = []check{
	{"service.separation", "Whoever takes over the process that the network reaches must not have all kernels and workspaces with it.",
		"deploy/up, which runs the gateway and the launcher as two users", separation},
	{"service.memory_min", "When memory runs out the gateway, which serves everybody, must be the last to lose it.",
		"MemoryMin=256M under [Service] of the gateway's unit, and of user@.service and the slice around it", ofGateway(memoryMin)},
	{"service.oom_score", "When memory runs out a kernel must be ended, not the gateway.",
		"OOMScoreAdjust=0 under [Service] of the gateway's unit", ofGateway(outOfMemoryScore)},
	{"service.core_limit", "A core file of the gateway holds tokens and people's messages.",
		"LimitCORE=0 under [Service] of the gateway's unit, or ulimit -c 0 before it; deploy/up does that", ofGateway(coreLimit)},
}

// front is the id of the user as whom the gateway runs, who may be another than the engine's; the engine's user's where
// nothing says otherwise.
func (h *Host) front() int {
	if _, uid, err := h.stat(h.Config.FrontDir()); err == nil {
		return uid
	}
	return h.User.UID
}

func separation(h *Host) verdict {
	_, uid, err := h.stat(h.Config.FrontDir())
	switch {
	case absent(err):
		return notApplicable("%s is not there yet; serve makes it.", h.Config.FrontDir())
	case err != nil:
		return unknown(h.Config.FrontDir(), err)
	case uid == h.User.UID:
		return warn("The gateway runs as the user who holds Podman.")
	}
	return ok("The gateway runs as user %d, who cannot reach Podman.", uid)
}

// ofGateway is a check of the process that holds the lock of a gateway.
func ofGateway(look func(*Host, string) verdict) func(*Host) verdict {
	return func(h *Host) verdict {
		process, err := h.gateway()
		if err != nil {
			return unknown("The gateway's process", err)
		}
		if process == "" {
			return notApplicable("No gateway holds %s.", h.Config.ServeLock())
		}
		return look(h, process)
	}
}

// gateway returns the directory in /proc of the process that holds the lock; empty when there is none.
func (h *Host) gateway() (string, error) {
	info, err := fs.Stat(h.FS, rel(h.Config.ServeLock()))
	if absent(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	stat, known := info.Sys().(*syscall.Stat_t)
	if !known {
		return "", fmt.Errorf("%s has no inode", h.Config.ServeLock())
	}
	locks, err := h.lines("/proc/locks")
	if err != nil {
		return "", err
	}
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(stat.Dev), unix.Minor(stat.Dev), stat.Ino)
	for _, line := range locks {
		// number, FLOCK, ADVISORY, WRITE, process, file, range
		fields := strings.Fields(line)
		if len(fields) > 5 && fields[1] == "FLOCK" && fields[5] == file && fields[4] != "0" {
			return "/proc/" + fields[4], nil
		}
	}
	return "", nil
}

func memoryMin(h *Host, process string) verdict {
	own, err := h.text(process + "/cgroup")
	if err != nil {
		return unknown("The gateway's cgroup", err)
	}
	_, place, _ := strings.Cut(own, "0::")
	place, _, _ = strings.Cut(place, "\n")
	least, err := h.number(path.Join("/sys/fs/cgroup", place, "memory.min"))
	switch {
	case absent(err):
		return notApplicable("The gateway's cgroup has no say over memory.")
	case err != nil:
		return unknown("The gateway's memory.min", err)
	case least == 0:
		return warn("No memory is kept for the gateway (memory.min is 0).")
	}
	return ok("%s of memory are kept for the gateway.", size(uint64(least)))
}

func outOfMemoryScore(h *Host, process string) verdict {
	score, err := h.number(process + "/oom_score_adj")
	switch {
	case err != nil:
		return unknown("The gateway's oom_score_adj", err)
	case score >= containers.OOMScore:
		return warn("The gateway's oom_score_adj is %d, as much as a kernel's.", score)
	}
	return ok("The gateway's oom_score_adj is %d, a kernel's %d.", score, containers.OOMScore)
}

func coreLimit(h *Host, process string) verdict {
	lines, err := h.lines(process + "/limits")
	if err != nil {
		return unknown("The gateway's limits", err)
	}
	for _, line := range lines {
		rest, there := strings.CutPrefix(line, "Max core file size")
		if !there {
			continue
		}
		fields := strings.Fields(rest)
		if len(fields) > 1 && fields[1] == "0" { // the hard limit
			return ok("The gateway writes no core file.")
		}
		return warn("The gateway may write a core file (%s).", strings.Join(fields, " "))
	}
	return unknown("The gateway's limits", strconv.ErrSyntax)
}
