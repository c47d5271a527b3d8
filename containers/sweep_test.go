//go:build integration

package containers_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"cellblock.io/cellblock/containers"
)

// sentinel is an errno that no system call gives (EHWPOISON): where it comes, the filter has spoken.
const sentinel = 133

// Numbers of system calls, the first the same on all machines, the others x86_64's.
const (
	clone3    = 435
	uretprobe = 335
	uprobe    = 336
)

// sweep is what sweep.py says.
type sweep struct {
	Sweep    []int             // numbers of the calls with arguments of zero that reach the kernel
	Verdicts map[string]string // of calls with arguments: "refused", "reaches", "killed"
}

// sweepUnder runs the sweep in a live kernel's container, under the kernel's profile as change leaves it.
func sweepUnder(t *testing.T, change func(map[string]any)) sweep {
	t.Helper()
	text, err := os.ReadFile("seccomp/kernel.json")
	if err != nil {
		t.Fatal(err)
	}
	var profile map[string]any
	if err := json.Unmarshal(text, &profile); err != nil {
		t.Fatal(err)
	}
	change(profile)
	path := filepath.Join(t.TempDir(), "seccomp.json")
	if text, err = json.Marshal(profile); err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	p := open(t, func(c *containers.Config) { c.Images, c.SeccompProfile = []string{pythonImage}, path })
	handle := p.launch(t, "alice", nil)
	var s sweep
	if err := json.Unmarshal([]byte(p.python(t, handle, "sweep.py", strconv.Itoa(sentinel))), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// What reaches the kernel of all that a tenant's code may call; every change of it is a change of the sandbox.
func TestPodmanSystemCalls(t *testing.T) {
	s := sweepUnder(t, func(profile map[string]any) {
		profile["defaultErrnoRet"] = sentinel
		delete(profile, "defaultErrno")
		// Without ENOSYS libc would not fall back to clone, and the kernel beside the sweep would die.
		profile["syscalls"] = append(profile["syscalls"].([]any),
			map[string]any{"names": []string{"clone3"}, "action": "SCMP_ACT_ERRNO", "errnoRet": int(syscall.ENOSYS)})
	})
	// Newer kernels let what their own probes call pass every filter; whoever else calls it dies.
	s.Sweep = slices.DeleteFunc(s.Sweep, func(n int) bool { return slices.Contains([]int{clone3, uretprobe, uprobe}, n) })
	goldenText(t, "syscalls-"+runtime.GOARCH+".txt", s.text(callTable(t, "zsysnum.go")))
	if len(s.Sweep) < 200 || s.Verdicts["socket: vsock high"] != "refused" || s.Verdicts["getpid: native"] != "reaches" {
		t.Errorf("%d calls reach the kernel, %v", len(s.Sweep), s.Verdicts)
	}
}

// Without a filter the same calls do reach the kernel: it is the filter that the test above tells about.
func TestPodmanSystemCallsUnfiltered(t *testing.T) {
	s := sweepUnder(t, func(profile map[string]any) {
		profile["defaultAction"] = "SCMP_ACT_ALLOW"
		delete(profile, "defaultErrno")
		delete(profile, "defaultErrnoRet")
		profile["syscalls"] = []any{}
	})
	for name, verdict := range s.Verdicts {
		// A filter for one architecture refuses the others, whatever else it does.
		if verdict != "reaches" && !strings.HasPrefix(name, "x32") && !strings.HasPrefix(name, "32 bits") {
			t.Errorf("%s: %s", name, verdict)
		}
	}
	if len(s.Sweep) != 601 {
		t.Errorf("%d calls reach the kernel", len(s.Sweep))
	}
}

// text is one line for each, the sweep by the calls' names.
func (s sweep) text(names map[int]string) string {
	var b strings.Builder
	for _, n := range s.Sweep {
		fmt.Fprintf(&b, "%s\n", names[n])
	}
	for _, name := range slices.Sorted(maps.Keys(s.Verdicts)) {
		fmt.Fprintf(&b, "%s: %s\n", name, s.Verdicts[name])
	}
	return b.String()
}

// goldenText compares with a file of testdata, or with -update leaves what it got for integration.sh to put there.
func goldenText(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(filepath.Join("new", name), []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	t.Errorf("testdata/%s differs (integration.sh -update writes it anew)", name)
	before, after := strings.Split(string(want), "\n"), strings.Split(got, "\n")
	for _, line := range before {
		if !slices.Contains(after, line) {
			t.Errorf("gone: %s", line)
		}
	}
	for _, line := range after {
		if !slices.Contains(before, line) {
			t.Errorf("new: %s", line)
		}
	}
}
