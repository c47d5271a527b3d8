package doctor_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cellblock.io/cellblock/internal/doctor"
)

// A host that is as it should be has nothing but good findings, each with all that JSON and people need.
func TestGoodHost(t *testing.T) {
	findings := good(t).all()
	if len(findings) != len(doctor.IDs()) {
		t.Errorf("%d findings of %d checks", len(findings), len(doctor.IDs()))
	}
	for _, f := range findings {
		if f.Severity != doctor.OK || f.Remedy != "" {
			t.Errorf("%s: %s: %s (%s)", f.ID, f.Severity, f.Found, f.Remedy)
		}
		if f.Found == "" || !strings.HasSuffix(f.Why, ".") {
			t.Errorf("%s: found %q, why %q", f.ID, f.Found, f.Why)
		}
	}
}

func TestIDs(t *testing.T) {
	ids := doctor.IDs()
	for i, id := range ids {
		if slices.Contains(ids[:i], id) {
			t.Errorf("%s twice", id)
		}
		if group, rest, _ := strings.Cut(id, "."); group == "" || rest == "" {
			t.Errorf("%q has no group", id)
		}
	}
	for _, id := range doctor.Required {
		if !slices.Contains(ids, id) {
			t.Errorf("%s is required and there is no such check", id)
		}
	}
}

// trial is a change to the good host and what one check must say of it.
type trial struct {
	id     string
	name   string
	change func(*fake)
	want   doctor.Severity
	words  string // of what was found or is to be done
}

// Each check is tried on hosts with a fault, and each fault is found by name and has a remedy.
func TestFaults(t *testing.T) {
	for _, tt := range allTrials() {
		t.Run(tt.id+"/"+tt.name, func(t *testing.T) {
			f := good(t)
			tt.change(f)
			got := f.examine(tt.id)
			if got.Severity != tt.want || !strings.Contains(got.Found+" > "+got.Remedy, tt.words) {
				t.Errorf("%s: %s > %s; want %s with %q", got.Severity, got.Found, got.Remedy, tt.want, tt.words)
			}
			if bad := got.Severity == doctor.Fail || got.Severity == doctor.Warn; bad && got.Remedy == "" {
				t.Errorf("no remedy for: %s", got.Found)
			}
			if strings.ContainsAny(got.Found+got.Remedy, "\n") || strings.Contains(got.Found+got.Remedy, "%!") {
				t.Errorf("not one line of text: %q %q", got.Found, got.Remedy)
			}
		})
	}
}

// No check is without a trial in which it complains: one that cannot is none.
func TestEachCheckCanComplain(t *testing.T) {
	complained := map[string]bool{}
	for _, tt := range allTrials() {
		if tt.want == doctor.Fail || tt.want == doctor.Warn {
			complained[tt.id] = true
		}
	}
	for _, id := range doctor.IDs() {
		if !complained[id] {
			t.Errorf("%s is never seen to fail", id)
		}
	}
}

func allTrials() []trial {
	return slices.Concat(engineTrials, userTrials, fileTrials, capacityTrials, imageTrials, gatewayTrials, redisTrials,
		serviceTrials, machineTrials, sysctlTrials(), moduleTrials())
}

func TestSelectors(t *testing.T) {
	f := good(t)
	if got := f.all("engine.limits"); len(got) != 1 || got[0].ID != "engine.limits" {
		t.Errorf("engine.limits selects %v", got)
	}
	for _, finding := range f.all("memory", "cpu.smt") {
		if finding.Group() != "memory" && finding.ID != "cpu.smt" {
			t.Errorf("%s was not selected", finding.ID)
		}
	}
}

func slashes(name string) string { return strings.ReplaceAll(name, ".", "/") }

// The page names each check, and none that is not there.
func TestPageNamesEachCheck(t *testing.T) {
	page, err := os.ReadFile("../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "## Checks")
	var named []string
	for _, m := range regexp.MustCompile("`([a-z]+\\.[a-z0-9_.]+)`").FindAllStringSubmatch(table, -1) {
		if group, _, _ := strings.Cut(m[1], "."); group != "limits" && group != "quota" { // keys of the configuration
			named = append(named, m[1])
		}
	}
	slices.Sort(named)
	ids := slices.Sorted(slices.Values(doctor.IDs()))
	if !slices.Equal(named, ids) {
		t.Errorf("docs/doctor.md has\n%v\nand there are\n%v", named, ids)
	}
}
