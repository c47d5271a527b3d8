package doctor

import (
	"io/fs"
	"path"
	"slices"
	"strings"
)

const sideChannelWhy = "Kernels of different people share processors, and what one leaves in them another can measure."

// cpuChecks are about what kernels on the same processors learn of each other.
var cpuChecks = []check{
	{"cpu.vulnerabilities", sideChannelWhy,
		"update the machine's firmware or microcode package (intel-microcode, amd64-microcode), boot with mitigations=auto, restart", vulnerabilities},
	{"cpu.smt", "Two threads of one processor core see each other's traces; switched off, a core belongs to one process at a time.",
		"boot with nosmt, or now: echo off >/sys/devices/system/cpu/smt/control", threads},
}

// vulnerabilities reads what the Linux kernel says about the processor's faults.
func vulnerabilities(h *Host) verdict {
	const dir = "/sys/devices/system/cpu/vulnerabilities"
	entries, err := fs.ReadDir(h.FS, rel(dir))
	if err != nil {
		return unknown("The processor's faults", err)
	}
	var open []string
	for _, entry := range entries {
		state, err := h.text(path.Join(dir, entry.Name()))
		if err != nil {
			return unknown("The processor's fault "+entry.Name(), err)
		}
		if strings.HasPrefix(state, "Vulnerable") {
			open = append(open, entry.Name()+" ("+state+")")
		}
	}
	if len(open) > 0 {
		return warn("Without remedy: %s.", strings.Join(open, ", "))
	}
	return ok("The Linux kernel holds a remedy against each of %d known faults, or the processor does not have it.", len(entries))
}

func threads(h *Host) verdict {
	active, err := h.number("/sys/devices/system/cpu/smt/active")
	switch {
	case absent(err):
		return notApplicable("This Linux kernel knows no threads of a core.")
	case err != nil:
		return unknown("Threads of a core", err)
	case active != 0:
		return warn("Each core runs several threads at once.")
	}
	return ok("Each core runs one thread at a time.")
}

// memoryChecks are about memory that leaves the process to which it belongs.
var memoryChecks = []check{
	{"memory.ksm", "Where equal pages become one, a kernel can find out what others have in memory.",
		"echo 2 >/sys/kernel/mm/ksm/run, and switch off what sets it (ksmtuned, ksm.service)", samePages},
	{"memory.swap", "What is swapped out stays on the disk: tokens, keys, people's data.",
		"swapoff --all, and take swap out of /etc/fstab; or encrypt it with dm-crypt, or use zram", swap},
}

func samePages(h *Host) verdict {
	run, err := h.number("/sys/kernel/mm/ksm/run")
	switch {
	case absent(err):
		return notApplicable("This Linux kernel does not merge pages.")
	case err != nil:
		return unknown("Merging of pages", err)
	case run == 1:
		return warn("Equal pages of memory are merged.")
	}
	return ok("Equal pages of memory stay apart.")
}

// swap wants none, or one that is encrypted or itself in memory.
func swap(h *Host) verdict {
	lines, err := h.lines("/proc/swaps")
	if absent(err) {
		return ok("This Linux kernel does not swap.")
	}
	if err != nil {
		return unknown("Swap", err)
	}
	var plain, places []string
	for _, line := range lines[1:] {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		places = append(places, fields[0])
		if !h.safeSwap(fields[0]) {
			plain = append(plain, fields[0])
		}
	}
	switch {
	case len(plain) > 0:
		return warn("Memory is swapped to %s, which is not encrypted.", strings.Join(plain, ", "))
	case len(places) > 0:
		return ok("Memory is swapped to %s, encrypted or compressed in memory.", strings.Join(places, ", "))
	}
	return ok("No memory is swapped.")
}

func (h *Host) safeSwap(place string) bool {
	device := path.Base(place)
	if strings.HasPrefix(device, "zram") {
		return true
	}
	id, err := h.text("/sys/block/" + device + "/dm/uuid")
	return err == nil && strings.HasPrefix(id, "CRYPT-")
}

// kernelChecks are about the Linux kernel as a whole.
var kernelChecks = []check{
	{"kernel.copy_fail", "CVE-2026-31431 (Copy Fail): a process without privileges writes into files that others read, such as an image's.",
		"", copyFail},
	{"kernel.lsm", "A second wall, of AppArmor or SELinux, stands where a container's own walls have a hole.",
		"boot with lsm=landlock,lockdown,yama,integrity,apparmor,bpf, or install SELinux and set it to enforcing", securityModule},
}

// securityModule wants AppArmor on or SELinux enforcing.
func securityModule(h *Host) verdict {
	if enforcing, err := h.text("/sys/fs/selinux/enforce"); err == nil {
		if enforcing == "1" {
			return ok("SELinux is enforcing.")
		}
		return warn("SELinux is permissive.").with("setenforce 1, and SELINUX=enforcing in /etc/selinux/config")
	}
	if on, err := h.text("/sys/module/apparmor/parameters/enabled"); err == nil && on == "Y" {
		return ok("AppArmor is on. It confines services; rootless Podman gives containers no profile.")
	}
	list, err := h.text("/sys/kernel/security/lsm")
	if err == nil {
		names := strings.Split(list, ",")
		if slices.Contains(names, "apparmor") {
			return ok("AppArmor is on. It confines services; rootless Podman gives containers no profile.")
		}
		return warn("Neither AppArmor nor SELinux is on (%s).", list)
	}
	config, err := h.kernelConfig()
	if err != nil {
		return unknown("Security modules", err)
	}
	if strings.Contains(config, "\nCONFIG_SECURITY_APPARMOR=y\n") || strings.Contains(config, "\nCONFIG_SECURITY_SELINUX=y\n") {
		return warn("This Linux kernel has AppArmor or SELinux, and neither is on.")
	}
	return warn("This Linux kernel has neither AppArmor nor SELinux.").with("a Linux kernel with CONFIG_SECURITY_APPARMOR=y or CONFIG_SECURITY_SELINUX=y")
}
