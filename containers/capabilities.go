package containers

import (
	"context"
	"os"
	"slices"
	"time"

	"github.com/containers/podman/v4/libpod/define"
	"github.com/containers/podman/v4/pkg/bindings/system"
)

// Capabilities is what the engine can do on this host, as `serve`, /healthz and `doctor` tell it.
type Capabilities struct {
	Version       string   `json:"version"`        // of Podman
	Runtime       string   `json:"runtime"`        // "crun" or "runc"
	CgroupVersion string   `json:"cgroup_version"` // "v1" or "v2"
	CPU           bool     `json:"cpu"`            // limits that can be enforced
	Memory        bool     `json:"memory"`
	PIDs          bool     `json:"pids"`
	Rootless      bool     `json:"rootless"`
	Seccomp       bool     `json:"seccomp"`
	IO            bool     `json:"io"`          // no limit of ours needs it yet
	Controllers   []string `json:"controllers"` // that Podman itself could be given
	// Root is which of the engine's ids root of a container is; 0 is the user of the engine, for want of ids to spare.
	Root int `json:"root"`
	// UIDs is how many user ids containers can have, from 0; 0 when the engine does not tell.
	UIDs     int  `json:"uids"`
	AppArmor bool `json:"apparmor"`
	SELinux  bool `json:"selinux"`
	// RuntimeVersion is what the runtime says of its version, on several lines.
	RuntimeVersion string `json:"runtime_version"`
	// Driver is the storage driver, and Native is false for one that is not in the kernel or copies whole images.
	Driver string `json:"driver"`
	Native bool   `json:"native"`
	// GraphRoot is the directory of images and of the containers' own layers.
	GraphRoot string `json:"graph_root"`
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
	return e.conn.capabilities(ctx, quickCall)
}

func (c connection) capabilities(ctx context.Context, limit time.Duration) (Capabilities, error) {
	call, cancel := c.within(ctx, limit)
	defer cancel()
	info, err := system.Info(call, nil)
	if err != nil {
		return Capabilities{}, failure(ctx, "ask Podman about the host", err)
	}
	caps := Capabilities{Version: info.Version.Version}
	if info.Store != nil {
		caps.setStore(info.Store)
	}
	if info.Host != nil {
		caps.setHost(info.Host)
	}
	return caps, nil
}

func (c *Capabilities) setHost(host *define.HostInfo) {
	c.CgroupVersion = host.CgroupsVersion
	c.Rootless = host.Security.Rootless
	c.Seccomp = host.Security.SECCOMPEnabled
	c.AppArmor = host.Security.AppArmorEnabled
	c.SELinux = host.Security.SELinuxEnabled
	c.Root = rootID(host.IDMappings)
	for _, ids := range host.IDMappings.UIDMap {
		c.UIDs = max(c.UIDs, ids.ContainerID+ids.Size)
	}
	if c.Root > 0 {
		c.UIDs = c.Root // the last one is root's
	}
	if host.OCIRuntime != nil {
		c.Runtime, c.RuntimeVersion = host.OCIRuntime.Name, host.OCIRuntime.Version
	}
	*c = c.Given(host.CgroupControllers)
	for _, path := range inits {
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
			c.Init = path
			break
		}
	}
}

func (c *Capabilities) setStore(store *define.StoreInfo) {
	c.Driver, c.GraphRoot = store.GraphDriverName, store.GraphRoot
	_, program := store.GraphOptions["overlay.mount_program"]
	c.Native = c.Driver != "vfs" && !program
}

// Given returns what the engine could limit if it were given these cgroup controllers, and no others.
func (c Capabilities) Given(controllers []string) Capabilities {
	has := func(controller string) bool {
		return (c.CgroupVersion == "v2" || !c.Rootless) && slices.Contains(controllers, controller)
	}
	c.Controllers = controllers
	c.CPU, c.Memory, c.PIDs, c.IO = has("cpu"), has("memory"), has("pids"), has("io")
	return c
}
