package doctor_test

import (
	"errors"

	"cellblock.io/cellblock/internal/config"
	"cellblock.io/cellblock/internal/doctor"
)

const userCgroup = "sys/fs/cgroup/user.slice/user-990.slice"

var engineTrials = []trial{
	{"engine.answers", "it does not", func(f *fake) { f.engineErr = errors.New("no Podman") }, doctor.Fail, "no Podman"},
	{"engine.answers", "root may only ask one that runs", func(f *fake) {
		f.engineErr, f.host.Enter = errors.New("no Podman"), "enter --"
	}, doctor.Unknown, "enter -- cellblock doctor"},
	{"engine.answers", "the gateway does not run", func(f *fake) { f.engine.Lasting = false }, doctor.OK, "does not run"},
	{"engine.limits", "Podman does not answer", func(f *fake) { f.engineErr = errors.New("no Podman") }, doctor.Unknown, "engine.answers"},
	{"engine.rootless", "as root", func(f *fake) { f.engine.Rootless = false }, doctor.Fail, "runs as root"},

	{"engine.root_id", "the gateway's user", func(f *fake) { f.engine.Root = 0 }, doctor.Warn, "is the user of the gateway outside"},

	{"engine.limits", "no cpu", give("memory", "pids", "io"), doctor.Fail, "limits on: cpu."},
	{"engine.limits", "nothing", give(), doctor.Fail, "limits.unenforceable: allow in /etc/cellblock/config.yaml"},
	{"engine.limits", "allowed", func(f *fake) {
		give("cpu", "memory")(f)
		f.host.Config.Limits.Unenforceable = config.Allow
	}, doctor.Warn, "Kernels run without limits on: pids. This machine cannot enforce them."},
	{"engine.limits", "cgroup v1", func(f *fake) {
		f.engine.CgroupVersion = "v1"
		give("cpu", "memory", "pids", "io")(f)
	}, doctor.Fail, "cpu, memory, pids"},
	{"engine.limits", "a service in another cgroup", func(f *fake) {
		give()(f)
		f.engine.Lasting = false
	}, doctor.OK, "hold"},
	{"engine.limits", "no delegation to the user", func(f *fake) {
		f.engine.Lasting = false
		f.write(userCgroup+"/user@990.service/cgroup.controllers", "memory pids")
	}, doctor.Fail, "limits on: cpu."},
	{"engine.limits", "in the cgroup of deploy/enter", func(f *fake) {
		f.engine.Lasting = false
		f.remove(userCgroup)
		f.write("sys/fs/cgroup/cellblock/cgroup.controllers", "cpu memory pids")
	}, doctor.OK, "hold"},
	{"engine.limits", "in this process' cgroup", func(f *fake) {
		f.engine.Lasting = false
		f.remove(userCgroup)
		f.write("sys/fs/cgroup/system.slice/ssh.service/cgroup.controllers", "cpu memory")
	}, doctor.Fail, "limits on: pids."},
	{"engine.limits", "hybrid cgroups", func(f *fake) {
		f.engine.Lasting = false
		f.remove("sys/fs/cgroup")
	}, doctor.Fail, "cpu, memory, pids"},
	{"engine.limits_io", "no io", give("cpu", "memory", "pids"), doctor.Warn, "Delegate="},

	{"engine.seccomp", "none", func(f *fake) { f.engine.Seccomp = false }, doctor.Fail, "without a system call filter"},
	{"engine.seccomp_profile", "Cellblock's own", func(f *fake) { f.host.Config.Podman.Seccomp = "" }, doctor.OK, "Cellblock's own"},
	{"engine.seccomp_profile", "missing", func(f *fake) { f.remove("etc/cellblock/seccomp.json") }, doctor.Fail, "there is no"},
	{"engine.seccomp_profile", "nonsense", func(f *fake) { f.write("etc/cellblock/seccomp.json", "allow") }, doctor.Fail, "is no profile"},
	{"engine.seccomp_profile", "open", func(f *fake) {
		f.write("etc/cellblock/seccomp.json", `{"defaultAction": "SCMP_ACT_ALLOW"}`)
	}, doctor.Fail, "lets through"},
	{"engine.seccomp_profile", "closed to this user", func(f *fake) { f.closed = []string{"etc/cellblock"} }, doctor.Unknown, "may not see"},

	{"engine.podman_version", "of a branch that was repaired", podman("5.8.10"), doctor.OK, "without CVE-2026-123876"},
	{"engine.podman_version", "before that", podman("5.8.9"), doctor.Warn, "5.8.10, 6.2.0"},
	{"engine.podman_version", "of a branch that was not", podman("6.1.4"), doctor.Warn, "6.2.0"},
	{"engine.podman_version", "a later one", podman("7.0.0-dev"), doctor.OK, "7.0.0"},
	{"engine.podman_version", "the distribution's", podman("4.3.1"), doctor.Warn, "security-tracker.debian.org/tracker/CVE-2026-123876"},
	{"engine.podman_version", "the distribution's, repaired", func(f *fake) {
		podman("4.3.1")(f)
		f.write("usr/share/doc/podman/changelog.Debian.gz", "CVE-2026-123876 CVE-2026-111361 CVE-2026-94603")
	}, doctor.OK, "changelog names"},
	{"engine.podman_version", "the distribution's, half repaired", func(f *fake) {
		podman("4.3.1")(f)
		f.write("usr/share/doc/podman/changelog.Debian.gz", "CVE-2026-123876 CVE-2026-94603")
	}, doctor.Warn, "changelog does not say so"},
	{"engine.podman_version", "of another than the package", podman("4.4.0"), doctor.Warn, "Podman 6.2.0 or later"},
	{"engine.podman_version", "of an RPM", func(f *fake) {
		podman("5.2.2")(f)
		f.write("usr/lib/sysimage/rpm/rpmdb.sqlite", "")
	}, doctor.Warn, "rpm -q --changelog podman"},
	{"engine.podman_version", "old, where that is refused", func(f *fake) {
		podman("4.3.1")(f)
		f.host.Config.Podman.Outdated = config.Refuse
	}, doctor.Fail, "podman.outdated: allow in /etc/cellblock/config.yaml"},
	{"engine.podman_version", "repaired, where old ones are refused", func(f *fake) {
		f.host.Config.Podman.Outdated = config.Refuse
	}, doctor.OK, ""},
	{"engine.podman_version", "none", podman(""), doctor.Unknown, "version"},

	{"engine.runtime_version", "old crun", runtime("crun", "crun version 1.29.1\nspec: 1.0.0"), doctor.Warn, "CVE-2026-88264"},
	{"engine.runtime_version", "the distribution's crun", runtime("crun", "crun version 1.8.1"), doctor.Warn, "crun 1.8.1-1+deb12u1"},
	{"engine.runtime_version", "old runc", runtime("runc", "runc version 1.2.8"), doctor.Warn, "CVE-2025-31133"},
	{"engine.runtime_version", "runc", runtime("runc", "runc version 1.4.3"), doctor.OK, "runc 1.4.3"},
	{"engine.runtime_version", "unknown", runtime("runsc", "1"), doctor.Warn, "runsc"},

	{"engine.storage", "vfs", func(f *fake) { f.engine.Driver, f.engine.Native = "vfs", false }, doctor.Warn, "vfs"},
	{"engine.storage", "fuse-overlayfs", func(f *fake) { f.engine.Native = false }, doctor.Warn, "not the Linux kernel's own"},
	{"engine.init", "no catatonit", func(f *fake) { f.engine.Init = "" }, doctor.Warn, "catatonit"},
}

func give(controllers ...string) func(*fake) {
	return func(f *fake) { f.engine.Capabilities = f.engine.Given(controllers) }
}

func podman(version string) func(*fake) { return func(f *fake) { f.engine.Version = version } }

func runtime(name, version string) func(*fake) {
	return func(f *fake) { f.engine.Runtime, f.engine.RuntimeVersion = name, version }
}
