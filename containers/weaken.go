package containers

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/containers/podman/v4/pkg/specgen"
	oci "github.com/opencontainers/runtime-spec/specs-go"
)

// Control is one of the things that keep a kernel in its container.
type Control struct {
	Name string
	What string // what it does, for people
	// remove takes it away from a finished spec, and nothing else.
	remove func(*specgen.SpecGenerator, Trial, Config)
}

// Controls lists all of them. What is missing here is not tested by `cellblock prove`.
func Controls() []Control { return slices.Clone(controls) }

// unconfined is Podman's word for no profile.
const unconfined = "unconfined"

var (
	onHost  = specgen.Namespace{NSMode: specgen.Host}
	noBound = []string{"rw", "nosuid", "nodev", "exec", "mode=1777", "notmpcopyup"}
)

var controls = []Control{
	{"seccomp", "the system call filter", func(s *specgen.SpecGenerator, _ Trial, _ Config) { s.SeccompProfilePath = unconfined }},
	{"capabilities", "no capabilities", func(s *specgen.SpecGenerator, _ Trial, _ Config) { s.CapDrop, s.CapAdd = nil, []string{"all"} }},
	// The engine must load the filter before it gives its own privileges up, and then does what the filter forbids.
	{"no-new-privileges", "programs that are run gain nothing (without it the engine cannot load the filter either)", func(s *specgen.SpecGenerator, _ Trial, _ Config) {
		s.NoNewPrivileges, s.SeccompProfilePath = false, unconfined
	}},
	{"read-only", "a read-only root file system", func(s *specgen.SpecGenerator, _ Trial, _ Config) { s.ReadOnlyFilesystem = false }},
	{"masks", "empty files over what tells about the machine", func(s *specgen.SpecGenerator, _ Trial, _ Config) { s.Mask, s.Unmask = nil, []string{"ALL"} }},
	{"mounts", "nothing of the machine is mounted", func(s *specgen.SpecGenerator, t Trial, _ Config) {
		if t.Exposed != "" {
			s.Mounts = append(s.Mounts, bind(t.Exposed, t.Exposed, "rw"))
		}
	}},
	{"names", "name service files of its own", func(s *specgen.SpecGenerator, _ Trial, _ Config) {
		s.Mounts = slices.DeleteFunc(s.Mounts, func(m oci.Mount) bool { return m.Destination == "/etc/resolv.conf" || m.Destination == "/etc/hosts" })
		s.UseImageHosts = false
	}},
	{"network", "a network name space with nothing in it", func(s *specgen.SpecGenerator, _ Trial, _ Config) { s.NetNS = onHost }},
	{"pid-namespace", "a process name space", func(s *specgen.SpecGenerator, _ Trial, _ Config) { setPIDs(s, onHost) }},
	{"ipc-namespace", "a name space for the System V means of communication", func(s *specgen.SpecGenerator, t Trial, c Config) { s.IpcNS = joined(t, c) }},
	{"uts-namespace", "a host name of its own", func(s *specgen.SpecGenerator, _ Trial, _ Config) { s.UtsNS, s.Hostname = onHost, "" }},
	{"cgroup-namespace", "a name space for control groups", func(s *specgen.SpecGenerator, _ Trial, _ Config) { s.CgroupNS = onHost }},
	{"user", "a user who is not root, not even within", func(s *specgen.SpecGenerator, _ Trial, _ Config) { s.User, s.PasswdEntry = "0:0", "" }},
	{"user-namespace", "a name space in which root is nobody outside", func(s *specgen.SpecGenerator, _ Trial, _ Config) {
		s.UserNS, s.IDMappings = onHost, nil
	}},
	{"own-user", "another user for each tenant", func(s *specgen.SpecGenerator, t Trial, _ Config) {
		s.User, s.PasswdEntry = fmt.Sprintf("%d:%[1]d", t.Stranger.UID), ""
	}},
	{"own-network", "another network name space for each kernel", func(s *specgen.SpecGenerator, t Trial, c Config) { s.NetNS = joined(t, c) }},
	{"own-processes", "another process name space for each kernel", func(s *specgen.SpecGenerator, t Trial, c Config) { setPIDs(s, joined(t, c)) }},
	{"own-memory", "shared memory of its own for each kernel", func(s *specgen.SpecGenerator, t Trial, c Config) {
		for _, v := range s.Volumes {
			if v.Dest == shm.place {
				v.Name = c.name(roleShm, t.Stranger.Handle)
			}
		}
	}},
	{"own-workspace", "another workspace for each tenant", func(s *specgen.SpecGenerator, t Trial, c Config) {
		for _, v := range s.Volumes {
			if v.Dest == homeDir {
				v.Name = c.workspaceName(t.Stranger.Owner)
			}
		}
	}},
	{"environment", "an environment of its own", func(s *specgen.SpecGenerator, _ Trial, _ Config) { s.EnvHost, s.UnsetEnvAll = true, false }},
	{"init", "a process 1 that cleans up after others", func(s *specgen.SpecGenerator, _ Trial, _ Config) { s.Init, s.InitPath = false, "" }},
	{"ulimits", "limits of each process", func(s *specgen.SpecGenerator, _ Trial, _ Config) { s.Rlimits = nil }},
	{"devices", "no devices of the machine", func(s *specgen.SpecGenerator, _ Trial, _ Config) {
		s.Mounts = append(s.Mounts, oci.Mount{Type: "bind", Source: "/dev", Destination: "/dev/machine", Options: []string{"rbind", "ro", "rprivate"}})
	}},
	{"tmp-size", "how much and how many files /tmp holds", func(s *specgen.SpecGenerator, _ Trial, _ Config) { unbound(s, tmp.place) }},
	{"shm-size", "how much and how many files /dev/shm holds", func(s *specgen.SpecGenerator, _ Trial, _ Config) { unbound(s, shm.place) }},
	{"socket-options", "how much the directory of sockets holds, and that nothing runs from it", func(s *specgen.SpecGenerator, _ Trial, _ Config) { unbound(s, sockets.place) }},
	{"memory", "the memory limit", func(s *specgen.SpecGenerator, _ Trial, _ Config) {
		s.ResourceLimits = without(s, func(r *oci.LinuxResources) { r.Memory = nil })
	}},
	{"cpu", "the limit of processor time", func(s *specgen.SpecGenerator, _ Trial, _ Config) {
		s.ResourceLimits = without(s, func(r *oci.LinuxResources) { r.CPU = nil })
	}},
	{"pids", "the limit of processes", func(s *specgen.SpecGenerator, _ Trial, _ Config) {
		s.ResourceLimits = without(s, func(r *oci.LinuxResources) { r.Pids = nil })
	}},
}

