package doctor

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"strconv"
	"strings"

	"cellblock.io/cellblock/kernels"
)

// userChecks are about the engine's user and its ids.
var userChecks = []check{
	{"user.account", "What breaks out of a container has this user's rights.",
		"run cellblock serve as an ordinary user of its own; deploy/up makes one", account},
	{"user.subordinate_ids", "Each person's kernels run with an id of their own, which nobody else on the machine may have.",
		"", subordinateIDs},
	{"user.newuidmap", "These two programs give containers their ids; without their privilege rootless Podman has only one.",
		"apt-get install --reinstall uidmap (dnf reinstall shadow-utils)", idPrograms},
	{"user.tun", "Networks of rootless containers need it. Kernels without network do not.",
		"modprobe tun, and echo tun >/etc/modules-load.d/tun.conf", tunnel},
}

func account(h *Host) verdict {
	switch {
	case h.User == User{}:
		return verdict{Unknown, "Nobody knows yet as whom the gateway runs: its directories are not there.", "deploy/up"}
	case h.User.UID == 0:
		return fail("The gateway runs as root.")
	}
	return ok("The gateway runs as %s (%d).", h.User.Name, h.User.UID)
}

// idRange is a line of /etc/subuid or /etc/subgid.
type idRange struct {
	owner       string
	start, size int
}

func (r idRange) overlaps(o idRange) bool {
	return r.start < o.start+o.size && o.start < r.start+r.size
}

// subordinateIDs wants enough of them, as many for users as for groups, and no id of anybody else among them.
func subordinateIDs(h *Host) verdict {
	if h.User.UID == 0 {
		return notApplicable("Root needs no subordinate ids.")
	}
	for _, kind := range []struct{ file, people string }{{"/etc/subuid", "/etc/passwd"}, {"/etc/subgid", "/etc/group"}} {
		all, err := h.ranges(kind.file)
		if err != nil && !absent(err) {
			return unknown(kind.file, err)
		}
		people, err := h.people(kind.people)
		if err != nil {
			return unknown(kind.people, err)
		}
		if v := h.judge(kind.file, all, people); v.severity != OK {
			return v
		}
	}
	return ok("%s has at least %d subordinate ids that nobody else has.", h.User.Name, kernels.UserIDs)
}

// judge looks at the ranges of one file and the ids that are taken otherwise.
func (h *Host) judge(file string, all, people []idRange) verdict {
	size := 0
	for _, own := range all {
		if !h.owns(own) {
			continue
		}
		size += own.size
		for _, other := range append(all, people...) {
			if other != own && own.overlaps(other) {
				return fail("%s: the ids of %s from %d on are also those of %s.", file, h.User.Name, own.start, other.owner).
					with("deploy/down, then give %s a range of its own in %s, then deploy/up", h.User.Name, file)
			}
		}
	}
	if size < kernels.UserIDs {
		return fail("%s: %s has %d ids, and people's kernels are given up to %d.", file, h.User.Name, size, kernels.UserIDs).
			with("usermod --add-subuids FIRST-LAST --add-subgids FIRST-LAST %s, with %d ids; deploy/up finds free ones", h.User.Name, kernels.UserIDs)
	}
	return ok("")
}

func (h *Host) owns(r idRange) bool {
	return r.owner == h.User.Name || r.owner == strconv.Itoa(h.User.UID)
}

// ranges reads NAME:START:SIZE lines.
func (h *Host) ranges(file string) ([]idRange, error) {
	var list []idRange
	lines, err := h.lines(file)
	for _, line := range lines {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) != 3 {
			continue
		}
		start, err1 := strconv.Atoi(fields[1])
		size, err2 := strconv.Atoi(fields[2])
		if err1 == nil && err2 == nil {
			list = append(list, idRange{fields[0], start, size})
		}
	}
	return list, err
}

// people reads the ids in /etc/passwd or /etc/group, each as a range of one.
func (h *Host) people(file string) ([]idRange, error) {
	var list []idRange
	lines, err := h.lines(file)
	for _, line := range lines {
		if fields := strings.Split(line, ":"); len(fields) > 2 {
			if id, err := strconv.Atoi(fields[2]); err == nil {
				list = append(list, idRange{fields[0], id, 1})
			}
		}
	}
	return list, err
}

// Capabilities as bits, from linux/capability.h.
const (
	capSetgid = 1 << 6
	capSetuid = 1 << 7
)

// idPrograms looks for newuidmap and newgidmap with the set-user-id bit of root or the one capability that they need.
func idPrograms(h *Host) verdict {
	for name, capability := range map[string]uint32{"newuidmap": capSetuid, "newgidmap": capSetgid} {
		if v := h.idProgram(name, capability); v.severity != OK {
			return v
		}
	}
	return ok("newuidmap and newgidmap have their privilege.")
}

func (h *Host) idProgram(name string, capability uint32) verdict {
	for _, dir := range []string{"/usr/local/bin/", "/usr/bin/", "/bin/"} {
		mode, uid, err := h.stat(dir + name)
		if absent(err) {
			continue
		}
		if err != nil {
			return unknown(dir+name, err)
		}
		held, err := h.Xattr(dir+name, "security.capability")
		if err != nil && !absent(err) && !errors.Is(err, errors.ErrUnsupported) {
			return unknown(dir+name, err)
		}
		// struct vfs_cap_data: a magic number, then the permitted capabilities.
		if mode&fs.ModeSetuid != 0 && uid == 0 || len(held) >= 8 && binary.LittleEndian.Uint32(held[4:])&capability != 0 {
			return ok("")
		}
		return fail("%s%s has neither root's set-user-id bit nor its capability.", dir, name)
	}
	return fail("There is no %s.", name)
}

func tunnel(h *Host) verdict {
	info, err := fs.Stat(h.FS, "dev/net/tun")
	switch {
	case absent(err):
		return notApplicable("There is no /dev/net/tun.")
	case err != nil:
		return unknown("/dev/net/tun", err)
	case info.Mode()&fs.ModeCharDevice == 0:
		return warn("/dev/net/tun is not a device (%v).", info.Mode())
	}
	return ok("/dev/net/tun is there.")
}
