package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestProveList(t *testing.T) {
	d := newDesk(t, "")
	all := d.run("prove", "--list", "--json")
	var list []struct{ ID, Name, Category, Tries string }
	if err := json.Unmarshal([]byte(all.out), &list); err != nil || all.code != 0 {
		t.Fatalf("status %d, %v: %s", all.code, err, all.err)
	}
	if len(list) < 150 {
		t.Errorf("%d probes", len(list))
	}
	if some := d.run("prove", "--list", "--only", "network,SC-07,subclasses-walk"); some.code != 0 ||
		!strings.Contains(some.out, "NW-01") || !strings.Contains(some.out, "SC-07") || !strings.Contains(some.out, "PY-01") ||
		strings.Contains(some.out, "SC-08") || strings.Contains(some.out, "PY-02") {
		t.Errorf("status %d: %s%s", some.code, some.out, some.err)
	}
}

func TestProveUsage(t *testing.T) {
	d := newDesk(t, "")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--only", "gravity"}, `no probe or category is called "gravity"`},
		{[]string{"--level", "vm"}, `there is no isolation level "vm"; there is: container`},
		{[]string{"--json", "--markdown"}, "either --json or --markdown"},
		{[]string{"network"}, `takes no "network"`},
	} {
		if r := d.run(append([]string{"prove"}, tt.args...)...); r.code != exitUsage || !strings.Contains(r.err, tt.want) {
			t.Errorf("prove %v: status %d, %q; want %d and %q", tt.args, r.code, r.err, exitUsage, tt.want)
		}
	}
}

// Where nothing can be proved, the way out is said, before minutes have gone by.
func TestProveCannot(t *testing.T) {
	d := newDesk(t, "")
	if r := d.run("prove", "--output", "/nowhere/report"); r.code != exitFailure || !strings.Contains(r.err, "--output") {
		t.Errorf("status %d: %s", r.code, r.err)
	}
	r := d.run("prove")
	if r.code != exitFailure || !strings.Contains(r.err, "deploy/") {
		t.Errorf("status %d: %s", r.code, r.err)
	}
}
