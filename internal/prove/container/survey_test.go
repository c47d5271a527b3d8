package container_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"cellblock.io/cellblock/containers"
	"cellblock.io/cellblock/internal/prove"
	"cellblock.io/cellblock/internal/prove/container"
)

// survey asks one question, written as JSON.
func survey(t *testing.T, question string) (found []prove.Find, left []string) {
	t.Helper()
	var out bytes.Buffer
	if err := container.Survey(strings.NewReader(question), &out); err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Found []prove.Find
		Left  []string
	}
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	return answer.Found, answer.Left
}

// Hostile code fills what is searched: links out of it, pipes that nobody writes to, names with a secret in them.
func TestSurveySearch(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "outside")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(outside, "needle-one")
	write(filepath.Join(dir, "plain"), "before needle-two after")
	write(filepath.Join(dir, "named-needle-three"), "")
	write(filepath.Join(dir, "innocent"), "nothing")
	for _, err := range []error{
		os.Symlink(outside, filepath.Join(dir, "link")),
		os.Symlink(filepath.Dir(outside), filepath.Join(dir, "directory")),
		syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600),
		os.Mkdir(filepath.Join(dir, "deep"), 0o700),
		os.Symlink(dir, filepath.Join(dir, "deep", "loop")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(dir, "deep", "file"), "needle-two")

	question := fmt.Sprintf(`{"pid":%d,"dirs":[%q,"/nowhere"],"needles":["needle-one","needle-two","needle-three"]}`, os.Getpid(), dir)
	found, _ := survey(t, question)
	var got []string
	for _, f := range found {
		got = append(got, fmt.Sprintf("%d %s", f.Needle, strings.ReplaceAll(f.Where, dir, "")))
	}
	slices.Sort(got)
	want := []string{`1 "/deep/file"`, `1 "/plain"`, `2 "/named-needle-three"`}
	if !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

func TestSurveyLeft(t *testing.T) {
	_, left := survey(t, fmt.Sprintf(`{"uid":%d,"name":"/proc"}`, os.Getuid()))
	if os.Getuid() != 0 && !slices.Contains(left, fmt.Sprintf("process %d of user %d", os.Getpid(), os.Getuid())) {
		t.Errorf("this process is not among %q", left)
	}
	if !slices.Contains(left, "mount /proc") {
		t.Errorf("no mount of /proc among %q", left)
	}
}

func TestSurveyRefuses(t *testing.T) {
	if err := container.Survey(strings.NewReader("nonsense"), new(bytes.Buffer)); err == nil {
		t.Error("no error")
	}
}

// A place without a process name space of its own is still there until it is ended by its number.
func TestSurveyInit(t *testing.T) {
	cmd := exec.Command("sh", "-c", "echo; while :; do sleep 1; done", containers.ConfDir+"/runner.py")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil { // now it is the program that it was started as
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	const nobody = 1<<31 - 2 // whose processes are ended, too: there are none
	if _, left := survey(t, fmt.Sprintf(`{"init":%d}`, pid)); !slices.Contains(left, fmt.Sprintf("process %d of the place", pid)) {
		t.Errorf("left %q", left)
	}
	survey(t, fmt.Sprintf(`{"init":%d,"end":%d}`, pid, nobody))
	if err := cmd.Wait(); err == nil {
		t.Error("it was not ended")
	}
	if _, left := survey(t, fmt.Sprintf(`{"init":%d}`, os.Getpid())); len(left) > 0 {
		t.Errorf("another process is taken for a place's: %q", left)
	}
}
