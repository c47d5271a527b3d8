//go:build integration

package containers_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cellblock.io/cellblock/containers"
	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/kernels/kernelstest"
)

func TestPodmanLauncher(t *testing.T) {
	bridge := probeImage
	if image := os.Getenv("CELLBLOCK_BRIDGE_IMAGE"); image != "" {
		bridge = image
	}
	kernelstest.LauncherSuite(t, func(t *testing.T) kernelstest.Place {
		p := open(t, func(c *containers.Config) { c.BridgeImage = bridge })
		return kernelstest.Place{
			Launcher: p.engine,
			Observer: p.engine,
			Launch:   func(owner kernels.Owner) kernels.Launch { return p.describe(owner, nil) },
			Broken: func(owner kernels.Owner) kernels.Launch {
				l := p.describe(owner, nil)
				l.Spec.Image = "localhost/cellblock-probe:none"
				return l
			},
			Kill:    p.kill,
			Process: func(t *testing.T, handle string, bridge bool) string { return strconv.Itoa(p.pid(t, handle, bridge)) },
			Again: func(t *testing.T) (kernels.Launcher, kernels.Observer) {
				e := connect(t, p.cfg)
				return e, e
			},
			Leftovers: func(t *testing.T, handle string) []string { return p.leftovers(t, handle, owners["alice"]) },
		}
	})
}

// What a kernel is, sees, and may do.
func TestPodmanKernelSandbox(t *testing.T) {
	p := open(t)
	handle := p.launch(t, "alice", map[string]string{"OF_CLIENT": "1", "FILL": "1"})
	r := p.reports(t, handle, 1)[0]

	if r.UID != owners["alice"] || r.GID != r.UID || len(r.Groups) > 1 || r.Umask != 0o007 {
		t.Errorf("user %d:%d, groups %v, umask %03o", r.UID, r.GID, r.Groups, r.Umask)
	}
	for key, want := range map[string]string{
		"CapInh": "0000000000000000", "CapPrm": "0000000000000000", "CapEff": "0000000000000000",
		"CapBnd": "0000000000000000", "CapAmb": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2",
	} {
		if r.Status[key] != want {
			t.Errorf("%s is %s, want %s", key, r.Status[key], want)
		}
	}
	slices.Sort(r.Env)
	wantEnv := []string{
		"FILL=1", "HOME=/home/jovyan", "HOSTNAME=kernel", "LANG=C.UTF-8", "MPLCONFIGDIR=/tmp/mpl", "OF_CLIENT=1", "OF_SPEC=1",
		"PATH=/usr/local/bin:/usr/bin:/bin", "PYTHONUNBUFFERED=1", "USER=jovyan",
	}
	if !slices.Equal(r.Env, wantEnv) {
		t.Errorf("environment %q, want %q", r.Env, wantEnv)
	}
	if r.Hostname != "kernel" || r.Dir != "/home/jovyan" || !slices.Equal(r.Interfaces, []string{"lo"}) || r.Init != "podman-init" || r.PID == 1 {
		t.Errorf("host %s, directory %s, interfaces %v, process 1 %s, process %d", r.Hostname, r.Dir, r.Interfaces, r.Init, r.PID)
	}
	writable := []string{"/tmp", "/dev/shm", "/home/jovyan", "/run/cellblock/sock"}
	for dir, verdict := range r.Writes {
		if (verdict == "ok") != slices.Contains(writable, dir) {
			t.Errorf("write to %s: %s", dir, verdict)
		}
	}
	if r.Filled["/tmp"] != 128<<20 || r.Filled["/run/cellblock/sock"] > 64<<10 {
		t.Errorf("could fill %v", r.Filled)
	}
	for _, file := range []string{"/etc/resolv.conf", "/proc/cmdline", "/proc/loadavg", "/proc/kallsyms", "/proc/diskstats", "/proc/vmstat"} {
		if r.Files[file] != "" {
			t.Errorf("%s says %.80q", file, r.Files[file])
		}
	}
	if hosts := r.Files["/etc/hosts"]; !strings.Contains(hosts, "localhost") || strings.Count(hosts, "\n") != 2 {
		t.Errorf("/etc/hosts is %q", hosts)
	}
	if passwd := r.Files["/etc/passwd"]; !strings.Contains(passwd, "jovyan:*:"+strconv.Itoa(r.UID)) || strings.Count(passwd, "\n") != 1 {
		t.Errorf("/etc/passwd is %q", passwd)
	}
	for name, want := range map[string][2]uint64{
		"core": {0, 0}, "nofile": {4096, 4096}, "nproc": {1024, 1024}, "memlock": {65536, 65536}, "msgqueue": {0, 0},
		"sigpending": {1024, 1024}, "stack": {8 << 20, 64 << 20},
	} {
		if r.Limits[name] != want {
			t.Errorf("limit %s is %v, want %v", name, r.Limits[name], want)
		}
	}
	checkMounts(t, r)
	checkCgroup(t, p, r)
}

