package doctor_test

import (
	"cellblock.io/cellblock/internal/doctor"
)

const (
	faults   = "sys/devices/system/cpu/vulnerabilities"
	selinux  = "sys/fs/selinux/enforce"
	apparmor = "sys/module/apparmor/parameters/enabled"
	release  = "proc/sys/kernel/osrelease"
	build    = "proc/sys/kernel/version"
)

var machineTrials = []trial{
	{"cpu.vulnerabilities", "one open", replace(faults+"/mds", "Vulnerable: Clear CPU buffers attempted, no microcode"), doctor.Warn, "mds (Vulnerable: Clear"},
	{"cpu.vulnerabilities", "not told", func(f *fake) { f.remove(faults) }, doctor.Unknown, "faults"},
	{"cpu.smt", "on", replace("sys/devices/system/cpu/smt/active", "1"), doctor.Warn, "nosmt"},
	{"cpu.smt", "unknown to the kernel", func(f *fake) { f.remove("sys/devices/system/cpu/smt") }, doctor.NotApplicable, "no threads"},

	{"memory.ksm", "on", replace("sys/kernel/mm/ksm/run", "1"), doctor.Warn, "echo 2"},
	{"memory.ksm", "undone", replace("sys/kernel/mm/ksm/run", "2"), doctor.OK, ""},
	{"memory.ksm", "none", func(f *fake) { f.remove("sys/kernel/mm") }, doctor.NotApplicable, "does not merge"},
	{"memory.swap", "a partition", replace("proc/swaps", "Filename\n/dev/sda2 partition 1 0 -2"), doctor.Warn, "/dev/sda2, which is not encrypted"},
	{"memory.swap", "a file", replace("proc/swaps", "Filename\n/dev/zram0 partition 1 0 5\n/swapfile file 1 0 -2"), doctor.Warn, "to /swapfile,"},
	{"memory.swap", "in memory", replace("proc/swaps", "Filename\n/dev/zram0 partition 1 0 5"), doctor.OK, "zram0"},
	{"memory.swap", "a plain volume", func(f *fake) {
		f.write("proc/swaps", "Filename\n/dev/dm-1 partition 1 0 5")
		f.write("sys/block/dm-1/dm/uuid", "LVM-abc")
	}, doctor.Warn, "dm-1"},
	{"memory.swap", "encrypted", func(f *fake) {
		f.write("proc/swaps", "Filename\n/dev/dm-1 partition 1 0 5")
		f.write("sys/block/dm-1/dm/uuid", "CRYPT-PLAIN-swap")
	}, doctor.OK, "dm-1"},
	{"memory.swap", "none in this kernel", func(f *fake) { f.remove("proc/swaps") }, doctor.OK, "does not swap"},

	{"kernel.lsm", "SELinux", replace(selinux, "1"), doctor.OK, "enforcing"},
	{"kernel.lsm", "SELinux, permissive", replace(selinux, "0"), doctor.Warn, "setenforce 1"},
	{"kernel.lsm", "only the list", func(f *fake) { f.remove(apparmor) }, doctor.OK, "AppArmor"},
	{"kernel.lsm", "neither", func(f *fake) {
		f.remove(apparmor)
		f.write("sys/kernel/security/lsm", "lockdown,capability,yama")
	}, doctor.Warn, "lockdown,capability,yama"},
	{"kernel.lsm", "not mounted, and off", withoutSecurity("CONFIG_SECURITY_APPARMOR=y\n"), doctor.Warn, "neither is on"},
	{"kernel.lsm", "not mounted, and none", withoutSecurity("# CONFIG_SECURITY is not set\n"), doctor.Warn, "has neither"},
	{"kernel.lsm", "nothing to be seen", func(f *fake) {
		f.remove(apparmor)
		f.remove("sys/kernel/security")
	}, doctor.Unknown, "configuration"},

	{"kernel.copy_fail", "reachable", fallible, doctor.Fail, "install algif_aead /bin/false"},
	{"kernel.copy_fail", "only our profile before it", func(f *fake) {
		fallible(f)
		f.host.Config.Podman.Seccomp = ""
	}, doctor.Warn, "own seccomp profile alone"},
	{"kernel.copy_fail", "its module blocked", func(f *fake) {
		fallible(f)
		f.write("etc/modprobe.d/copyfail.conf", "install algif_aead /bin/false")
	}, doctor.OK, "cannot be loaded"},
	{"kernel.copy_fail", "another branch, repaired", func(f *fake) {
		fallible(f)
		f.write(build, "#1 SMP Debian 6.1.170-1 (2026-05-09)")
	}, doctor.OK, "Linux 6.1.170"},
	{"kernel.copy_fail", "a package that names it", func(f *fake) {
		fallible(f)
		f.write(build, "#1 SMP Debian 6.1.153-1 (2026-05-01)")
		f.write("var/lib/dpkg/status", "Package: linux-image-6.12.90-amd64\nStatus: install ok installed\nVersion: 6.1.153-1\n")
		f.write("usr/share/doc/linux-image-6.12.90-amd64/changelog.gz", "crypto: algif_aead - Revert (CVE-2026-31431)")
	}, doctor.OK, "changelog names"},
	{"kernel.copy_fail", "of no distribution", func(f *fake) {
		fallible(f)
		f.write(build, "#1 SMP")
		f.write(release, "6.18.21-custom")
		f.write("boot/config-6.18.21-custom", "\nCONFIG_CRYPTO_USER_API_AEAD=m\n")
	}, doctor.Fail, "Linux 6.18.21"},
	{"kernel.copy_fail", "repaired, of no distribution", func(f *fake) {
		f.write(build, "#1 SMP")
		f.write(release, "6.18.22-custom")
	}, doctor.OK, "Linux 6.18.22"},
	{"kernel.copy_fail", "older than the fault", func(f *fake) {
		f.write(build, "#1 SMP")
		f.write(release, "4.9.337")
	}, doctor.OK, "older"},
	{"kernel.copy_fail", "not told", func(f *fake) { f.remove(release) }, doctor.Unknown, "version"},
}

