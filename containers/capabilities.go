package containers

import (
	"context"
	"os"
	"slices"

	"github.com/containers/podman/v4/pkg/bindings/system"
)

// Capabilities is what the engine can do on this host, as `serve`, /healthz and `doctor` tell it.
type Capabilities struct {
	Version        string `json:"version"`         // of Podman
	Runtime        string `json:"runtime"`         // "crun" or "runc"
	RuntimeVersion string `json:"runtime_version"` // as 1.8.1; empty when it could not be read
	CgroupVersion  string `json:"cgroup_version"`  // "v1" or "v2"
	CPU            bool   `json:"cpu"`             // limits that can be enforced
	Memory         bool   `json:"memory"`
	PIDs           bool   `json:"pids"`
	Rootless       bool   `json:"rootless"`
	Seccomp        bool   `json:"seccomp"`
	// Root is which of the engine's ids root of a container is; 0 is the user of the engine, for want of ids to spare.
	Root int `json:"root"`
	// Init is the path of catatonit on this host, which becomes process 1 of kernels; empty when it is not installed.
	Init string `json:"init"`
}

// Missing names the cgroup controllers that limits need and this host does not give: none, or some of "cpu", "memory"
// and "pids".
func (c Capabilities) Missing() []string {
	var missing []string
	for _, controller := range []struct {
		name  string
		there bool
	}{{"cpu", c.CPU}, {"memory", c.Memory}, {"pids", c.PIDs}} {
		if !controller.there {
			missing = append(missing, controller.name)
		}
	}
	return missing
}

// inits are the places where distributions put catatonit.
var inits = []string{
	"/usr/libexec/podman/catatonit",
	"/usr/local/libexec/podman/catatonit",
	"/usr/lib/podman/catatonit",
	"/usr/local/lib/podman/catatonit",
	"/usr/bin/catatonit",
}

// Capabilities asks the engine anew. Rootless Podman can limit what a delegated cgroup v2 controller limits; on cgroup v1 it
// ignores limits, however many controllers it reports.
func (e *Engine) Capabilities(ctx context.Context) (Capabilities, error) {
	call, cancel := e.conn.within(ctx, quickCall)
	defer cancel()
	info, err := system.Info(call, nil)
	if err != nil {
		return Capabilities{}, failure(ctx, "ask Podman about the host", err)
	}
	if info.Host == nil {
		return Capabilities{Version: info.Version.Version}, nil
	}
	host := info.Host
	caps := Capabilities{
		Version:       info.Version.Version,
		CgroupVersion: host.CgroupsVersion,
		Rootless:      host.Security.Rootless,
		Seccomp:       host.Security.SECCOMPEnabled,
		Root:          rootID(host.IDMappings),
	}
	if host.OCIRuntime != nil {
		caps.Runtime, caps.RuntimeVersion = host.OCIRuntime.Name, runtimeVersion(host.OCIRuntime.Version)
	}
	has := func(controller string) bool {
		return (caps.CgroupVersion == "v2" || !caps.Rootless) && slices.Contains(host.CgroupControllers, controller)
	}
	caps.CPU, caps.Memory, caps.PIDs = has("cpu"), has("memory"), has("pids")
	for _, path := range inits {
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
			caps.Init = path
			break
		}
	}
	return caps, nil
}