// checkMounts looks at the flags of everything that can be written to, and for mounts that nobody asked for.
func checkMounts(t *testing.T, r report) {
	t.Helper()
	for point, flags := range map[string][]string{
		"/":                   {"ro", "overlay"},
		"/tmp":                {"rw", "nosuid", "nodev", "tmpfs", "size=131072k"},
		"/dev/shm":            {"rw", "nosuid", "nodev", "noexec", "tmpfs", "size=65536k"},
		"/home/jovyan":        {"rw", "nosuid", "nodev"},
		"/run/cellblock/conf": {"ro", "nosuid", "nodev", "noexec"},
		"/run/cellblock/sock": {"rw", "nosuid", "nodev", "noexec", "tmpfs", "size=64k", "nr_inodes=64"},
	} {
		have := strings.Split(r.Mounts[point], ",")
		for _, flag := range flags {
			if !slices.Contains(have, flag) {
				t.Errorf("%s is mounted %q, without %s", point, r.Mounts[point], flag)
			}
		}
	}
	for point, how := range r.Mounts {
		rw, _, _ := strings.Cut(how, ",")
		known := []string{"/tmp", "/home/jovyan", "/run/cellblock/sock", "/proc"}
		if rw == "rw" && !slices.Contains(known, point) && point != "/dev" && !strings.HasPrefix(point, "/dev/") {
			t.Errorf("%s is mounted %q", point, how)
		}
	}
	if how, ok := r.Mounts["/data"]; ok {
		t.Errorf("the image's volume is mounted: %s", how)
	}
}

// checkCgroup looks for the limits that this host can enforce.
func checkCgroup(t *testing.T, p *place, r report) {
	t.Helper()
	caps, err := p.engine.Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", caps)
	for _, limit := range []struct {
		enforced   bool
		file, want string
	}{
		{caps.Memory, "/sys/fs/cgroup/memory.max", "1073741824\n"},
		{caps.PIDs, "/sys/fs/cgroup/pids.max", "256\n"},
		{caps.CPU, "/sys/fs/cgroup/cpu.max", "100000 100000\n"},
	} {
		if got := r.Files[limit.file]; limit.enforced && got != limit.want {
			t.Errorf("%s is %q, want %q", limit.file, got, limit.want)
		}
	}
	if got := r.Files["/proc/self/oom_score_adj"]; got != "500\n" {
		t.Errorf("oom_score_adj is %q", got)
	}
}

// What a bridge is and sees: the kernel's sockets, its own gate, and nothing of the tenant's files.
func TestPodmanBridgeSandbox(t *testing.T) {
	p := open(t)
	handle := p.launch(t, "alice", nil)
	kernel := p.reports(t, handle, 1)[0]
	r := p.dial(t, handle)
	if r.UID != owners["alice"]+1 || r.GID != owners["alice"] || len(r.Groups) > 1 {
		t.Errorf("user %d:%d, groups %v", r.UID, r.GID, r.Groups)
	}
	if r.Status["CapEff"] != "0000000000000000" || r.Status["CapBnd"] != "0000000000000000" || r.Status["NoNewPrivs"] != "1" {
		t.Errorf("capabilities %s, %s, no new privileges %s", r.Status["CapEff"], r.Status["CapBnd"], r.Status["NoNewPrivs"])
	}
	if len(r.Dials) != 5 {
		t.Errorf("sockets %v", r.Dials)
	}
	for socket, verdict := range r.Dials {
		if verdict != "ok" {
			t.Errorf("dial %s: %s", socket, verdict)
		}
	}
	if slices.Sort(r.Env); !slices.Equal(r.Env, []string{"GOMEMLIMIT=200MiB", "HOME=/", "HOSTNAME=bridge", "_CONTAINERS_ROOTLESS_UID=0"}) {
		t.Errorf("environment %q", r.Env)
	}
	writable := []string{"/dev/shm", "/run/cellblock/sock", "/run/cellblock/gate"}
	for dir, verdict := range r.Writes {
		if (verdict == "ok") != slices.Contains(writable, dir) {
			t.Errorf("write to %s: %s", dir, verdict)
		}
	}
	if _, ok := r.Mounts["/home/jovyan"]; ok || !slices.Equal(r.Interfaces, []string{"lo"}) {
		t.Errorf("mounts %v, interfaces %v", r.Mounts, r.Interfaces)
	}
	if a, b := kernel.Files["/run/cellblock/conf/connection.json"], r.Files["/run/cellblock/conf/connection.json"]; a != b || a == "" {
		t.Errorf("connection files differ: %q, %q", a, b)
	}
	if _, ok := kernel.Mounts["/run/cellblock/gate"]; ok {
		t.Error("the kernel sees the gate")
	}
}

