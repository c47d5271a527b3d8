package prove_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"cellblock.io/cellblock/internal/prove"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// local is a level that keeps nobody in: the runner is a process of this machine. Only one thing is hidden from probes,
// the file "secret" beside the runner, which is there when the control "files" is taken away.
type local struct {
	t    *testing.T
	left []string // what Close says
}

func (l *local) Name() string { return "local" }

func (l *local) Controls() []prove.Control {
	return []prove.Control{
		{Name: "files", What: "no secret beside the runner"},
		{Name: "nothing", What: "what no probe tries"},
		{Name: "impossible", What: "what cannot be had", Missing: "this machine cannot"},
		{Name: "seccomp", What: "a filter"},
	}
}

func (l *local) Targets() prove.Targets { return prove.Targets{Bounds: map[string]int64{}} }

func (l *local) Start(_ context.Context, job prove.Job) (prove.Cell, error) {
	if job.Neighbour {
		return quiet{}, nil
	}
	dir := l.t.TempDir()
	for name, text := range job.Files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return nil, err
		}
	}
	if slices.Contains(job.Without, "files") {
		secret, err := os.ReadFile(filepath.Join(job.Exposed, "secret"))
		if err != nil {
			return nil, err
		}
		// In two parts: the searcher must not find it by itself.
		if err := os.WriteFile(filepath.Join(dir, "hidden"), []byte(hex.EncodeToString(secret)), 0o644); err != nil {
			return nil, err
		}
	}
	out, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command("python3", "-I", filepath.Join(dir, "runner.py"))
	cmd.Stdout, cmd.Stderr, cmd.Env = out, out, []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("these tests need python3: %w", err)
	}
	c := &process{level: l, dir: dir, cmd: cmd, ended: make(chan struct{})}
	go func() { defer close(c.ended); _ = cmd.Wait() }()
	return c, nil
}

// process is a cell of local.
type process struct {
	level *local
	dir   string
	cmd   *exec.Cmd
	ended chan struct{}
}

func (c *process) Output() ([]byte, error) { return os.ReadFile(filepath.Join(c.dir, "output")) }

func (c *process) Alive() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

func (c *process) Search(_ context.Context, needles []string) ([]prove.Find, error) {
	var found []prove.Find
	err := filepath.WalkDir(c.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || d.Name() == "output" {
			return err
		}
		text, err := os.ReadFile(path)
		for i, needle := range needles {
			if strings.Contains(string(text), needle) {
				found = append(found, prove.Find{Needle: i, Where: d.Name()})
			}
		}
		return err
	})
	return found, err
}

func (c *process) Close(context.Context) ([]string, error) {
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	<-c.ended
	return c.level.left, nil
}

// quiet is a neighbour who notices nothing.
type quiet struct{}

func (quiet) Output() ([]byte, error) {
	return []byte(signed(`{"kind":"ready","hidden":true}`, `{"kind":"settled"}`)), nil
}
func (quiet) Alive() bool                                            { return true }
func (quiet) Search(context.Context, []string) ([]prove.Find, error) { return nil, nil }
func (quiet) Close(context.Context) (left []string, err error)       { return nil, nil }

// signed writes frames as the runner does.
func signed(frames ...string) string {
	key := make([]byte, 32)
	text := "cellblock key " + hex.EncodeToString(key) + "\n"
	for i, f := range frames {
		line := fmt.Sprintf("cellblock %d %s", i+1, base64.StdEncoding.EncodeToString([]byte(f)))
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(line))
		text += line + " " + hex.EncodeToString(mac.Sum(nil)) + "\n"
	}
	return text
}

// prover makes probes and runs them.
type prover struct {
	t      *testing.T
	level  *local
	probes []prove.Probe
}

func newProver(t *testing.T) *prover {
	t.Parallel()
	return &prover{t: t, level: &local{t: t}}
}

// add adds a probe whose control is "files".
func (p *prover) add(name, code string, change ...func(*prove.Probe)) {
	probe := prove.Probe{
		ID: fmt.Sprintf("TT-%02d", len(p.probes)), Name: name, Category: "filesystem", Tries: name, Evidence: prove.ByCanary,
		Control: []string{"files"}, Timeout: 10e9, Code: code,
	}
	for _, c := range change {
		c(&probe)
	}
	p.probes = append(p.probes, probe)
}

func (p *prover) run() (*prove.Report, map[string]prove.Result) {
	p.t.Helper()
	report, err := prove.Run(p.t.Context(), prove.Config{Level: p.level, Probes: p.probes})
	if err != nil {
		p.t.Fatal(err)
	}
	results := map[string]prove.Result{}
	for _, r := range report.Probes {
		results[r.Name] = r
	}
	if text, err := json.Marshal(report); err == nil {
		p.t.Logf("%s", text)
	}
	return report, results
}

// expect compares verdicts.
func expect(t *testing.T, results map[string]prove.Result, want map[string]prove.Verdict) {
	t.Helper()
	for name, verdict := range want {
		if got := results[name]; got.Verdict != verdict {
			t.Errorf("%s: %s (%s), want %s", name, got.Verdict, got.Evidence, verdict)
		}
	}
}
