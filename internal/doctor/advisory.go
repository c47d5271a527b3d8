package doctor

import (
	"bytes"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// advisory is a published fault of a program, and where it ended.
type advisory struct {
	cves []string
	// fixed are the first versions without it, one for each branch that got one, in rising order. What is later than
	// the last has it neither.
	fixed []string
	// packages are Debian's, whose changelogs name what is fixed in an older version.
	packages []string
}

// The faults that are looked for. Sources: the CVE records and the release notes of each program.
var (
	copyFailAdvisory = advisory{
		cves:  []string{"CVE-2026-31431"},
		fixed: []string{"5.10.254", "5.15.204", "6.1.170", "6.6.137", "6.12.85", "6.18.22", "6.19.12", "7.0"},
	}
	podmanAdvisory = advisory{
		cves:     []string{"CVE-2026-123876", "CVE-2026-111361", "CVE-2026-94603"},
		fixed:    []string{"5.8.10", "6.2.0"},
		packages: []string{"podman"},
	}
	crunAdvisory = advisory{
		cves:     []string{"CVE-2026-88264", "CVE-2026-88265"},
		fixed:    []string{"1.30"},
		packages: []string{"crun"},
	}
	runcAdvisory = advisory{
		cves:     []string{"CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881", "CVE-2026-41579"},
		fixed:    []string{"1.3.6", "1.4.3", "1.5.0"},
		packages: []string{"runc"},
	}
	redisAdvisory = advisory{
		cves:     []string{"CVE-2025-49844"},
		fixed:    []string{"6.2.20", "7.2.11", "7.4.6", "8.0.4", "8.2.2"},
		packages: []string{"redis-server"},
	}
	valkeyAdvisory = advisory{
		cves:     []string{"CVE-2025-49844"},
		fixed:    []string{"7.2.11", "8.0.6", "8.1.4"},
		packages: []string{"valkey-server"},
	}
)

// copyFailSince is the first Linux kernel with the fault.
const copyFailSince = "4.14"

var versionPattern = regexp.MustCompile(`\d+(\.\d+)+`)

// version reads the first version number in a text.
func version(text string) []int {
	var numbers []int
	for part := range strings.SplitSeq(versionPattern.FindString(text), ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil
		}
		numbers = append(numbers, n)
	}
	return numbers
}

// repaired says whether a version is one without the fault.
func (a advisory) repaired(v []int) bool {
	for _, text := range a.fixed {
		if first := version(text); len(v) > 1 && slices.Equal(v[:2], first[:2]) {
			return slices.Compare(v, first) >= 0
		}
	}
	return slices.Compare(v, version(a.fixed[len(a.fixed)-1])) > 0
}

// state is what can be known of a program and an advisory.
type state struct {
	repaired bool
	// shipped is true when the program is one of a distribution, which repairs without changing the version.
	shipped bool
	found   string
	remedy  string
}

// look judges a program by its version, and one from a package also by the package's changelog.
func (a advisory) look(h *Host, program, ran string) state {
	v := version(ran)
	if a.repaired(v) {
		return state{repaired: true, found: fmt.Sprintf("%s %s, without %s.", program, dotted(v), a.names())}
	}
	found := fmt.Sprintf("%s %s; %s ended with %s.", program, dotted(v), a.names(), strings.Join(a.fixed, ", "))
	for _, name := range a.packages {
		shipped := h.debianPackage(name)
		// Another program than the package's may be the one that runs.
		if !slices.Equal(version(afterEpoch(shipped)), v) {
			continue
		}
		if h.changelogNames(name, a.cves) {
			return state{repaired: true, shipped: true, found: fmt.Sprintf("%s %s, whose changelog names %s as repaired.", name, shipped, a.names())}
		}
		found += fmt.Sprintf(" It is the distribution's package %s %s, which may be repaired all the same or never have had the fault; its changelog does not say so.", name, shipped)
		return state{shipped: true, found: found, remedy: fmt.Sprintf(
			"apt-get update && apt-get install --only-upgrade %s; what is known: https://security-tracker.debian.org/tracker/%s", name, a.cves[0])}
	}
	if h.exists("/usr/lib/sysimage/rpm") || h.exists("/var/lib/rpm") {
		return state{shipped: true, found: found + " A distribution's package may be repaired all the same.",
			remedy: fmt.Sprintf("dnf upgrade %s; what it repairs: rpm -q --changelog %[1]s | grep %s", strings.ToLower(program), a.cves[0])}
	}
	return state{found: found, remedy: fmt.Sprintf("%s %s or later", program, a.fixed[len(a.fixed)-1])}
}