func TestPodmanInterrupt(t *testing.T) {
	p := open(t)
	handle := p.launch(t, "alice", nil)
	p.reports(t, handle, 1)
	if err := p.engine.Interrupt(t.Context(), handle); err != nil {
		t.Fatal(err)
	}
	var log string
	for end := time.Now().Add(patience); !strings.Contains(log, "signal: interrupt") && time.Now().Before(end); {
		log = podman(t, "logs", p.container(handle, false))
	}
	if n := strings.Count(log, "signal: interrupt"); n != 1 {
		t.Errorf("the kernel got %d interrupts: %s", n, log)
	}
	p.kill(t, handle, false)
	err := p.engine.Interrupt(t.Context(), handle)
	for end := time.Now().Add(patience); err == nil && time.Now().Before(end); {
		err = p.engine.Interrupt(t.Context(), handle)
	}
	if !errors.Is(err, kernels.ErrUnavailable) {
		t.Errorf("interrupt of a dead kernel: %v", err)
	}
	if err := p.engine.Interrupt(t.Context(), random(16)); !errors.Is(err, kernels.ErrNotFound) {
		t.Errorf("interrupt of no kernel: %v", err)
	}
}

func TestPodmanRestartKeepsTheConnection(t *testing.T) {
	p := open(t)
	handle := p.launch(t, "alice", map[string]string{"NOTE": "first"})
	before := p.reports(t, handle, 1)[0]
	if err := p.engine.Restart(t.Context(), handle); err != nil {
		t.Fatal(err)
	}
	after := p.reports(t, handle, 2)[1]
	const file = "/run/cellblock/conf/connection.json"
	if before.Files[file] != after.Files[file] || before.Files[file] == "" {
		t.Errorf("connection file was %q, is %q", before.Files[file], after.Files[file])
	}
	if before.Note != "" || after.Note != "first" {
		t.Errorf("notes %q, %q", before.Note, after.Note)
	}
	for socket, verdict := range p.dial(t, handle).Dials {
		if verdict != "ok" {
			t.Errorf("dial %s: %s", socket, verdict)
		}
	}
}

func TestPodmanWorkspaces(t *testing.T) {
	p := open(t)
	first := p.launch(t, "alice", map[string]string{"NOTE": "of alice"})
	p.reports(t, first, 1)
	p.remove(t, first)
	other := p.launch(t, "bob@example.org", map[string]string{"NOTE": "of bob"})
	if r := p.reports(t, other, 1)[0]; r.Note != "" || r.UID != owners["bob@example.org"] {
		t.Errorf("another owner, user id %d, finds %q", r.UID, r.Note)
	}
	second := p.launch(t, "alice", nil)
	if r := p.reports(t, second, 1)[0]; r.Note != "of alice" {
		t.Errorf("the next kernel of the same owner finds %q", r.Note)
	}
	l := p.describe("alice", nil)
	l.UID = owners["bob@example.org"]
	if err := p.engine.Launch(t.Context(), l); err == nil || !strings.Contains(err.Error(), "workspace of alice") {
		t.Errorf("launch with another user id: %v", err)
	}
	if left := podman(t, "ps", "--all", "--quiet", "--filter", "name="+l.Record.Handle); left != "" {
		t.Errorf("left: %s", left)
	}
}

