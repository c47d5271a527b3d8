package containers_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"cellblock.io/cellblock/containers"
)

// seccompRule is one group of a profile, in the words of Podman.
type seccompRule struct {
	Names    []string
	Action   string
	ErrnoRet *int
	Comment  string
	Args     []seccompArg
}

type seccompArg struct {
	Index           int
	Value, ValueTwo uint64
	Op              string
}

type seccompProfile struct {
	DefaultAction, DefaultErrno string
	DefaultErrnoRet             int
	Architectures               []string
	Syscalls                    []seccompRule
}

func readProfile(t *testing.T, name string) seccompProfile {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("seccomp", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields() // what Podman would read over
	var p seccompProfile
	if err := d.Decode(&p); err != nil {
		t.Fatal(err)
	}
	return p
}

var profiles = []string{"kernel", "bridge"}

// A profile refuses what it does not name, and knows no 32-bit calls.
func TestSeccompDefaults(t *testing.T) {
	for _, name := range profiles {
		p := readProfile(t, name)
		if p.DefaultAction != "SCMP_ACT_ERRNO" || p.DefaultErrno != "ENOSYS" || p.DefaultErrnoRet != 38 {
			t.Errorf("%s: by default %s %s %d", name, p.DefaultAction, p.DefaultErrno, p.DefaultErrnoRet)
		}
		if !slices.Equal(p.Architectures, []string{"SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"}) {
			t.Errorf("%s: architectures %v", name, p.Architectures)
		}
	}
}

// Rules only allow, a call that is allowed without conditions has none elsewhere, and every group says why.
func TestSeccompRules(t *testing.T) {
	known := systemCalls(t)
	for _, name := range profiles {
		bare, checked, seen, last := map[string]bool{}, map[string]bool{}, map[string]bool{}, ""
		for _, r := range readProfile(t, name).Syscalls {
			pretends := r.Action == "SCMP_ACT_ERRNO" && r.ErrnoRet != nil && *r.ErrnoRet == 0 && len(r.Args) == 0
			if r.Action != "SCMP_ACT_ALLOW" && !pretends {
				t.Errorf("%s: %v: action %s", name, r.Names, r.Action)
			}
			call := strings.Join(r.Names, " ")
			if r.Comment == "" && call != last { // the rules of one call may have one for all
				t.Errorf("%s: %v: no reason", name, r.Names)
			}
			last = call
			rule, _ := json.Marshal(r.Args)
			if key := call + string(rule); seen[key] {
				t.Errorf("%s: twice: %s", name, key)
			} else {
				seen[key] = true
			}
			for _, n := range r.Names {
				if !known[n] {
					t.Errorf("%s: there is no system call %s", name, n)
				}
				if bare[n] || len(r.Args) == 0 && checked[n] {
					t.Errorf("%s: %s stands twice, or with and without conditions", name, n)
				}
				if len(r.Args) == 0 {
					bare[n] = true
				} else {
					checked[n] = true
				}
			}
			checkArgs(t, name, r)
		}
	}
}

// checkArgs: by equality, or by masked equality of which the mask can hold the value.
func checkArgs(t *testing.T, name string, r seccompRule) {
	t.Helper()
	for _, a := range r.Args {
		masked := a.Op == "SCMP_CMP_MASKED_EQ" && a.Value != 0 && a.ValueTwo&^a.Value == 0
		if a.Op != "SCMP_CMP_EQ" && !masked || a.Index > 5 {
			t.Errorf("%s: %v: %+v", name, r.Names, a)
		}
	}
}

// The bridge may do nothing that a kernel may not.
func TestSeccompBridgeIsTighter(t *testing.T) {
	calls := map[string]map[string]bool{}
	for _, name := range profiles {
		calls[name] = map[string]bool{}
		for _, r := range readProfile(t, name).Syscalls {
			for _, n := range r.Names {
				calls[name][n] = true
			}
		}
	}
	for n := range calls["bridge"] {
		if !calls["kernel"][n] {
			t.Errorf("only the bridge may call %s", n)
		}
	}
	for _, n := range []string{"fork", "vfork", "kill", "link", "rename", "chown", "mknod", "socketpair", "ioctl"} {
		if calls["bridge"][n] {
			t.Errorf("the bridge may call %s", n)
		}
	}
}

// What was a way out elsewhere is not there, whatever else changes.
func TestSeccompForbidden(t *testing.T) {
	forbidden := strings.Fields(`
		unshare setns mount umount2 pivot_root chroot fsopen fsconfig fsmount fspick move_mount open_tree mount_setattr clone3
		ptrace process_vm_readv process_vm_writev pidfd_getfd process_mrelease process_madvise kcmp
		keyctl add_key request_key splice tee vmsplice name_to_handle_at open_by_handle_at fanotify_init fanotify_mark
		inotify_init inotify_init1
		memfd_secret remap_file_pages get_mempolicy set_mempolicy mbind move_pages migrate_pages modify_ldt mincore cachestat
		io_setup io_submit io_cancel io_destroy io_getevents io_pgetevents io_uring_setup io_uring_enter io_uring_register
		shmget shmat shmctl shmdt semget semop semctl semtimedop msgget msgsnd msgrcv msgctl
		mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr
		bpf perf_event_open userfaultfd seccomp execveat get_robust_list reboot syslog adjtimex clock_adjtime clock_settime
		settimeofday sethostname setdomainname setgroups setfsuid setfsgid ioprio_set init_module finit_module delete_module
		kexec_load kexec_file_load iopl ioperm swapon swapoff quotactl acct vhangup lookup_dcookie uselib ustat sysfs`)
	for _, name := range profiles {
		for _, r := range readProfile(t, name).Syscalls {
			for _, n := range r.Names {
				if slices.Contains(forbidden, n) {
					t.Errorf("%s allows %s", name, n)
				}
			}
		}
	}
}

// systemCalls are the names in the kernel's tables for x86_64 and aarch64, as golang.org/x/sys has them.
func systemCalls(t *testing.T) map[string]bool {
	t.Helper()
	dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", "golang.org/x/sys/unix").Output()
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, arch := range []string{"amd64", "arm64"} {
		for _, name := range callTable(t, filepath.Join(strings.TrimSpace(string(dir)), "zsysnum_linux_"+arch+".go")) {
			names[name] = true
		}
	}
	return names
}

var callConstant = regexp.MustCompile(`(?m)^\s+SYS_([A-Z0-9_]+)\s+=\s+(\d+)$`)

// callTable returns the system calls by number as a file of golang.org/x/sys/unix has them.
func callTable(t *testing.T, file string) map[int]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	table := make(map[int]string)
	for _, m := range callConstant.FindAllStringSubmatch(string(text), -1) {
		n, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		table[n] = strings.ToLower(m[1])
	}
	if len(table) < 250 {
		t.Fatalf("%s has %d system calls", file, len(table))
	}
	return table
}

