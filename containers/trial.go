package containers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containers/podman/v4/pkg/bindings/containers"
	"github.com/containers/podman/v4/pkg/bindings/volumes"
	"github.com/containers/podman/v4/pkg/specgen"

	"cellblock.io/cellblock/kernels"
)

// Trial is a container that is a kernel's in everything but the program that runs in it. `cellblock prove` starts them;
// no gateway does.
type Trial struct {
	Launch  kernels.Launch
	Command []string
	// Files are put beside the connection file.
	Files map[string][]byte
	// Without names the controls that are taken away.
	Without []string
	// Exposed is the directory of this machine that is mounted, at its own path, without the control "mounts".
	Exposed string
	// Stranger is another tenant, with whom the container shares what is taken away by controls whose names begin with
	// "own-".
	Stranger Stranger
	// Joinable lets other trials join the shared memory of this one.
	Joinable bool
	// Errno is what the system call filter answers in the place of its own errors; 0 leaves them.
	Errno uint
}

// Stranger is another tenant and the handle of its container.
type Stranger struct {
	UID    int
	Owner  kernels.Owner
	Handle string
}

// Place is where a trial's container can be watched from this machine.
type Place struct {
	PID   int    // of its process 1
	Log   string // the file with what it writes: at most 1 MiB, then the newest
	Layer string // the directory with what it changes in its root file system; empty when the storage has none
}

// ConfDir is where a trial finds its files.
const ConfDir = confDir

// Bounds are the limits of a kernel, by what they limit: bytes of memory file systems, else numbers.
func (e *Engine) Bounds() map[string]int64 {
	const block = 4096
	return map[string]int64{
		"tmp": block * tmp.bound("nr_blocks"), "shm": block * shm.bound("nr_blocks"), "sockets": block * sockets.bound("nr_blocks"),
		"tmp_names": tmp.bound("nr_inodes"), "shm_names": shm.bound("nr_inodes"), "socket_names": sockets.bound("nr_inodes"),
		"files": maxFiles, "signals": maxSignals, "memlock": maxMemlock,
		"stack": maxStack, "memory": e.cfg.Limits.Memory, "pids": e.cfg.Limits.PIDs, "processes": e.cfg.Limits.PIDs * processFactor,
		"milli_cpus": int64(e.cfg.Limits.CPUs * 1000),
	}
}

// bound is the value of an option of a memory file system.
func (m memory) bound(option string) int64 {
	for o := range strings.SplitSeq(m.options, ",") {
		if name, value, ok := strings.Cut(o, "="); ok && name == option {
			n, _ := strconv.ParseInt(value, 10, 64) // our own text
			return n
		}
	}
	return 0
}

// Places are the directories of a kernel that are nowhere else, by what they are for.
func Places() map[string]string { return map[string]string{"sockets": sockDir, "files": confDir} }

// Writable lists the directories that a kernel may write to.
func Writable() []string { return []string{"/tmp", "/dev/shm", homeDir, sockDir} }

// Try starts a trial, under the same rules as Launch; Remove ends it. There is no bridge, and no network.
func (e *Engine) Try(ctx context.Context, t Trial) (Place, error) {
	l := t.Launch
	if err := checkLaunch(l); err != nil {
		return Place{}, err
	}
	dir := runDir(e.cfg.RunDir, l.Record.Handle)
	if err := dir.claim(); err != nil {
		return Place{}, fmt.Errorf("run directory of trial %s: %w", l.Record.Handle, err)
	}
	place, err := e.try(ctx, dir, t)
	if err == nil {
		return place, nil
	}
	if undo := e.Remove(context.WithoutCancel(ctx), l.Record.Handle); undo != nil {
		err = errors.Join(err, fmt.Errorf("undo the trial: %w", undo))
	}
	return Place{}, err
}