// A bridge whose process ends at once shows as one that does not run.
func TestPodmanBridgeQuits(t *testing.T) {
	p := open(t, func(c *containers.Config) { c.BridgeImage = quitImage })
	handle := p.launch(t, "alice", nil)
	var got []kernels.Instance
	for end := time.Now().Add(patience); time.Now().Before(end); {
		var err error
		if got, err = p.engine.List(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(got) == 1 && !got[0].BridgeRunning {
			break
		}
	}
	if len(got) != 1 || got[0].BridgeRunning || !got[0].KernelRunning || !got[0].Complete || got[0].Record.Owner != "alice" {
		t.Errorf("listed %+v", got)
	}
	if _, err := p.engine.Dial(t.Context(), handle); !errors.Is(err, kernels.ErrUnavailable) {
		t.Errorf("dial: %v", err)
	}
}

// A launch whose caller goes away leaves nothing, whenever that is.
func TestPodmanLaunchCancelled(t *testing.T) {
	p := open(t)
	for _, after := range []time.Duration{0, 5 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond, 90 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		l := p.describe("alice", nil)
		err := p.engine.Launch(ctx, l)
		cancel()
		if err == nil {
			p.remove(t, l.Record.Handle)
		}
		if left := p.leftovers(t, l.Record.Handle, l.UID); len(left) > 0 {
			t.Errorf("cancelled after %v (%v), left: %v", after, err, left)
		}
	}
}

// What a gateway that died in the middle of a launch leaves is seen and can be removed.
func TestPodmanHalfALaunch(t *testing.T) {
	p := open(t)
	handle := p.launch(t, "alice", nil)
	podman(t, "rm", "--force", "--time=0", p.container(handle, true))
	podman(t, "rm", "--force", "--time=0", p.container(handle, false))
	empty := random(16)
	if err := os.Mkdir(filepath.Join(p.cfg.RunDir, empty), 0o700); err != nil {
		t.Fatal(err)
	}
	got, err := p.engine.List(t.Context())
	if err != nil || len(got) != 2 {
		t.Fatalf("listed %+v, %v", got, err)
	}
	for _, i := range got {
		if i.Complete || i.KernelRunning || i.Record.Owner != "" {
			t.Errorf("listed %+v", i)
		}
		p.remove(t, i.Record.Handle)
		if left := p.leftovers(t, i.Record.Handle, owners["alice"]); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}

// Images say which kernelspec they provide; their other settings say nothing.
func TestPodmanSpecs(t *testing.T) {
	p := open(t, func(c *containers.Config) { c.Images = []string{"localhost/cellblock-probe:none", probeImage} })
	if p.spec.Name != "probe" || string(p.spec.Resources["logo-svg.svg"]) != "<svg/>" || p.spec.Interrupt != "signal" {
		t.Errorf("kernelspec %+v", p.spec)
	}
	if id := podman(t, "image", "inspect", "--format", "{{.Id}}", probeImage); p.spec.Image != id {
		t.Errorf("image %s, want %s", p.spec.Image, id)
	}
	handle := p.launch(t, "alice", nil)
	labels := podman(t, "inspect", "--format", "{{json .Config.Labels}}", p.container(handle, false))
	if strings.Contains(labels, "PHN2Zy8") || strings.Contains(labels, "mallory") {
		t.Errorf("the container has the image's labels: %s", labels)
	}
}

// The Python kernel opens its sockets in this sandbox, survives an interrupt and finds its place again after a death.
func TestPodmanPythonKernel(t *testing.T) {
	p := open(t, func(c *containers.Config) { c.Images = append(c.Images, pythonImage) })
	specs, err := p.engine.Specs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.spec = specs["python3"]
	begin := time.Now()
	handle := p.launch(t, "alice", nil)
	launched := time.Since(begin)
	p.waitSockets(t, handle)
	t.Logf("launched after %v, sockets open after %v", launched, time.Since(begin))
	if err := p.engine.Interrupt(t.Context(), handle); err != nil {
		t.Fatal(err)
	}
	before := p.pid(t, handle, false)
	p.kill(t, handle, false)
	begin = time.Now()
	if err := p.engine.Restart(t.Context(), handle); err != nil {
		t.Fatal(err)
	}
	restarted := time.Since(begin)
	p.waitSockets(t, handle)
	t.Logf("restarted after %v, sockets open after %v", restarted, time.Since(begin))
	if p.pid(t, handle, false) == before {
		t.Error("the same process after a death")
	}
	begin = time.Now()
	p.remove(t, handle)
	t.Logf("removed after %v", time.Since(begin))
}

// waitSockets waits until the bridge can connect to all of the kernel's sockets.
func (p *place) waitSockets(t *testing.T, handle string) {
	t.Helper()
	var dials map[string]string
	for end := time.Now().Add(2 * patience); time.Now().Before(end); {
		dials = p.dial(t, handle).Dials
		open := 0
		for _, verdict := range dials {
			if verdict == "ok" {
				open++
			}
		}
		if open == 5 {
			return
		}
	}
	t.Fatalf("sockets %v, log: %s", dials, podman(t, "logs", p.container(handle, false)))
}
