//go:build integration

package containers_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cellblock.io/cellblock/containers"
	"cellblock.io/cellblock/kernels"
)

// These tests run as the user of a test instance, where Podman works without root: see integration.sh. What the probe
// sees in the place of a kernel and of a bridge is in its reports (testdata/probe).
const (
	probeImage  = "localhost/cellblock-probe:latest"
	pythonImage = "localhost/cellblock/kernel-python:latest" // of the instance
	quitImage   = "localhost/cellblock-probe-quit:latest"    // its program ends at once
	patience    = 10 * time.Second
)

const containerfile = `FROM scratch
COPY probe /usr/local/bin/kernel
COPY probe /cellblock
COPY home /home
LABEL io.cellblock.kernelspec.name="probe"
LABEL io.cellblock.kernelspec="{\"argv\":[\"kernel\"],\"display_name\":\"Probe\",\"language\":\"none\",\"env\":{\"OF_SPEC\":\"1\"}}"
LABEL io.cellblock.kernelspec.resource.logo-svg.svg="PHN2Zy8+"
LABEL io.cellblock.owner="mallory"
ENV OF_IMAGE=1 LD_PRELOAD=/nothing.so
VOLUME /data
USER 7:7
HEALTHCHECK CMD ["/usr/local/bin/kernel"]
ENTRYPOINT ["/usr/local/bin/kernel"]
`

// root is the directory of this run, with the socket of its own Podman service.
var root string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	var err error
	if root, err = os.MkdirTemp(os.Getenv("XDG_RUNTIME_DIR"), "it-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(root)
	service := exec.Command("podman", "system", "service", "--time=0", "unix://"+socket())
	service.Stderr = os.Stderr
	// What a careless administrator's service has around it is no business of containers.
	service.Env = append(os.Environ(), "HTTPS_PROXY=http://user:secret@proxy.example:3128", "NO_PROXY=x", "NOTIFY_SOCKET=/run/notify")
	if err := service.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { service.Process.Signal(syscall.SIGTERM); service.Wait() }()
	if err := buildImages(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer exec.Command("podman", "rmi", "--force", probeImage, quitImage).Run()
	return m.Run()
}

func socket() string { return filepath.Join(root, "podman.sock") }

// buildImages makes the probe's images from the program named by CELLBLOCK_PROBE.
func buildImages() error {
	program, err := os.ReadFile(os.Getenv("CELLBLOCK_PROBE"))
	if err != nil {
		return fmt.Errorf("the probe (see integration.sh): %w", err)
	}
	dir := filepath.Join(root, "build")
	// The image has a home of its own, with other rights than the workspace must have.
	if err := os.MkdirAll(filepath.Join(dir, "home", "jovyan"), 0o755); err != nil {
		return err
	}
	for name, content := range map[string]string{
		"probe": string(program), "quit": "", "home/jovyan/of-image": "",
		"Containerfile": containerfile, "Containerfile.quit": containerfile + "COPY quit /quit\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755); err != nil {
			return err
		}
	}
	for tag, file := range map[string]string{probeImage: "Containerfile", quitImage: "Containerfile.quit"} {
		out, err := exec.Command("podman", "build", "--quiet", "--pull=never", "-t", tag, "-f", filepath.Join(dir, file), dir).CombinedOutput()
		if err != nil {
			return fmt.Errorf("build %s: %w: %s", tag, err, out)
		}
	}
	return nil
}

// place is one instance: an engine, and what the tests know of it beside the engine.
type place struct {
	cfg    containers.Config
	engine *containers.Engine
	spec   kernels.Spec
}

// open returns an instance of its own, which goes with the test.
func open(t *testing.T, change ...func(*containers.Config)) *place {
	t.Helper()
	instance := "it-" + random(4)
	cfg := containers.Config{
		Socket:      socket(),
		RunDir:      filepath.Join(root, instance),
		Instance:    instance,
		BridgeImage: probeImage,
		Images:      []string{probeImage},
	}
	for _, c := range change {
		c(&cfg)
	}
	p := &place{cfg: cfg, engine: connect(t, cfg)}
	t.Cleanup(func() {
		if left := podman(t, "ps", "--all", "--quiet", "--filter", "label=io.cellblock.instance="+instance); left != "" {
			t.Errorf("containers left: %s", left)
			podman(t, append([]string{"rm", "--force", "--time=0"}, strings.Fields(left)...)...)
		}
		if volumes := podman(t, "volume", "ls", "--quiet", "--filter", "label=io.cellblock.instance="+instance); volumes != "" {
			podman(t, append([]string{"volume", "rm"}, strings.Fields(volumes)...)...)
		}
	})
	specs, err := p.engine.Specs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range specs { // there is one
		p.spec = spec
	}
	return p
}

