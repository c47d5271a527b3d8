package doctor

import (
	"fmt"
	"strings"
)

// sysctl is one setting of the Linux kernel.
type sysctl struct {
	name string // as sysctl(8) writes it
	good func(int) bool
	set  int // what the remedy sets
	why  string
	// without is the verdict on a Linux kernel that does not have the setting.
	without verdict
}

func atLeast(n int) func(int) bool         { return func(v int) bool { return v >= n } }
func exactly(n int) func(int) bool         { return func(v int) bool { return v == n } }
func between(low, high int) func(int) bool { return func(v int) bool { return low <= v && v <= high } }

// sysctls are those that decide what a process without privileges may ask of the Linux kernel.
var sysctls = []sysctl{
	{"kernel.unprivileged_bpf_disabled", atLeast(1), 1,
		"Programs for the kernel's own virtual machine have broken out of it again and again.",
		notApplicable("This Linux kernel has no bpf system call for users.")},
	{"kernel.perf_event_paranoid", atLeast(2), 2, // more is Debian's and Ubuntu's own
		"Performance counters show what others on the same processor do, and their code has had many holes.",
		notApplicable("This Linux kernel has no performance counters.")},
	{"kernel.io_uring_disabled", exactly(2), 2,
		"io_uring does what system calls do, past the filter that holds kernels back, and has had many holes.",
		warn("This Linux kernel cannot switch io_uring off.").with("a Linux kernel of 6.6 or later")},
	{"kernel.yama.ptrace_scope", atLeast(1), 1,
		"Without it each process may read and change all others of the same user.",
		notApplicable("This Linux kernel has no Yama.")},
	{"kernel.kptr_restrict", exactly(2), 2,
		"Addresses of the Linux kernel are half of an exploit.",
		notApplicable("This Linux kernel has no such setting.")},
	{"kernel.dmesg_restrict", exactly(1), 1,
		"The kernel's messages tell about its addresses, the machine and its other users.",
		notApplicable("This Linux kernel has no such setting.")},
	{"vm.unprivileged_userfaultfd", exactly(0), 0,
		"A process that can halt the kernel at a page fault wins its races.",
		notApplicable("This Linux kernel has no userfaultfd.")},
	{"dev.tty.legacy_tiocsti", exactly(0), 0,
		"With TIOCSTI a process types into the terminal of whoever looks at it.",
		warn("This Linux kernel cannot switch TIOCSTI off.").with("a Linux kernel of 6.2 or later")},
	{"dev.tty.ldisc_autoload", exactly(0), 0,
		"Line disciplines that nobody uses (n_gsm, n_hdlc) are loaded for whoever asks, and have had many holes.",
		warn("This Linux kernel loads line disciplines for everybody.").with("a Linux kernel of 5.1 or later")},
	{"fs.protected_symlinks", exactly(1), 1,
		"Links that others plant in directories like /tmp lead programs of root astray.",
		notApplicable("This Linux kernel has no such setting.")},
	{"fs.protected_hardlinks", exactly(1), 1,
		"A hard link to another's file keeps it, and its faults, after an update.",
		notApplicable("This Linux kernel has no such setting.")},
	{"fs.protected_fifos", exactly(2), 2,
		"A FIFO that others plant in a directory like /tmp gets what was meant for a file.",
		notApplicable("This Linux kernel has no such setting.")},
	{"fs.protected_regular", exactly(2), 2,
		"A file that others plant in a directory like /tmp gets what was meant for a new one.",
		notApplicable("This Linux kernel has no such setting.")},
	{"fs.suid_dumpable", exactly(0), 0,
		"The memory of a program with privileges must not end up in a file that others read.",
		notApplicable("This Linux kernel has no such setting.")},
	{"kernel.pty.max", atLeast(16384), 65536,
		"All kernels share the machine's terminals: one that takes all of them leaves none for the others.",
		notApplicable("This Linux kernel has no pseudo-terminals.")},
	{"vm.overcommit_memory", between(0, 1), 1,
		"With 2, programs that reserve more than they use, as Go's and NumPy's do, get no memory although there is some.",
		notApplicable("This Linux kernel has no such setting.")},
}

// maxNamespaces is enough for some thousands of kernels and no invitation to make them by the million.
const maxNamespaces = 32768

func sysctlChecks() []check {
	list := []check{
		{"sysctl.user.max_user_namespaces",
			"Rootless containers need user namespaces; without a bound one process could use up the memory that they take.",
			setSysctl("user.max_user_namespaces", maxNamespaces), namespaces},
		{"sysctl.kernel.core_pattern",
			"A pattern that begins with | runs a program of the machine's, often as root, on what a crashing kernel left in its memory.",
			setSysctl("kernel.core_pattern", "core"), corePattern},
	}
	for _, s := range sysctls {
		list = append(list, check{"sysctl." + s.name, s.why, setSysctl(s.name, s.set), s.look})
	}
	return list
}

func setSysctl(name string, value any) string {
	return fmt.Sprintf("echo '%s = %v' >>/etc/sysctl.d/90-cellblock.conf && sysctl --system", name, value)
}

func sysctlFile(name string) string { return "/proc/sys/" + strings.ReplaceAll(name, ".", "/") }

func (s sysctl) look(h *Host) verdict {
	value, err := h.number(sysctlFile(s.name))
	switch {
	case absent(err):
		return s.without
	case err != nil:
		return unknown(s.name, err)
	case !s.good(value):
		return warn("%s is %d.", s.name, value)
	}
	return ok("%s is %d.", s.name, value)
}

func namespaces(h *Host) verdict {
	const name = "user.max_user_namespaces"
	value, err := h.number(sysctlFile(name))
	switch {
	case absent(err):
		return fail("This Linux kernel has no user namespaces.").with("a Linux kernel with CONFIG_USER_NS=y")
	case err != nil:
		return unknown(name, err)
	case value == 0:
		return fail("%s is 0: rootless containers cannot run.", name)
	case value > maxNamespaces:
		return warn("%s is %d.", name, value)
	}
	return ok("%s is %d.", name, value)
}

func corePattern(h *Host) verdict {
	const name = "kernel.core_pattern"
	value, err := h.text(sysctlFile(name))
	switch {
	case absent(err):
		return notApplicable("This Linux kernel writes no core files.")
	case err != nil:
		return unknown(name, err)
	case strings.HasPrefix(value, "|"):
		return warn("%s is %s", name, value)
	}
	return ok("%s is %q.", name, value)
}