// floor turns the state of a program into a verdict: what a distribution ships is doubtful, what is built by hand is not.
func (a advisory) floor(h *Host, program, ran string) verdict {
	if version(ran) == nil {
		return verdict{Unknown, fmt.Sprintf("The version of %s: %q.", program, ran), ""}
	}
	s := a.look(h, program, ran)
	switch {
	case s.repaired:
		return ok("%s", s.found)
	case s.shipped:
		return warn("%s", s.found).with("%s", s.remedy)
	}
	return fail("%s", s.found).with("%s", s.remedy)
}

func (a advisory) names() string { return strings.Join(a.cves, ", ") }

func dotted(v []int) string {
	var parts []string
	for _, n := range v {
		parts = append(parts, strconv.Itoa(n))
	}
	return strings.Join(parts, ".")
}

// afterEpoch leaves out the number before the colon of a Debian version.
func afterEpoch(debian string) string {
	if _, rest, there := strings.Cut(debian, ":"); there {
		return rest
	}
	return debian
}

// debianPackage returns an installed package's version; empty when there is none.
func (h *Host) debianPackage(name string) string {
	database, err := h.read("/var/lib/dpkg/status", maxTable)
	if err != nil {
		return ""
	}
	for entry := range bytes.SplitSeq(database, []byte("\n\n")) {
		if !bytes.HasPrefix(bytes.TrimLeft(entry, "\n"), []byte("Package: "+name+"\n")) || !bytes.Contains(entry, []byte("\nStatus: install ok installed\n")) {
			continue
		}
		for line := range bytes.SplitSeq(entry, []byte("\n")) {
			if v, there := bytes.CutPrefix(line, []byte("Version: ")); there {
				return string(v)
			}
		}
	}
	return ""
}

// changelogNames says whether an installed Debian package's changelog names all of the words.
func (h *Host) changelogNames(name string, words []string) bool {
	files, _ := fs.Glob(h.FS, "usr/share/doc/"+name+"/changelog*.gz")
	var text []byte
	for _, file := range files {
		if content, err := h.unpacked(file); err == nil {
			text = append(text, content...)
		}
	}
	return !slices.ContainsFunc(words, func(word string) bool { return !bytes.Contains(text, []byte(word)) })
}

// debianKernel is how Debian's Linux kernels say the version that they were made from.
var debianKernel = regexp.MustCompile(`Debian (\d+\.\d+\.\d+\S*)`)

// copyFail looks at the Linux kernel's version, and whether the faulty part of it can be reached.
func copyFail(h *Host) verdict {
	release, err := h.text("/proc/sys/kernel/osrelease")
	if err != nil {
		return unknown("The Linux kernel's version", err)
	}
	build, err := h.text("/proc/sys/kernel/version")
	if err != nil {
		return unknown("The Linux kernel's version", err)
	}
	ran, a := release, copyFailAdvisory
	if m := debianKernel.FindStringSubmatch(build); m != nil {
		ran = m[1]
	}
	// The package of a Debian kernel has its release in its name.
	a.packages = []string{"linux-image-" + release, "linux-image-unsigned-" + release}
	if slices.Compare(version(ran), version(copyFailSince)) < 0 {
		return ok("Linux %s is older than the fault.", ran)
	}
	s := a.look(h, "Linux", ran)
	if s.repaired {
		return ok("%s", s.found)
	}
	where, err := h.presence(modules[slices.IndexFunc(modules, func(m module) bool { return m.name == "algif_aead" })])
	if err == nil && (where == nowhere || where == blocked) {
		return ok("%s Its part that has the fault, algif_aead, %s.", s.found, where)
	}
	remedy := "update the Linux kernel and restart; until then: echo 'install algif_aead /bin/false' >>/etc/modprobe.d/cellblock.conf; modprobe -r algif_aead"
	if s.remedy != "" && s.shipped {
		remedy = s.remedy + "; restart; until then: echo 'install algif_aead /bin/false' >>/etc/modprobe.d/cellblock.conf; modprobe -r algif_aead"
	}
	if h.Config.Podman.Seccomp == "" {
		return warn("%s Cellblock's own seccomp profile alone keeps kernels from it.", s.found).with("%s", remedy)
	}
	return fail("%s Nothing keeps kernels from it, unless the profile of podman.seccomp does.", s.found).with("%s", remedy)
}