// The profiles are in the run directory when the engine is connected, for this user alone, and go with the program.
func TestSeccompFiles(t *testing.T) {
	p := newPodman(t)
	p.connect(t)
	for _, name := range profiles {
		path := filepath.Join(p.cfg.RunDir, "seccomp-"+name+".json")
		want, _ := os.ReadFile(filepath.Join("seccomp", name+".json"))
		got, err := os.ReadFile(path)
		if err != nil || string(got) != string(want) {
			t.Errorf("%s: %d bytes, want %d (%v)", path, len(got), len(want), err)
		}
		if info, err := os.Lstat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v (%v)", path, info.Mode(), err)
		}
		if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.connect(t)
	for _, name := range profiles {
		if got, _ := os.ReadFile(filepath.Join(p.cfg.RunDir, "seccomp-"+name+".json")); len(got) < 1000 {
			t.Errorf("the profile of an older %s stays: %s", name, got)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(p.cfg.RunDir, "seccomp-*.json.*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// An administrator's own profile is in force instead, for both.
func TestSeccompOverride(t *testing.T) {
	cfg := goldenConfig()
	cfg.SeccompProfile = "/etc/cellblock/seccomp.json"
	b := containers.NewBuilder(cfg, everything)
	kernel, err := containers.KernelSpec(b, goldenLaunch())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{kernel.SeccompProfilePath, containers.BridgeSpec(b, goldenLaunch()).SeccompProfilePath} {
		if s != cfg.SeccompProfile {
			t.Errorf("profile %s", s)
		}
	}
}