// fallible is a Linux kernel that has the fault within everybody's reach.
func fallible(f *fake) {
	f.write(build, "#1 SMP PREEMPT_DYNAMIC Debian 6.1.169-1 (2026-04-01)")
	f.write("etc/modprobe.d/cellblock.conf", "")
}

func withoutSecurity(config string) func(*fake) {
	return func(f *fake) {
		f.remove(apparmor)
		f.remove("sys/kernel/security")
		f.write("proc/config.gz", "#\n"+config)
	}
}

// sysctlTrials have for each setting a value that is wrong, and say what its absence means.
func sysctlTrials() []trial {
	var list []trial
	for _, s := range []struct {
		name, bad string
		wrong     doctor.Severity
		without   doctor.Severity
	}{
		{"kernel.unprivileged_bpf_disabled", "0", doctor.Warn, doctor.NotApplicable},
		{"kernel.perf_event_paranoid", "1", doctor.Warn, doctor.NotApplicable},
		{"kernel.io_uring_disabled", "1", doctor.Warn, doctor.Warn},
		{"kernel.yama.ptrace_scope", "0", doctor.Warn, doctor.NotApplicable},
		{"kernel.kptr_restrict", "1", doctor.Warn, doctor.NotApplicable},
		{"kernel.dmesg_restrict", "0", doctor.Warn, doctor.NotApplicable},
		{"vm.unprivileged_userfaultfd", "1", doctor.Warn, doctor.NotApplicable},
		{"dev.tty.legacy_tiocsti", "1", doctor.Warn, doctor.Warn},
		{"dev.tty.ldisc_autoload", "1", doctor.Warn, doctor.Warn},
		{"fs.protected_symlinks", "0", doctor.Warn, doctor.NotApplicable},
		{"fs.protected_hardlinks", "0", doctor.Warn, doctor.NotApplicable},
		{"fs.protected_fifos", "1", doctor.Warn, doctor.NotApplicable},
		{"fs.protected_regular", "1", doctor.Warn, doctor.NotApplicable},
		{"fs.suid_dumpable", "2", doctor.Warn, doctor.NotApplicable},
		{"kernel.pty.max", "4096", doctor.Warn, doctor.NotApplicable},
		{"vm.overcommit_memory", "2", doctor.Warn, doctor.NotApplicable},
		{"user.max_user_namespaces", "0", doctor.Fail, doctor.Fail},
		{"user.max_user_namespaces", "96364", doctor.Warn, doctor.Fail},
		{"kernel.core_pattern", "|/usr/lib/systemd/systemd-coredump %P", doctor.Warn, doctor.NotApplicable},
	} {
		id, file := "sysctl."+s.name, "proc/sys/"+slashes(s.name)
		list = append(list,
			trial{id, s.bad, replace(file, s.bad), s.wrong, s.name + " is " + s.bad},
			trial{id, "without it", func(f *fake) { f.remove(file) }, s.without, ""},
			trial{id, "closed", func(f *fake) { f.closed = []string{file} }, doctor.Unknown, "as root"})
	}
	return list
}

