//go:build integration

package containers_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/user"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"cellblock.io/cellblock/containers"
)

// What Podman and its runtime made of our specs, in full: a live kernel and its bridge. Whatever changes there, by us or
// by another version of the engine, is a change of the sandbox.
func TestPodmanInspect(t *testing.T) {
	bridge := cmp.Or(os.Getenv("CELLBLOCK_BRIDGE_IMAGE"), probeImage)
	p := open(t, func(c *containers.Config) { c.Images, c.BridgeImage = []string{pythonImage}, bridge })
	handle := p.launch(t, "alice", nil)
	p.ready(t, handle)
	caps, err := p.engine.Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	limits := "limited"
	if len(caps.Missing()) > 0 {
		limits = "unlimited"
	}
	for name, isBridge := range map[string]bool{"kernel": false, "bridge": true} {
		live := p.inspect(t, handle, isBridge)
		live.forbid(t)
		golden := fmt.Sprintf("inspect-%s-%s-podman-%s.json", name, limits, caps.Version)
		goldenText(t, golden, live.normal(t, p, handle))
	}
}

// live is what there is to know of a container.
type live struct {
	Inspect map[string]any // podman inspect
	Config  map[string]any // the runtime's config.json
}

func (p *place) inspect(t *testing.T, handle string, bridge bool) live {
	t.Helper()
	var all []map[string]any
	if err := json.Unmarshal([]byte(podman(t, "inspect", p.container(handle, bridge))), &all); err != nil || len(all) != 1 {
		t.Fatalf("inspect: %d containers (%v)", len(all), err)
	}
	l := live{Inspect: all[0]}
	// It belongs to root of the container, who is somebody else.
	text := podman(t, "unshare", "cat", l.Inspect["OCIConfigPath"].(string))
	if err := json.Unmarshal([]byte(text), &l.Config); err != nil {
		t.Fatal(err)
	}
	return l
}

// at returns what lies at a path of keys, nil when there is nothing.
func at(v any, path ...string) any {
	for _, key := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[key]
	}
	return v
}

func empty(v any) bool {
	switch v := v.(type) {
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	case bool:
		return !v
	case string:
		return v == ""
	}
	return v == nil
}

// forbid fails the test for what no container of ours may have, whatever the golden files say.
func (l live) forbid(t *testing.T) {
	t.Helper()
	name := l.Inspect["Name"]
	for _, path := range []string{
		"HostConfig.Privileged", "HostConfig.Devices", "HostConfig.CapAdd", "HostConfig.GroupAdd", "HostConfig.DeviceCgroupRules",
		"HostConfig.PublishAllPorts", "HostConfig.PortBindings", "HostConfig.VolumesFrom", "HostConfig.Links", "HostConfig.AutoRemove",
		"EffectiveCaps", "BoundingCaps", "Config.Tty", "Config.OpenStdin", "Config.Healthcheck.Interval",
	} {
		if v := at(l.Inspect, strings.Split(path, ".")...); !empty(v) {
			t.Errorf("%s: %s is %v", name, path, v)
		}
	}
	for _, path := range []string{
		"process.capabilities.bounding", "process.capabilities.effective", "process.capabilities.inheritable",
		"process.capabilities.permitted", "process.capabilities.ambient", "process.terminal",
		"linux.devices", "hooks",
	} {
		if v := at(l.Config, strings.Split(path, ".")...); !empty(v) {
			t.Errorf("%s: config.json: %s is %v", name, path, v)
		}
	}
	if more, _ := at(l.Config, "process", "user", "additionalGids").([]any); len(more) > 1 || len(more) == 1 && more[0] != at(l.Config, "process", "user", "gid") {
		t.Errorf("%s: groups %v", name, more)
	}
	if at(l.Config, "process", "noNewPrivileges") != true || at(l.Config, "root", "readonly") != true {
		t.Errorf("%s: new privileges, or a root to write to", name)
	}
	// Annotations are orders to engine and runtime ("run.oci.…"), and an image may bring some. These only tell.
	annotations, _ := l.Config["annotations"].(map[string]any)
	for key := range annotations {
		if !telling.MatchString(key) {
			t.Errorf("%s: annotation %s", name, key)
		}
	}
	l.forbidNamespaces(t)
	l.forbidSources(t)
	seccomp, _ := at(l.Config, "linux", "seccomp").(map[string]any)
	if seccomp["defaultAction"] != "SCMP_ACT_ERRNO" || fmt.Sprint(seccomp["defaultErrnoRet"]) != "38" {
		t.Errorf("%s: seccomp: by default %v %v", name, seccomp["defaultAction"], seccomp["defaultErrnoRet"])
	}
}