// weaken takes the named controls away from a finished spec.
func weaken(s *specgen.SpecGenerator, t Trial, c Config) error {
	for _, name := range t.Without {
		i := slices.IndexFunc(controls, func(c Control) bool { return c.Name == name })
		if i < 0 {
			return fmt.Errorf("there is no control %q", name)
		}
		controls[i].remove(s, t, c)
	}
	return nil
}

// joined is the name space of another tenant's container.
func joined(t Trial, c Config) specgen.Namespace {
	return specgen.Namespace{NSMode: specgen.FromContainer, Value: c.name(roleKernel, t.Stranger.Handle)}
}

// setPIDs gives a container processes to see. Podman's init can only be process 1 of a name space of its own.
func setPIDs(s *specgen.SpecGenerator, n specgen.Namespace) {
	s.PidNS, s.Init, s.InitPath = n, false, ""
}

// unbound puts a memory file system without a size in the place of whatever is mounted at a path.
func unbound(s *specgen.SpecGenerator, path string) {
	s.Mounts = slices.DeleteFunc(s.Mounts, func(m oci.Mount) bool { return m.Destination == path })
	s.Volumes = slices.DeleteFunc(s.Volumes, func(v *specgen.NamedVolume) bool { return v.Dest == path })
	s.Mounts = append(s.Mounts, oci.Mount{Type: "tmpfs", Source: "tmpfs", Destination: path, Options: noBound})
}

// without returns a copy of the limits less one. Another container may have the original.
func without(s *specgen.SpecGenerator, remove func(*oci.LinuxResources)) *oci.LinuxResources {
	if s.ResourceLimits == nil {
		return nil
	}
	limits := *s.ResourceLimits
	remove(&limits)
	return &limits
}

// keepsENOSYS are refusals upon which the C library falls back to another call; with any other error no thread starts.
var keepsENOSYS = []string{"clone3"}

// provingProfile returns a seccomp profile that refuses exactly what the given one refuses, with errno in the place of
// each error: with one that no system call returns, "the filter said no" cannot be mistaken for anything else.
func provingProfile(profile []byte, errno uint) ([]byte, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(profile, &all); err != nil {
		return nil, fmt.Errorf("read the seccomp profile: %w", err)
	}
	var rules []map[string]json.RawMessage
	if err := json.Unmarshal(all["syscalls"], &rules); err != nil {
		return nil, fmt.Errorf("read the seccomp profile's rules: %w", err)
	}
	number := json.RawMessage(fmt.Sprint(errno))
	kept := false
	for _, rule := range rules {
		var names []string
		if err := json.Unmarshal(rule["names"], &names); err != nil {
			return nil, fmt.Errorf("read the names of a seccomp rule: %w", err)
		}
		if string(rule["action"]) != `"SCMP_ACT_ERRNO"` {
			continue
		}
		if slices.ContainsFunc(names, func(n string) bool { return slices.Contains(keepsENOSYS, n) }) {
			kept = true
			continue
		}
		delete(rule, "errno")
		rule["errnoRet"] = number
	}
	if !kept {
		text, err := json.Marshal(map[string]any{"names": keepsENOSYS, "action": "SCMP_ACT_ERRNO", "errnoRet": 38})
		if err != nil {
			return nil, err
		}
		var rule map[string]json.RawMessage
		if err := json.Unmarshal(text, &rule); err != nil {
			return nil, err
		}
		rules = append(rules, rule)
	}
	delete(all, "defaultErrno")
	all["defaultErrnoRet"] = number
	var err error
	if all["syscalls"], err = json.Marshal(rules); err != nil {
		return nil, err
	}
	return json.Marshal(all)
}
