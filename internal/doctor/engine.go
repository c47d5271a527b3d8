package doctor

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"cellblock.io/cellblock/containers"
	"cellblock.io/cellblock/internal/config"
)

// engineChecks are about Podman and what it can do for this user.
var engineChecks = []check{
	{"engine.answers", "All that kernels are runs in Podman.",
		"", engineAnswers},
	{"engine.rootless", "A kernel that broke out of a rootful container would be root.",
		"run cellblock serve as an ordinary user with subordinate ids, as deploy/up sets it up", ofEngine(rootless)},
	{"engine.root_id", "Whoever breaks out of a container as its root is then whoever that root is outside.",
		"deploy/up, which gives that user enough subordinate ids (/etc/subuid, /etc/subgid)", ofEngine(rootID)},
	{"engine.limits", "Without limits one kernel takes the memory, processors and processes of all others, and of the machine.",
		"", ofEngine(limits)},
	{"engine.limits_io", "Without it one kernel can take all of the disk's time.",
		"Delegate=cpu cpuset io memory pids under [Service] in /etc/systemd/system/user@.service.d/delegate.conf, then systemctl daemon-reload", ofEngine(limitsIO)},
	{"engine.seccomp", "Without a filter a kernel may use every system call, and each is a door to the Linux kernel.",
		"a Linux kernel with CONFIG_SECCOMP_FILTER=y, and a Podman and a runtime that are built with seccomp", ofEngine(seccomp)},
	{"engine.seccomp_profile", "What the filter lets through is what a kernel can attack.",
		"", seccompProfile},
	{"engine.podman_version", "Whoever runs hostile code must know which holes are open.",
		"", ofEngine(podmanVersion)},
	{"engine.runtime_version", "The runtime builds a container's walls while hostile files are already there.",
		"", ofEngine(runtimeVersion)},
	{"engine.storage", "With overlay in the Linux kernel, containers share an image's files and cannot change them; other drivers copy them for each or pass them through a program.",
		`driver = "overlay" in storage.conf without mount_program, and a Linux kernel of 5.13 or later; deploy/up writes that`, ofEngine(storage)},
	{"engine.init", "Without an init as its first process a kernel keeps every dead process for ever.",
		"apt-get install catatonit (dnf install catatonit)", ofEngine(initProgram)},
}

// ofEngine is a check of what the engine says.
func ofEngine(look func(*Host, Engine) verdict) func(*Host) verdict {
	return func(h *Host) verdict {
		e, err := h.Engine()
		if err != nil {
			return verdict{Unknown, "Podman did not answer: see engine.answers.", ""}
		}
		return look(h, e)
	}
}

func engineAnswers(h *Host) verdict {
	e, err := h.Engine()
	switch {
	case err != nil && h.Enter != "":
		return verdict{Unknown, fmt.Sprintf("%v. Root can ask only a Podman service that runs.", err), "start the gateway, or: " + h.Enter + " cellblock doctor"}
	case err != nil:
		return fail("%v.", err).with("podman info, as the engine's user, says more")
	case e.Lasting:
		return ok("Podman %s answers, the gateway's own service.", e.Version)
	}
	return ok("Podman %s answers. The gateway's own service does not run.", e.Version)
}

func rootless(_ *Host, e Engine) verdict {
	if !e.Rootless {
		return fail("This Podman runs as root: a kernel that broke out would be root, too.")
	}
	return ok("Podman runs without root.")
}

func rootID(_ *Host, e Engine) verdict {
	if e.Root == 0 {
		return warn("Root inside a kernel's container is the user of the gateway outside, because that user has too few subordinate ids.")
	}
	return ok("Root inside a container is nobody outside (the engine's id %d).", e.Root)
}

// given is what Podman can limit. A service that doctor started itself runs in another cgroup than the gateway will.
func given(h *Host, e Engine) containers.Capabilities {
	if e.Lasting {
		return e.Capabilities
	}
	return e.Given(h.delegated())
}