// forbidNamespaces: each of its own, none of somebody else's.
func (l live) forbidNamespaces(t *testing.T) {
	t.Helper()
	want := []string{"cgroup", "ipc", "mount", "network", "pid", "user", "uts"}
	var have []string
	namespaces, _ := at(l.Config, "linux", "namespaces").([]any)
	for _, n := range namespaces {
		have = append(have, at(n, "type").(string))
		if path := at(n, "path"); !empty(path) {
			t.Errorf("%s: namespace %v", l.Inspect["Name"], n)
		}
	}
	if slices.Sort(have); !slices.Equal(have, want) {
		t.Errorf("%s: namespaces %v, want %v", l.Inspect["Name"], have, want)
	}
}

// forbidSources: no socket of the host comes in, and nothing of the gateway's but two directories and three files.
func (l live) forbidSources(t *testing.T) {
	t.Helper()
	options, _ := at(l.Inspect, "HostConfig", "SecurityOpt").([]any)
	for _, o := range options {
		if text := fmt.Sprint(o); strings.Contains(text, "disable") || strings.Contains(text, "unconfined") || strings.Contains(text, "unmask") {
			t.Errorf("%s: %s", l.Inspect["Name"], text)
		}
	}
	mounts, _ := at(l.Config, "mounts").([]any)
	for _, m := range mounts {
		source, _ := at(m, "source").(string)
		if info, err := os.Stat(source); err == nil && info.Mode()&os.ModeSocket != 0 || strings.HasSuffix(source, ".sock") {
			t.Errorf("%s: a socket is mounted: %v", l.Inspect["Name"], m)
		}
		for _, o := range at(m, "options").([]any) {
			if slices.Contains([]any{"U", "z", "Z", "shared", "rshared"}, o) {
				t.Errorf("%s: mount %v", l.Inspect["Name"], m)
			}
		}
	}
}

var telling = regexp.MustCompile(`^(io\.container\.manager|io\.kubernetes\.cri-o\.Created|io\.podman\.annotations\..*|org\.opencontainers\.image\..*)$`)

var (
	times   = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.0-9]*(?:Z| ?[+-]\d\d:?\d\d)(?: [A-Z]{3,4})?`)
	hexes   = regexp.MustCompile(`\b[0-9a-f]{64}\b`)
	layers  = regexp.MustCompile(`/l/[A-Z0-9]{26}`)
	cgroups = regexp.MustCompile(`"CgroupPath": "[^"]*"`)
	counts  = regexp.MustCompile(`"(Pid|ConmonPid|SizeRootFs|SizeRw)": \d+`)
	unorder = []string{"env", "Env", "mounts", "Mounts", "Binds", "maskedPaths", "rlimits", "Ulimits", "SecurityOpt", "namespaces"}
)

// normal is the text that is the same for every such container of every run. What the filter allows is in the profile.
func (l live) normal(t *testing.T, p *place, handle string) string {
	t.Helper()
	seccomp := at(l.Config, "linux", "seccomp").(map[string]any)
	seccomp["syscalls"] = fmt.Sprintf("%d rules", len(seccomp["syscalls"].([]any)))
	sortLists("", l.Inspect)
	sortLists("", l.Config)
	text, err := json.MarshalIndent(map[string]any{"inspect": l.Inspect, "config": l.Config}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	uid, id := owners["alice"], l.Inspect["Id"].(string)
	out := strings.NewReplacer(
		p.cfg.RunDir, "RUN", root, "ROOT", id, "CONTAINER", id[:12], "CONTAINER", handle, "HANDLE", p.cfg.Instance, "INSTANCE",
		at(l.Inspect, "Image").(string), "IMAGE", os.Getenv("XDG_RUNTIME_DIR"), "XDG", me.HomeDir, "STATE",
		strconv.Itoa(uid+1), "UID+1", strconv.Itoa(uid), "UID",
	).Replace(string(text))
	out = regexp.MustCompile(`00000000-0000-0000-0000-\d{12}`).ReplaceAllString(out, "KERNEL")
	out = times.ReplaceAllString(out, "TIME")
	out = hexes.ReplaceAllString(out, "HEX")
	out = layers.ReplaceAllString(out, "/l/LAYER")
	out = cgroups.ReplaceAllString(out, `"CgroupPath": "CGROUP"`)
	return counts.ReplaceAllString(out, `"$1": 0`) + "\n"
}

// sortLists puts lists without an order in one.
func sortLists(key string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			sortLists(k, inner)
		}
	case []any:
		for _, inner := range v {
			sortLists(key, inner)
		}
		if slices.Contains(unorder, key) {
			slices.SortFunc(v, func(a, b any) int { return strings.Compare(line(a), line(b)) })
		}
	}
}

// line is what a list is sorted by: a mount's destination, else all of an entry.
func line(v any) string {
	for _, key := range []string{"destination", "Destination"} {
		if d, ok := at(v, key).(string); ok {
			return d
		}
	}
	text, _ := json.Marshal(v)
	return string(text)
}