func (e *Engine) try(ctx context.Context, dir kernelDir, t Trial) (Place, error) {
	spec, err := builder{cfg: e.cfg, caps: e.caps}.trial(t)
	if err != nil {
		return Place{}, err
	}
	if err := dir.fill(t.Launch.Spec.Name, NoNetwork); err != nil {
		return Place{}, fmt.Errorf("run directory of trial %s: %w", t.Launch.Record.Handle, err)
	}
	for name, content := range t.Files {
		if err := writeOpen(dir.file(name), content); err != nil {
			return Place{}, fmt.Errorf("files of trial %s: %w", t.Launch.Record.Handle, err)
		}
	}
	if t.Errno != 0 && spec.SeccompProfilePath != unconfined {
		if spec.SeccompProfilePath, err = proving(dir, spec.SeccompProfilePath, t.Errno); err != nil {
			return Place{}, err
		}
	}
	err = parallel(
		func() error { return e.makeMemories(ctx, t.Launch) },
		func() error { return e.makeWorkspace(ctx, t.Launch) },
	)
	if err == nil {
		err = e.run(ctx, roleKernel, spec)
	}
	if err != nil {
		return Place{}, err
	}
	return e.place(ctx, t.Launch.Record.Handle)
}

// trial is a kernel's spec but for the program and what is taken away.
func (b builder) trial(t Trial) (*specgen.SpecGenerator, error) {
	s, err := b.kernel(t.Launch)
	if err != nil {
		return nil, err
	}
	s.Entrypoint, s.Command = t.Command, nil
	// Where this user may read it. Not in conf, which the container sees.
	s.LogConfiguration.Path = filepath.Join(string(runDir(b.cfg.RunDir, t.Launch.Record.Handle)), "log")
	if t.Joinable {
		s.IpcNS = specgen.Namespace{NSMode: "shareable"}
	}
	return s, weaken(s, t, b.cfg)
}

// writeOpen writes a file that everybody may read, whatever the umask is.
func writeOpen(path string, content []byte) error {
	if err := os.WriteFile(path, content, fileMode); err != nil {
		return err
	}
	return os.Chmod(path, fileMode)
}

// podmansProfile is what Podman uses when no profile is given.
const podmansProfile = "/usr/share/containers/seccomp.json"

// proving writes the proving build of a seccomp profile and returns its path.
func proving(dir kernelDir, profile string, errno uint) (string, error) {
	if profile == "" {
		profile = podmansProfile
	}
	text, err := os.ReadFile(profile)
	if err != nil {
		return "", fmt.Errorf("read the seccomp profile: %w", err)
	}
	if text, err = provingProfile(text, errno); err != nil {
		return "", err
	}
	path := filepath.Join(string(dir), "proving.json")
	return path, os.WriteFile(path, text, 0o600)
}

// place asks where a container is.
func (e *Engine) place(ctx context.Context, handle string) (Place, error) {
	call, cancel := e.conn.within(ctx, quickCall)
	defer cancel()
	details, err := containers.Inspect(call, e.cfg.name(roleKernel, handle), nil)
	if err != nil {
		return Place{}, failure(ctx, "look where the container is", err)
	}
	if details.State == nil || details.HostConfig == nil || details.HostConfig.LogConfig == nil {
		return Place{}, errors.New("look where the container is: an empty answer")
	}
	p := Place{PID: details.State.Pid, Log: details.HostConfig.LogConfig.Path}
	if details.GraphDriver != nil {
		p.Layer = details.GraphDriver.Data["UpperDir"]
	}
	return p, nil
}

// RemoveWorkspace removes an owner's files, which is for owners of trials: no gateway does it. It succeeds when there
// are none.
func (e *Engine) RemoveWorkspace(ctx context.Context, owner kernels.Owner) error {
	call, cancel := e.conn.within(ctx, removeCall)
	defer cancel()
	err := volumes.Remove(call, e.cfg.workspaceName(owner), nil)
	if answered(err, 404) {
		return nil
	}
	return failure(ctx, "remove the workspace of "+string(owner), err)
}

// WorkspaceDir is where an owner's files are on this machine.
func (e *Engine) WorkspaceDir(ctx context.Context, owner kernels.Owner) (string, error) {
	call, cancel := e.conn.within(ctx, quickCall)
	defer cancel()
	volume, err := volumes.Inspect(call, e.cfg.workspaceName(owner), nil)
	if err != nil {
		return "", failure(ctx, "look for the workspace of "+string(owner), err)
	}
	return volume.Mountpoint, nil
}
