//go:build integration

package containers_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
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

// A user id goes to nobody else while the workspace of its owner is there, and the workspaces tell whose it is.
func TestPodmanUserIDs(t *testing.T) {
	p := open(t)
	p.remove(t, p.launch(t, "alice", nil))
	l := p.describe("bob@example.org", nil)
	l.UID = owners["alice"]
	if err := p.engine.Launch(t.Context(), l); err == nil || !strings.Contains(err.Error(), "workspace of alice already") {
		t.Errorf("launch under the id of another: %v", err)
	}
	if left := p.remains(t, l.Record.Handle, l.UID); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	ids, err := p.engine.UserIDs(t.Context())
	if err != nil || len(ids) != 1 || ids["alice"] != owners["alice"] {
		t.Errorf("user ids %v (%v)", ids, err)
	}
}

// The copies of images are made without a kernel, and nothing but them stays.
func TestPodmanCopyImages(t *testing.T) {
	p := open(t)
	for range 2 { // also when they are there already
		if err := p.engine.CopyImages(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if left := podman(t, "ps", "--all", "--quiet", "--filter", "name="+p.cfg.Instance); left != "" {
		t.Errorf("left: %s", left)
	}
	var images []struct {
		ID     string   `json:"id"`
		Copies []string `json:"mapped-layers"`
	}
	store := podman(t, "info", "--format", "{{.Store.GraphRoot}}")
	if err := json.Unmarshal([]byte(podman(t, "unshare", "cat", store+"/overlay-images/images.json")), &images); err != nil {
		t.Fatal(err)
	}
	copies := 0
	for _, image := range images {
		if image.ID == p.spec.Image {
			copies = len(image.Copies)
		}
	}
	if copies != 1 {
		t.Errorf("%d copies of the image", copies)
	}
}

// A workspace from before containers had user namespaces of their own goes on to be used.
func TestPodmanOldWorkspace(t *testing.T) {
	p := open(t)
	name, uid := containers.WorkspaceName(p.cfg, "alice"), strconv.Itoa(owners["alice"])
	podman(t, "volume", "create", "--opt", "o=uid="+uid+",gid="+uid, "--label", "io.cellblock.instance="+p.cfg.Instance,
		"--label", "io.cellblock.role=workspace", "--label", "io.cellblock.owner=alice", "--label", "io.cellblock.uid="+uid, name)
	podman(t, "run", "--rm", "--network=none", "--user="+uid+":"+uid, "--volume="+name+":/home/jovyan", pythonImage,
		"sh", "-c", "umask 077; echo of before >/home/jovyan/note")
	handle := p.launch(t, "alice", map[string]string{"NOTE": "of now"})
	if r := p.reports(t, handle, 1)[0]; r.Note != "of before\n" {
		t.Errorf("the kernel finds %q", r.Note)
	}
	place := podman(t, "volume", "inspect", "--format", "{{.Mountpoint}}", name)
	if got := podman(t, "unshare", "stat", "--format", "%u %g %a", place+"/note"); got != uid+" "+uid+" 600" {
		t.Errorf("the file that it wrote again belongs to %s", got)
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
