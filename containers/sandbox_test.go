//go:build integration

package containers_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

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
	if r.Hostname != "kernel" || r.Dir != "/home/jovyan" || !slices.Equal(r.Interfaces, []string{"lo"}) {
		t.Errorf("host %s, directory %s, interfaces %v", r.Hostname, r.Dir, r.Interfaces)
	}
	if r.Init != "podman-init" || r.PID == 1 {
		t.Errorf("process 1 is %s, the kernel is process %d", r.Init, r.PID)
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
	for _, file := range []string{"/etc/resolv.conf", "/proc/cmdline", "/proc/loadavg", "/proc/kallsyms", "/proc/diskstats", "/proc/vmstat", "/proc/locks", "/proc/swaps"} {
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
	// Root in here is nobody out there, least of all the gateway's user; everybody else is who they are elsewhere.
	for _, file := range []string{"/proc/self/uid_map", "/proc/self/gid_map"} {
		if got := strings.Fields(r.Files[file]); !slices.Equal(got, []string{"0", "4194304", "1", "1", "1", "4194303"}) {
			t.Errorf("%s says %q", file, r.Files[file])
		}
	}
	checkMounts(t, r)
	checkCgroup(t, p, r)
}

// checkMounts looks at the flags of everything that can be written to, and for mounts that nobody asked for.
func checkMounts(t *testing.T, r report) {
	t.Helper()
	for point, flags := range map[string][]string{
		"/":        {"ro", "overlay"},
		"/tmp":     {"rw", "nosuid", "nodev", "tmpfs", "size=131072k", "nr_inodes=32768"},
		"/dev/shm": {"rw", "nosuid", "nodev", "noexec", "tmpfs", "size=65536k", "nr_inodes=4096"},
		// crun leaves nosuid and nodev out of what is mounted writable into a user namespace of its own. No new privileges
		// and no capability to make devices stand in their place.
		"/home/jovyan":        {"rw"},
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
	writable := []string{"/run/cellblock/sock", "/run/cellblock/gate"}
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