// connect waits for the engine's first answer.
func connect(t *testing.T, cfg containers.Config) *containers.Engine {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		e, err := containers.Connect(t.Context(), cfg)
		if err == nil {
			t.Cleanup(e.Close)
			return e
		}
		if !errors.Is(err, kernels.ErrUnavailable) || time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func random(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// owners have the same user ids in all tests of a run, and no others that may run beside it.
var owners = func() map[kernels.Owner]int {
	n, _ := rand.Int(rand.Reader, big.NewInt(500_000))
	uid := 1_000_000 + 4*int(n.Int64())
	return map[kernels.Owner]int{"alice": uid, "bob@example.org": uid + 2}
}()

var made atomic.Int64

// describe returns a kernel that can be launched.
func (p *place) describe(owner kernels.Owner, env map[string]string) kernels.Launch {
	n := made.Add(1)
	return kernels.Launch{
		UID: owners[owner], Spec: p.spec, Env: env,
		Record: kernels.Record{
			ID: fmt.Sprintf("00000000-0000-0000-0000-%012d", n), Owner: owner, Handle: random(16), Spec: "probe",
			Created: time.Now().UTC(),
		},
	}
}

// launch starts a kernel that goes with the test and returns its handle.
func (p *place) launch(t *testing.T, owner kernels.Owner, env map[string]string) string {
	t.Helper()
	l := p.describe(owner, env)
	t.Cleanup(func() { p.remove(t, l.Record.Handle) })
	if err := p.engine.Launch(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	return l.Record.Handle
}

func (p *place) remove(t *testing.T, handle string) {
	t.Helper()
	if err := p.engine.Remove(context.Background(), handle); err != nil {
		t.Error(err)
	}
}

func (p *place) container(handle string, bridge bool) string {
	if bridge {
		return p.cfg.Instance + "-bridge-" + handle
	}
	return p.cfg.Instance + "-kernel-" + handle
}

// pid is the process that a kill -9 would mean: the bridge, or the kernel below its init.
func (p *place) pid(t *testing.T, handle string, bridge bool) int {
	t.Helper()
	pid := number(t, podman(t, "inspect", "--format", "{{.State.Pid}}", p.container(handle, bridge)))
	if bridge {
		return pid
	}
	for end := time.Now().Add(patience); time.Now().Before(end); {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
		if err != nil {
			t.Fatal(err)
		}
		if first, _, ok := strings.Cut(string(children), " "); ok {
			return number(t, first)
		}
	}
	t.Fatalf("init %d starts no kernel", pid)
	return 0
}

func (p *place) kill(t *testing.T, handle string, bridge bool) {
	t.Helper()
	podman(t, "unshare", "sh", "-c", "kill -9 "+strconv.Itoa(p.pid(t, handle, bridge))) // the smallest Debian has no program kill
}

// leftovers looks for everything that belongs to a kernel, and for processes of its owner. Podman's own helpers may
// need a moment to end; where everything is meant to be gone it is given to them.
func (p *place) leftovers(t *testing.T, handle string, uid int) []string {
	t.Helper()
	for end := time.Now().Add(2 * time.Second); ; {
		left := p.remains(t, handle, uid)
		if i, err := p.engine.List(t.Context()); err != nil || len(left) == 0 || len(i) > 0 || time.Now().After(end) {
			return left
		}
	}
}

func (p *place) remains(t *testing.T, handle string, uid int) []string {
	t.Helper()
	left := strings.Fields(podman(t, "ps", "--all", "--format", "{{.Names}}", "--filter", "name="+handle))
	left = append(left, strings.Fields(podman(t, "volume", "ls", "--quiet", "--filter", "name="+handle))...)
	if _, err := os.Lstat(filepath.Join(p.cfg.RunDir, handle)); err == nil {
		left = append(left, "directory "+handle)
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	first := hostUID(t, uid)
	for _, dir := range dirs {
		var stat syscall.Stat_t
		if syscall.Stat(dir, &stat) == nil && (int(stat.Uid) == first || int(stat.Uid) == first+1) {
			left = append(left, fmt.Sprintf("process %s of user %d", filepath.Base(dir), stat.Uid))
		}
		if args, _ := os.ReadFile(dir + "/cmdline"); bytes.Contains(args, []byte(handle)) && !bytes.HasPrefix(args, []byte("podman")) {
			left = append(left, "process "+strings.ReplaceAll(string(args), "\x00", " "))
		}
	}
	return left
}

// hostUID is the machine's number of a user id in containers.
func hostUID(t *testing.T, uid int) int {
	t.Helper()
	for line := range strings.Lines(podman(t, "unshare", "cat", "/proc/self/uid_map")) {
		var inside, outside, size int
		if n, _ := fmt.Sscan(line, &inside, &outside, &size); n == 3 && inside <= uid && uid < inside+size {
			return outside + uid - inside
		}
	}
	t.Fatalf("user id %d is not mapped", uid)
	return 0
}

// report is what the probe says (see there).
type report struct {
	UID, GID, PID int
	Groups        []int
	Umask         int
	Status        map[string]string
	Env           []string
	Hostname      string
	Dir           string
	Init          string
	Interfaces    []string
	Mounts        map[string]string
	Files         map[string]string
	Writes        map[string]string
	Limits        map[string][2]uint64
	Dials         map[string]string
	Note          string
	Filled        map[string]int64
}

// reports returns what a kernel's processes have said so far, once there are n reports.
func (p *place) reports(t *testing.T, handle string, n int) []report {
	t.Helper()
	var log string
	for end := time.Now().Add(patience); time.Now().Before(end); {
		log = podman(t, "logs", p.container(handle, false))
		var all []report
		for line := range strings.Lines(log) {
			var r report
			if json.Unmarshal([]byte(line), &r) == nil {
				all = append(all, r)
			}
		}
		if len(all) >= n {
			return all
		}
	}
	t.Fatalf("no %d reports in the log of %s: %s", n, handle, log)
	return nil
}

// dial returns what the bridge says, once it listens.
func (p *place) dial(t *testing.T, handle string) report {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		conn, err := p.engine.Dial(t.Context(), handle)
		if errors.Is(err, kernels.ErrUnavailable) && time.Now().Before(end) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		text, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		var r report
		if err := json.Unmarshal(text, &r); err != nil {
			t.Fatalf("bridge says %q: %v", text, err)
		}
		return r
	}
}

func podman(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("podman", args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Errorf("podman %v: %v: %s", args, err, errs.String())
	}
	return strings.TrimSpace(out.String())
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
