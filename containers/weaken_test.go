package containers_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	"cellblock.io/cellblock/containers"
)

// Each control that is taken away changes the spec, and two of them never in the same way.
func TestWeaken(t *testing.T) {
	all := containers.Capabilities{CgroupVersion: "v2", CPU: true, Memory: true, PIDs: true, Rootless: true, Seccomp: true, Root: 4194304, Init: "/usr/bin/catatonit"}
	trial := containers.Trial{
		Launch: goldenLaunch(), Exposed: "/tmp/exposed", Stranger: containers.Stranger{UID: 30000, Owner: "bob", Handle: "0123"},
	}
	strong := weakened(t, all, trial)
	seen := map[string]string{}
	for _, c := range containers.Controls() {
		trial.Without = []string{c.Name}
		weak := weakened(t, all, trial)
		if reflect.DeepEqual(strong, weak) {
			t.Errorf("%s changes nothing", c.Name)
		}
		text, err := json.Marshal(weak)
		if err != nil {
			t.Fatal(err)
		}
		if other := seen[string(text)]; other != "" {
			t.Errorf("%s is the same as %s", c.Name, other)
		}
		seen[string(text)] = c.Name
		if c.What == "" {
			t.Errorf("%s is not described", c.Name)
		}
	}
	trial.Without = nil
	if again := weakened(t, all, trial); !reflect.DeepEqual(strong, again) {
		t.Error("a trial has changed what later ones start from")
	}
}

func weakened(t *testing.T, caps containers.Capabilities, trial containers.Trial) map[string]any {
	t.Helper()
	spec, err := containers.Weakened(goldenConfig(), caps, trial)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	return fields
}

func TestWeakenUnknown(t *testing.T) {
	trial := containers.Trial{Launch: goldenLaunch(), Without: []string{"walls"}}
	if _, err := containers.Weakened(goldenConfig(), containers.Capabilities{}, trial); err == nil {
		t.Error("no error")
	}
}

// The proving build refuses what the profile refuses, by another error, but for the call whose error means something.
func TestProvingProfile(t *testing.T) {
	text, err := containers.ProvingProfile([]byte(`{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"defaultErrno":"ENOSYS","archMap":[1],
		"syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"},{"names":["mount"],"action":"SCMP_ACT_ERRNO","errnoRet":1,"errno":"EPERM"}]}`), 4000)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		DefaultErrnoRet uint
		DefaultErrno    string
		ArchMap         []int
		Syscalls        []struct {
			Names    []string
			Action   string
			ErrnoRet uint
			Errno    string
		}
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.DefaultErrnoRet != 4000 || got.DefaultErrno != "" || len(got.ArchMap) != 1 || len(got.Syscalls) != 3 {
		t.Fatalf("made %s", text)
	}
	for i, want := range []struct {
		name   string
		action string
		errno  uint
	}{{"read", "SCMP_ACT_ALLOW", 0}, {"mount", "SCMP_ACT_ERRNO", 4000}, {"clone3", "SCMP_ACT_ERRNO", 38}} {
		if s := got.Syscalls[i]; !slices.Equal(s.Names, []string{want.name}) || s.Action != want.action || s.ErrnoRet != want.errno || s.Errno != "" {
			t.Errorf("rule %d is %+v, want %+v", i, s, want)
		}
	}
	for _, wrong := range []string{"", "{}", `{"syscalls":[{"names":1}]}`} {
		if _, err := containers.ProvingProfile([]byte(wrong), 4000); err == nil {
			t.Errorf("no error for %q", wrong)
		}
	}
}
