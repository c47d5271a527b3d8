package containers_test

import (
	"maps"
	"testing"

	"cellblock.io/cellblock/containers"
	"cellblock.io/cellblock/kernels"
)

func TestLabelsRoundTrip(t *testing.T) {
	l := goldenLaunch()
	labels := containers.BridgeLabels(goldenConfig(), containers.RoleBridge, l)
	got, role, ok := containers.RecordOf(labels)
	if !ok || role != containers.RoleBridge || got != l.Record {
		t.Errorf("%+v, %s, %t; want %+v", got, role, ok, l.Record)
	}
	for label, value := range map[string]string{
		"io.cellblock.handle": "../../etc", "io.cellblock.role": "workspace",
	} {
		broken := maps.Clone(labels)
		broken[label] = value
		if _, _, ok := containers.RecordOf(broken); ok {
			t.Errorf("%s=%s was accepted", label, value)
		}
	}
	if _, _, ok := containers.RecordOf(nil); ok {
		t.Error("no labels were accepted")
	}
	labels["io.cellblock.created"] = "yesterday"
	if got, _, ok := containers.RecordOf(labels); !ok || !got.Created.IsZero() {
		t.Errorf("created %v, %t", got.Created, ok)
	}
}

// No two owners share a workspace, whatever characters their names have.
func TestWorkspaceNames(t *testing.T) {
	seen := make(map[string]kernels.Owner)
	for _, owner := range []kernels.Owner{"a", "a@b", "a_b", "a.b", "a-b", "a_a", "a@@b", "a-workspace-b", "aab", "a_40b"} {
		if !owner.Valid() {
			t.Fatalf("%s is no owner", owner)
		}
		name := containers.WorkspaceName(goldenConfig(), owner)
		if other, taken := seen[name]; taken {
			t.Errorf("%s and %s have the workspace %s", owner, other, name)
		}
		seen[name] = owner
	}
	if name := containers.WorkspaceName(goldenConfig(), "a@b"); name != "cellblock-workspace-aAb" {
		t.Errorf("workspace %s", name)
	}
}
