package doctor

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// module is a part of the Linux kernel that a process without privileges can have loaded and that kernels have no use for.
type module struct {
	name   string
	option string // of the Linux kernel's configuration
	why    string
	// byName: the kernel asks for it by its own name, which a blacklist line does not hold back.
	byName bool
}

const (
	cryptoWhy = "The kernel's ciphers for users: CVE-2026-31431 (Copy Fail) wrote through them into files of others."
	lineWhy   = "A line discipline for modems that nobody has, with a long list of holes that gave root."
	familyWhy = "A protocol that a socket brings in for whoever asks, with a long list of holes that gave root."
	vsockWhy  = "Sockets to the hypervisor and its services, which no network namespace separates."
)

var modules = []module{
	{"af_alg", "CRYPTO_USER_API", cryptoWhy, false},
	{"algif_aead", "CRYPTO_USER_API_AEAD", cryptoWhy, true},
	{"algif_hash", "CRYPTO_USER_API_HASH", cryptoWhy, true},
	{"algif_skcipher", "CRYPTO_USER_API_SKCIPHER", cryptoWhy, true},
	{"algif_rng", "CRYPTO_USER_API_RNG", cryptoWhy, true},
	{"n_gsm", "N_GSM", lineWhy, false},
	{"n_hdlc", "N_HDLC", lineWhy, false},
	{"tipc", "TIPC", familyWhy, false},
	{"rds", "RDS", familyWhy, false},
	{"sctp", "IP_SCTP", familyWhy, false},
	{"dccp", "IP_DCCP", familyWhy, false},
	{"can", "CAN", familyWhy, false}, // can_raw, can_bcm and the others need it
	{"vsock", "VSOCKETS", vsockWhy, false},
	{"vsock_loopback", "VSOCKETS_LOOPBACK", vsockWhy, false},
}

// presence says how near a module is.
type presence string

const (
	nowhere  presence = "is not part of this Linux kernel"
	builtIn  presence = "is built into this Linux kernel"
	loaded   presence = "is loaded"
	loadable presence = "is loaded for whoever asks"
	blocked  presence = "cannot be loaded"
)

func moduleChecks() []check {
	var list []check
	for _, m := range modules {
		remedy := fmt.Sprintf("echo 'install %s /bin/false' >>/etc/modprobe.d/cellblock.conf; modprobe -r %[1]s", m.name)
		list = append(list, check{"module." + m.name, m.why, remedy, m.look})
	}
	return list
}

func (m module) look(h *Host) verdict {
	where, err := h.presence(m)
	switch {
	case err != nil:
		return unknown(m.name, err)
	case where == builtIn:
		return warn("%s %s.", m.name, where).with("a Linux kernel without CONFIG_%s; meanwhile Cellblock's own seccomp profiles (podman.seccomp empty) keep kernels from it", m.option)
	case where == loaded || where == loadable:
		return warn("%s %s.", m.name, where)
	}
	return ok("%s %s.", m.name, where)
}

// presence finds out how near a module is, without asking for it: that would load it.
func (h *Host) presence(m module) (presence, error) {
	inUse, err := h.lines("/proc/modules")
	if absent(err) { // a Linux kernel that loads no modules at all
		return h.configured(m)
	}
	if err != nil {
		return "", err
	}
	if slices.ContainsFunc(inUse, func(line string) bool { return strings.HasPrefix(line, m.name+" ") }) {
		return loaded, nil
	}
	release, err := h.text("/proc/sys/kernel/osrelease")
	if err != nil {
		return "", err
	}
	dir := path.Join("/lib/modules", release)
	if !h.exists(dir) {
		return h.configured(m)
	}
	for file, where := range map[string]presence{"modules.builtin": builtIn, "modules.dep": loadable} {
		list, err := h.lines(path.Join(dir, file))
		if err != nil {
			return "", err
		}
		if !slices.ContainsFunc(list, m.listed) {
			continue
		}
		if where == loadable && h.kept(m) {
			where = blocked
		}
		return where, nil
	}
	return nowhere, nil
}

// listed says whether a line of modules.builtin or modules.dep is about the module.
func (m module) listed(line string) bool {
	file, _, _ := strings.Cut(line, ":")
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return normal(name) == m.name
}

// normal writes a module's name as the kernel does.
func normal(name string) string { return strings.ReplaceAll(name, "-", "_") }

// kept says whether modprobe, or the kernel, would refuse to load the module.
func (h *Host) kept(m module) bool {
	if disabled, err := h.number("/proc/sys/kernel/modules_disabled"); err == nil && disabled == 1 {
		return true
	}
	for _, dir := range []string{"/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d"} {
		files, _ := fs.Glob(h.FS, rel(dir)+"/*.conf")
		for _, file := range files {
			lines, err := h.lines(file)
			if err == nil && slices.ContainsFunc(lines, m.keptBy) {
				return true
			}
		}
	}
	return false
}

// keptBy reads one line of modprobe's configuration.
func (m module) keptBy(line string) bool {
	words := strings.Fields(line)
	switch {
	case len(words) < 2 || normal(words[1]) != m.name:
		return false
	case words[0] == "blacklist":
		return !m.byName
	}
	return words[0] == "install" && len(words) > 2 && slices.Contains([]string{"false", "true"}, path.Base(words[2]))
}

// configured looks into the Linux kernel's configuration.
func (h *Host) configured(m module) (presence, error) {
	config, err := h.kernelConfig()
	if err != nil {
		return "", err
	}
	switch {
	case strings.Contains(config, "\nCONFIG_"+m.option+"=y\n"):
		return builtIn, nil
	case strings.Contains(config, "\nCONFIG_"+m.option+"=m\n"):
		return loadable, nil
	}
	return nowhere, nil
}

// kernelConfig returns the configuration that the running Linux kernel was built with.
func (h *Host) kernelConfig() (string, error) {
	config, err := h.unpacked("/proc/config.gz")
	if absent(err) {
		var release string
		if release, err = h.text("/proc/sys/kernel/osrelease"); err == nil {
			config, err = h.read("/boot/config-"+release, maxTable)
		}
	}
	if err != nil {
		return "", fmt.Errorf("read the Linux kernel's configuration: %w", err)
	}
	return "\n" + string(config), nil
}
