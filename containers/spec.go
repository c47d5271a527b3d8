package containers

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strconv"

	"github.com/containers/image/v5/manifest"
	"github.com/containers/podman/v4/pkg/specgen"
	oci "github.com/opencontainers/runtime-spec/specs-go"

	"cellblock.io/cellblock/kernels"
)

// Places inside containers. The connection file names the sockets by socketPrefix.
const (
	confDir        = "/run/cellblock/conf"
	sockDir        = "/run/cellblock/sock"
	gateDir        = "/run/cellblock/gate"
	connectionFile = "connection.json"
	bridgeSocket   = "bridge.sock"
	socketPrefix   = sockDir + "/k"
	homeDir        = "/home/jovyan"
	userName       = "jovyan" // every tenant's, as in other Jupyter images
)

// Bounds of containers, beside those of a kernel that the configuration gives.
const (
	bridgeMemory  = 256 << 20
	bridgeHeap    = "200MiB" // GOMEMLIMIT: below bridgeMemory by what is not heap
	bridgePIDs    = 64
	maxLog        = 1 << 20
	cpuPeriod     = 100_000 // microseconds
	oomScore      = 500
	maxFiles      = 4096
	maxSignals    = 1024
	maxMemlock    = 64 << 10
	softStack     = 8 << 20
	maxStack      = 64 << 20
	processFactor = 4
)

// masked are the paths that tell about the machine or its other users, beyond those that Podman masks itself.
var masked = []string{
	"/proc/buddyinfo", "/proc/cmdline", "/proc/config.gz", "/proc/consoles", "/proc/devices", "/proc/diskstats", "/proc/driver",
	"/proc/dynamic_debug", "/proc/interrupts", "/proc/iomem", "/proc/ioports", "/proc/kallsyms", "/proc/key-users",
	"/proc/loadavg", "/proc/locks", "/proc/mdstat", "/proc/modules", "/proc/pagetypeinfo", "/proc/partitions", "/proc/pressure",
	"/proc/schedstat", "/proc/softirqs", "/proc/swaps", "/proc/vmallocinfo", "/proc/vmstat", "/proc/zoneinfo",
	"/sys/block", "/sys/bus", "/sys/class/dmi", "/sys/devices/virtual/dmi", "/sys/devices/virtual/powercap",
	"/sys/devices/virtual/thermal", "/sys/fs/btrfs", "/sys/fs/ext4", "/sys/fs/xfs", "/sys/hypervisor", "/sys/kernel",
	"/sys/module", "/sys/power",
}

// builder makes the two specs of a kernel from values alone.
type builder struct {
	cfg  Config
	caps Capabilities
}

// kernel returns the spec of the container in which a tenant's code runs. It starts the image's own entrypoint, which
// reads the connection file.
func (b builder) kernel(l kernels.Launch) (*specgen.SpecGenerator, error) {
	env, err := kernelEnv(l)
	if err != nil {
		return nil, err
	}
	s := b.sandbox(roleKernel, l)
	s.Image = l.Spec.Image
	s.User = fmt.Sprintf("%d:%d", l.UID, l.UID)
	s.Umask = "0007" // the bridge, of the same group, may connect
	s.PasswdEntry = fmt.Sprintf("%s:*:%d:%d::%s:/bin/sh", userName, l.UID, l.UID, homeDir)
	s.Hostname = "kernel"
	s.Env = env
	s.WorkDir = homeDir
	s.Init = b.caps.Init != ""
	s.InitPath = b.caps.Init
	s.Volumes = append(s.Volumes, b.memory(tmp, l), b.memory(shm, l), &specgen.NamedVolume{
		Name: b.cfg.workspaceName(l.Record.Owner), Dest: homeDir, Options: []string{"rw", "nosuid", "nodev", "exec", "nocopy"},
	})
	b.limit(s, b.cfg.Limits)
	// Podman copies an image's labels to its containers and each of their events. The kernelspec is in our hands already.
	s.Labels[labelKernelspec] = ""
	for file := range l.Spec.Resources {
		s.Labels[labelResource+file] = ""
	}
	return s, nil
}

// bridge returns the spec of the container with our own program. Its user id is not the kernel's: neither can signal or
// trace the other. Its group is the kernel's: it may connect to the kernel's sockets.
func (b builder) bridge(l kernels.Launch) *specgen.SpecGenerator {
	s := b.sandbox(roleBridge, l)
	s.Image = b.cfg.BridgeImage
	s.User = fmt.Sprintf("%d:%d", l.UID+1, l.UID)
	s.Umask = "0000" // the gateway, another user, may connect; the directory above is closed to everybody else
	s.Hostname = "bridge"
	// The second keeps Podman's packages, which are in the same program, from looking for a user's directories: their
	// initialisation ends the process when it can make none.
	s.Env = map[string]string{"GOMEMLIMIT": bridgeHeap, "_CONTAINERS_ROOTLESS_UID": "0"}
	s.WorkDir = "/"
	s.Entrypoint = []string{"/cellblock", "bridge"}
	s.Command = append([]string{
		"--connection-file", confDir + "/" + connectionFile,
		"--listen", "unix:" + gateDir + "/" + bridgeSocket,
		"--kernel-id", l.Record.ID,
	}, b.cfg.BridgeArgs...)
	s.Mounts = append(s.Mounts, bind(runDir(b.cfg.RunDir, l.Record.Handle).gate(), gateDir, "rw"))
	b.limit(s, Limits{CPUs: 1, Memory: bridgeMemory, PIDs: bridgePIDs})
	return s
}