// moduleTrials have each module in every place where it can be.
func moduleTrials() []trial {
	list := []trial{
		{"module.algif_aead", "a blacklist does not stop it", replace("etc/modprobe.d/cellblock.conf", "blacklist algif_aead"), doctor.Warn, "for whoever asks"},
		{"module.can", "a blacklist stops it", replace("etc/modprobe.d/cellblock.conf", "blacklist can"), doctor.OK, "cannot be loaded"},
		{"module.can", "it is installed in another way", replace("etc/modprobe.d/cellblock.conf", "install can /sbin/modprobe --ignore-install can"), doctor.Warn, "for whoever asks"},
		{"module.can", "a comment", replace("etc/modprobe.d/cellblock.conf", "# install can /bin/false"), doctor.Warn, "for whoever asks"},
		{"module.can", "no list", func(f *fake) { f.remove("lib/modules/6.12.90-amd64/modules.dep") }, doctor.Unknown, "modules.dep"},
	}
	for name, option := range map[string]string{
		"af_alg": "CRYPTO_USER_API", "algif_aead": "CRYPTO_USER_API_AEAD", "algif_hash": "CRYPTO_USER_API_HASH",
		"algif_skcipher": "CRYPTO_USER_API_SKCIPHER", "algif_rng": "CRYPTO_USER_API_RNG", "n_gsm": "N_GSM", "n_hdlc": "N_HDLC",
		"tipc": "TIPC", "rds": "RDS", "sctp": "IP_SCTP", "dccp": "IP_DCCP", "can": "CAN", "vsock": "VSOCKETS", "vsock_loopback": "VSOCKETS_LOOPBACK",
	} {
		id := "module." + name
		list = append(list,
			trial{id, "loaded", replace("proc/modules", name+" 32768 0 - Live 0x0"), doctor.Warn, name + " is loaded."},
			trial{id, "free to load", replace("etc/modprobe.d/cellblock.conf", ""), doctor.Warn, "install " + name + " /bin/false"},
			trial{id, "built in", func(f *fake) {
				f.remove("lib/modules/6.12.90-amd64/modules.dep")
				f.write("lib/modules/6.12.90-amd64/modules.dep", "")
				f.write("lib/modules/6.12.90-amd64/modules.builtin", "kernel/x/"+name+".ko")
			}, doctor.Warn, "is built into"},
			trial{id, "no module is loaded any more", func(f *fake) {
				f.write("etc/modprobe.d/cellblock.conf", "")
				f.write("proc/sys/kernel/modules_disabled", "1")
			}, doctor.OK, "cannot be loaded"},
			trial{id, "in no list", replace("lib/modules/6.12.90-amd64/modules.dep", ""), doctor.OK, "not part of"},
			trial{id, "built in, by the configuration", withoutModules("\nCONFIG_" + option + "=y\n"), doctor.Warn, "CONFIG_" + option},
			trial{id, "not configured", withoutModules("\n# CONFIG_" + option + " is not set\n"), doctor.OK, "not part of"},
			trial{id, "in a container without lists", func(f *fake) {
				f.remove("lib/modules")
				f.write("boot/config-6.12.90-amd64", "\nCONFIG_"+option+"=m\n")
			}, doctor.Warn, "for whoever asks"})
	}
	return list
}

func withoutModules(config string) func(*fake) {
	return func(f *fake) {
		f.remove("proc/modules")
		f.write("proc/config.gz", config)
	}
}
