package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// circumstances are the machine, the versions and the time, as a list in Markdown.
func (b *bench) circumstances() string {
	now := time.Now().UTC()
	lines := []string{
		fmt.Sprintf("%s UTC, %.0f minutes, commit %s", now.Format("2006-01-02 15:04"), now.Sub(b.begin).Minutes(), commit()),
		"load average as each section began: " + strings.Join(b.loads, ", "),
		fmt.Sprintf("%d × %s, %s of memory, Linux %s, %s, %s", runtime.NumCPU(), found("/proc/cpuinfo", "model name"),
			found("/proc/meminfo", "MemTotal"), strings.TrimSpace(read("/proc/sys/kernel/osrelease")), found("/etc/os-release", "PRETTY_NAME"), runtime.Version()),
		"libzmq " + said("dpkg-query", "-W", "-f", "${Version}", "libzmq5") + ", " + said("podman", "--version"),
	}
	for _, p := range peers {
		if b.others {
			lines = append(lines, p.name+": "+strings.Join(pinned(p.environment), ", "))
		}
	}
	return "- " + strings.Join(lines, "\n- ") + "\n"
}

func commit() string {
	id := said("git", "rev-parse", "--short", "HEAD")
	if said("git", "status", "--porcelain", "--untracked-files=no") != "" {
		id += " with changes"
	}
	return id
}

// said is what a command prints, or that it failed.
func said(command string, args ...string) string {
	out, err := exec.Command(command, args...).Output()
	if err != nil {
		return fmt.Sprintf("(%s: %v)", command, err)
	}
	return strings.TrimSpace(string(out))
}

// read is a file's content; empty when there is none, since the report is worth having without it.
func read(path string) string {
	content, _ := os.ReadFile(path)
	return string(content)
}

// found is the value of the first line of a file that begins with a name.
func found(path, name string) string {
	lines := bufio.NewScanner(strings.NewReader(read(path)))
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), name); ok {
			return strings.Trim(rest, " \t:=\"")
		}
	}
	return "unknown"
}

// pinned are the packages of an environment that matter here, with their versions.
func pinned(environment string) (packages []string) {
	for line := range strings.Lines(read(filepath.Join("bench/peers", environment+".txt"))) {
		name, _, _ := strings.Cut(strings.ReplaceAll(line, "_", "-"), "==")
		switch name {
		case "jupyter-server", "jupyter-kernel-gateway", "jupyter-enterprise-gateway", "jupyter-client", "ipykernel", "pyzmq", "tornado":
			packages = append(packages, strings.Replace(strings.TrimSpace(line), "==", " ", 1))
		}
	}
	return packages
}