// sandbox returns what both containers have in common: nothing that is not named here or by the caller.
func (b builder) sandbox(r role, l kernels.Launch) *specgen.SpecGenerator {
	private := specgen.Namespace{NSMode: specgen.Private}
	dir := runDir(b.cfg.RunDir, l.Record.Handle)
	s := new(specgen.SpecGenerator)
	s.Name = b.cfg.name(r, l.Record.Handle)
	s.Labels = b.cfg.labels(r, l)
	s.UnsetEnvAll = true
	s.Systemd = "false"
	s.SdNotifyMode = "ignore"
	s.RestartPolicy = "no"
	s.StopTimeout = new(uint(0))
	s.HealthConfig = &manifest.Schema2HealthConfig{Test: []string{"NONE"}}
	// A file of 1 MiB rather than none: what a process says that dies before it has sockets is said nowhere else.
	s.LogConfiguration = &specgen.LogConfig{Driver: "k8s-file", Size: maxLog}

	s.PidNS, s.UtsNS, s.CgroupNS = private, private, private
	s.IpcNS = specgen.Namespace{NSMode: specgen.None} // a private one, too; without Podman's /dev/shm, which has no limit of inodes
	if b.caps.Root > 0 {
		ownUsers(s, b.caps.Root)
	} else {
		s.UserNS = specgen.Namespace{NSMode: specgen.Host} // that of the rootless engine, not the machine's
	}
	s.NetNS = specgen.Namespace{NSMode: specgen.NoNetwork}
	s.UseImageHosts = true // do not write one with the host's entries

	s.CapDrop = []string{"all"}
	s.NoNewPrivileges = true
	s.ReadOnlyFilesystem = true // and no memory file systems on /run and /var/tmp: read_write_tmpfs stays unset
	s.SeccompProfilePath = b.cfg.seccompPath(r)
	s.Mask = masked
	s.OOMScoreAdj = new(oomScore)

	s.ImageVolumeMode = "ignore"
	s.Mounts = []oci.Mount{
		bind(dir.conf(), confDir, "ro"),
		bind(dir.file("resolv.conf"), "/etc/resolv.conf", "ro"),
		bind(dir.file("hosts"), "/etc/hosts", "ro"),
	}
	s.Volumes = []*specgen.NamedVolume{b.memory(sockets, l)}
	s.Rlimits = []oci.POSIXRlimit{
		rlimit("core", 0), rlimit("nofile", maxFiles), rlimit("memlock", maxMemlock), rlimit("msgqueue", 0),
		rlimit("sigpending", maxSignals), rlimit("rtprio", 0), rlimit("nice", 0),
		{Type: "stack", Soft: softStack, Hard: maxStack},
		// The system counts these over all containers of one user id. It is a backstop where pids cannot be limited.
		rlimit("nproc", uint64(b.cfg.Limits.PIDs)*processFactor),
	}
	return s
}

// memory is one of the kernel's memory file systems.
func (b builder) memory(m memory, l kernels.Launch) *specgen.NamedVolume {
	return &specgen.NamedVolume{Name: b.cfg.name(m.role, l.Record.Handle), Dest: m.place, Options: m.flags}
}

func rlimit(kind string, n uint64) oci.POSIXRlimit {
	return oci.POSIXRlimit{Type: kind, Soft: n, Hard: n}
}

func bind(source, destination, mode string) oci.Mount {
	return oci.Mount{
		Type: "bind", Source: source, Destination: destination,
		Options: []string{mode, "nosuid", "nodev", "noexec", "rprivate", "bind"},
	}
}

// limit adds those limits that the host can enforce: a runtime refuses to start a container with any other.
func (b builder) limit(s *specgen.SpecGenerator, l Limits) {
	resources := new(oci.LinuxResources)
	if b.caps.CPU {
		quota := int64(math.Round(l.CPUs * cpuPeriod))
		resources.CPU = &oci.LinuxCPU{Period: new(uint64(cpuPeriod)), Quota: &quota}
	}
	if b.caps.Memory {
		resources.Memory = &oci.LinuxMemory{Limit: &l.Memory, Swap: &l.Memory}
		if b.caps.CgroupVersion == "v2" {
			// All of a container dies or none of it: half a kernel is worse than a dead one.
			s.CgroupConf = map[string]string{"memory.oom.group": "1"}
		}
	}
	if b.caps.PIDs {
		resources.Pids = &oci.LinuxPids{Limit: l.PIDs}
	}
	if len(b.caps.Missing()) < 3 {
		s.ResourceLimits = resources
	}
}

// kernelEnv returns the whole environment of a kernel: ours, then what kernel.json asks for, then what the client may set.
// Nothing of the image's or the gateway's is in it.
func kernelEnv(l kernels.Launch) (map[string]string, error) {
	env := map[string]string{
		"HOME":             homeDir,
		"USER":             userName,
		"PATH":             "/usr/local/bin:/usr/bin:/bin",
		"LANG":             "C.UTF-8",
		"PYTHONUNBUFFERED": "1",
		"MPLCONFIGDIR":     "/tmp/mpl",
	}
	var spec struct {
		Env map[string]string `json:"env"`
	}
	if len(l.Spec.JSON) > 0 {
		if err := json.Unmarshal(l.Spec.JSON, &spec); err != nil {
			return nil, fmt.Errorf("environment of kernelspec %s: %w", strconv.Quote(l.Spec.Name), err)
		}
	}
	maps.Copy(env, spec.Env)
	maps.Copy(env, l.Env)
	return env, checkEnv(env)
}