// limits is the one place that decides whether kernels may run where their limits do not hold.
func limits(h *Host, e Engine) verdict {
	missing := given(h, e).Missing()
	const remedy = "boot with systemd.unified_cgroup_hierarchy=1 and run deploy/up, which has the controllers delegated"
	switch {
	case len(missing) == 0:
		return ok("Limits of memory, processors and processes hold.")
	case h.Config.Limits.Unenforceable == config.Allow:
		return warn("Kernels run without limits on: %s. This machine cannot enforce them.", strings.Join(missing, ", ")).with(remedy)
	}
	return fail("Kernels would run without limits on: %s. This machine cannot enforce them (cgroups %s).", strings.Join(missing, ", "), e.CgroupVersion).
		with("%s; or, if kernels may take all of the machine, limits.unenforceable: allow in %s", remedy, h.ConfigFile)
}

func limitsIO(h *Host, e Engine) verdict {
	if given(h, e).IO {
		return ok("The use of disks can be limited.")
	}
	return warn("The use of disks cannot be limited.")
}

// delegated returns the cgroup controllers of the place where a gateway's Podman runs: the user's systemd manager, the
// cgroup that deploy/enter makes, or where this process is.
func (h *Host) delegated() []string {
	places := []string{
		fmt.Sprintf("user.slice/user-%d.slice/user@%[1]d.service", h.User.UID),
		h.User.Name,
	}
	if own, err := h.text("/proc/self/cgroup"); err == nil {
		if _, place, there := strings.Cut(own, "0::"); there {
			place, _, _ = strings.Cut(place, "\n")
			places = append(places, place)
		}
	}
	for _, place := range places {
		if list, err := h.text(path.Join("/sys/fs/cgroup", place, "cgroup.controllers")); err == nil && place != "" {
			return strings.Fields(list)
		}
	}
	return nil
}

func seccomp(_ *Host, e Engine) verdict {
	if !e.Seccomp {
		return fail("Kernels would run without a system call filter (seccomp). This machine has none.")
	}
	return ok("System calls are filtered.")
}

// seccompProfile looks at the profile's default action: a profile that allows what it does not name is none.
func seccompProfile(h *Host) verdict {
	file := h.Config.Podman.Seccomp
	if file == "" {
		return ok("Cellblock's own profiles.")
	}
	content, err := h.read(file, maxTable)
	if absent(err) {
		return fail("podman.seccomp: there is no %s.", file).with("podman.seccomp in %s: the path of a profile", h.ConfigFile)
	}
	if err != nil {
		return unknown("The seccomp profile", err)
	}
	var profile struct {
		Default string `json:"defaultAction"`
	}
	if err := json.Unmarshal(content, &profile); err != nil {
		return fail("podman.seccomp: %s is no profile: %v.", file, err).with("podman.seccomp in %s: the path of a profile", h.ConfigFile)
	}
	if !slices.Contains([]string{"SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP"}, profile.Default) {
		return fail("podman.seccomp: %s lets through what it does not name (%s).", file, profile.Default).
			with(`"defaultAction": "SCMP_ACT_ERRNO" in %s`, file)
	}
	return ok("%s refuses what it does not name.", file)
}

func podmanVersion(h *Host, e Engine) verdict {
	return h.outdated(podmanAdvisory.floor(h, "Podman", e.Version))
}

// outdated is what podman.outdated makes of an engine with known holes.
func (h *Host) outdated(v verdict) verdict {
	switch {
	case v.severity != Fail && v.severity != Warn:
	case h.Config.Podman.Outdated == config.Refuse:
		v.severity = Fail
		v.remedy += fmt.Sprintf("; or, if the distribution has repaired it, podman.outdated: allow in %s", h.ConfigFile)
	default:
		v.severity = Warn
	}
	return v
}

func runtimeVersion(h *Host, e Engine) verdict {
	switch e.Runtime {
	case "crun":
		return h.outdated(crunAdvisory.floor(h, "crun", e.RuntimeVersion))
	case "runc":
		return h.outdated(runcAdvisory.floor(h, "runc", e.RuntimeVersion))
	}
	return warn("The runtime is %q, whose holes are not known here.", e.Runtime).with(`runtime = "crun" in containers.conf`)
}

func storage(_ *Host, e Engine) verdict {
	if e.Driver != "overlay" || !e.Native {
		return warn("The storage driver is %s%s.", e.Driver, map[bool]string{false: ", not the Linux kernel's own"}[e.Native])
	}
	return ok("The storage driver is the Linux kernel's overlay.")
}

func initProgram(_ *Host, e Engine) verdict {
	if e.Init == "" {
		return warn("There is no catatonit on this machine.")
	}
	return ok("%s becomes the first process of kernels.", e.Init)
}
