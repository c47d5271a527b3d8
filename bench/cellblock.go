package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const cellblock = "Cellblock"

// commandTime is the limit of one command of Podman or Cellblock.
const commandTime = 60 * time.Second

// installation is a private Cellblock as people run it: `cellblock serve` of the instance's own build as its user,
// with a Redis, rootless Podman, and kernels and bridges in containers. Nothing is left out and nothing is replaced.
type installation struct {
	instance, name, state, run string
}

// startCellblock starts one; its name tells it from others of the same run.
func startCellblock(ctx context.Context, o options, logs, name string) (*server, error) {
	i := installation{instance: o.instance, name: fmt.Sprintf("bench-%d-%s", os.Getpid(), name)}
	i.state = filepath.Join("/var/lib", i.instance, i.name)
	i.run = filepath.Join("/run", i.instance, i.name)
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(logs, "cellblock-"+name+".log"))
	if err != nil {
		return nil, err
	}
	if err := i.install(ctx, address); err != nil {
		return nil, err
	}
	s := &server{name: cellblock, url: "http://" + address, log: log, bridges: i.bridges, newToken: i.newToken, purge: i.purge}
	s.process = i.as(context.Background(), i.program(), "serve", "--config", i.config())
	if err := s.begin(ctx, "/healthz"); err != nil {
		return nil, err
	}
	if s.token, err = i.newToken(ctx, "bench"); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (i installation) newToken(ctx context.Context, person string) (string, error) {
	if _, err := i.output(ctx, i.program(), "user", "add", person, "--max-kernels", "64"); err != nil {
		return "", err
	}
	return i.output(ctx, i.program(), "token", "create", "--user", person)
}

func (i installation) program() string { return filepath.Join("/var/lib", i.instance, "bin/cellblock") }
func (i installation) config() string  { return filepath.Join(i.state, "config.yaml") }

// install makes the directories and the configuration: defaults, but for what the benchmark needs more of.
func (i installation) install(ctx context.Context, address string) error {
	// The directories above are root's alone.
	made := exec.CommandContext(ctx, "install", "-d", "-m", "700", "-o", i.instance, "-g", i.instance, i.state, i.run)
	if out, err := made.CombinedOutput(); err != nil {
		return fmt.Errorf("make directories: %w: %s", err, out)
	}
	return os.WriteFile(i.config(), []byte(fmt.Sprintf(`listen: %s
instance: %s
state_dir: %s
run_dir: %s
limits: {unenforceable: allow, cpus: 2, memory: 2g}
kernels: {images: ["localhost/cellblock/kernel-python:latest", "localhost/cellblock/kernel-echo:latest", "localhost/cellblock/kernel-echo-whole:latest"]}
`, address, i.name, i.state, i.run)), 0o644)
}

// as makes a command of the instance's user. Its process is the command's own.
func (i installation) as(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "deploy/enter", append([]string{"--instance", i.instance,
		"--env", "CELLBLOCK_CONFIG=" + i.config(), "--"}, args...)...)
}

func (i installation) output(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	var complaint strings.Builder
	cmd := i.as(ctx, args...)
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, complaint.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// bridges are the bridge processes of this installation. Each has its run directory among its mounts.
func (i installation) bridges() (pids []int) {
	for _, pid := range processes() {
		command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // it may have ended
		if !bytes.HasPrefix(command, []byte("/cellblock\x00bridge\x00")) {
			continue
		}
		mounts, _ := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
		if bytes.Contains(mounts, []byte("/"+i.name+"/")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// purge removes all that Podman and the file system have of the installation. What has gone already is fine.
func (i installation) purge() {
	own := "label=io.cellblock.instance=" + i.name
	ctx := context.Background()
	if ids, err := i.output(ctx, "podman", "ps", "--all", "--quiet", "--filter", own); err == nil && ids != "" {
		_, _ = i.output(ctx, append([]string{"podman", "rm", "--force", "--time", "0"}, strings.Fields(ids)...)...)
	}
	_, _ = i.output(ctx, "podman", "volume", "prune", "--force", "--filter", own)
	os.RemoveAll(i.state)
	os.RemoveAll(i.run)
}
