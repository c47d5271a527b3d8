package main

import (
	"strings"
	"testing"
	"time"

	"cellblock.io/cellblock/auth"
	"cellblock.io/cellblock/internal/config"
	"cellblock.io/cellblock/kernels"
)

// record puts a kernel into the store as a gateway would.
func (d *desk) record(owner kernels.Owner, id string) {
	d.t.Helper()
	r := kernels.Record{ID: id, Owner: owner, Handle: "h" + string(owner), Spec: "python3", Phase: kernels.PhaseRunning, Created: time.Now().UTC()}
	if err := d.store.Reserve(d.t.Context(), r, kernels.Quota{MaxKernels: 10}); err != nil {
		d.t.Fatal(err)
	}
}

const someID = "5f0c3a52-0d3c-4f53-9a2b-6f8f9c1f6d11"

func TestUsers(t *testing.T) {
	d := newOffice(t, "quota: {max_kernels: 4}")
	if out := d.must("user", "list", "--json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("no users: %q", out)
	}
	if out := d.must("user", "add", "alice", "--max-kernels", "0"); out != "user alice added\n" {
		t.Errorf("%q", out)
	}
	added := decode[shownUser](t, d.must("user", "add", "root", "--admin", "--json"))
	if added.Role != auth.RoleAdmin || added.MaxKernels != 4 || time.Since(added.Created) > time.Minute {
		t.Errorf("%+v", added)
	}
	d.record("root", someID)
	list := decode[[]shownUser](t, d.must("user", "list", "--json"))
	if len(list) != 2 || list[0].Name != "alice" || list[0].MaxKernels != 0 || list[1].Role != auth.RoleAdmin || list[1].Kernels != 1 {
		t.Errorf("%+v", list)
	}
	table := d.must("user", "list")
	for _, want := range []string{"NAME", "alice  user   0 of 0   none", "root   admin  1 of 4   none"} {
		if !strings.Contains(table, want) {
			t.Errorf("%q is missing in\n%s", want, table)
		}
	}
}

func TestUsersNetwork(t *testing.T) {
	d := newOffice(t, "quota: {max_kernels: 4, network: internet}\nnetworks: {pypi: {allow: [pypi.org]}}")
	d.must("user", "add", "alice", "--max-kernels", "2")
	d.must("user", "add", "bob", "--network", "pypi")
	list := decode[[]shownUser](t, d.must("user", "list", "--json"))
	if len(list) != 2 || list[0].Network != "internet" || list[0].MaxKernels != 2 || list[1].Network != "pypi" || list[1].MaxKernels != 4 {
		t.Errorf("%+v", list)
	}
	if out := d.must("user", "set", "alice", "--network", "none"); out != "user alice may have 2 kernels at once, with network none\n" {
		t.Errorf("%q", out)
	}
	if u := decode[shownUser](t, d.must("user", "set", "alice", "--max-kernels", "3", "--json")); u.Network != "none" || u.MaxKernels != 3 {
		t.Errorf("%+v", u)
	}
	d.fails(exitUsage, []string{`there is no network policy "pipy"`, "internet, none, pypi"}, "user", "set", "alice", "--network", "pipy")
	d.fails(exitUsage, []string{`there is no network policy ""`}, "user", "add", "carol", "--network", "")
	d.fails(exitUsage, []string{"say what to change"}, "user", "set", "alice")
	d.fails(exitFailure, []string{"there is no user carol"}, "user", "set", "carol", "--network", "none")
}

func TestExplainNetwork(t *testing.T) {
	cfg := config.Default()
	cfg.Networks = map[string]config.Network{"pypi": {Allow: []string{"pypi.org"}}}
	for _, tt := range []struct{ policy, started, note string }{
		{"pypi", "allowlist", ""}, {"none", "none", ""}, {"internet", "internet", ""},
		{"gone", "allowlist", "does not define this policy, so it is none"},
		{"none", "allowlist", "a kernel that is started now"},
		{"none", "internet", "it keeps its network until it ends"},
		{"pypi", "none", "a kernel that is started now"},
	} {
		n, err := explainNetwork(cfg, kernels.Record{}, tt.policy, tt.started)
		if err != nil || (tt.note == "") != (n.Note == "") || !strings.Contains(n.Note, tt.note) {
			t.Errorf("%s, started with %s: %q, %v", tt.policy, tt.started, n.Note, err)
		}
		if want := tt.policy == "pypi" && tt.started == "allowlist"; (len(n.Allow) == 1) != want {
			t.Errorf("%s, started with %s allows %v", tt.policy, tt.started, n.Allow)
		}
	}
}

func TestAddUserAgain(t *testing.T) {
	d := newOffice(t, "")
	d.must("user", "add", "admin", "--admin")
	d.fails(exitFailure, []string{"there is a user admin already", "--exist-ok"}, "user", "add", "admin", "--admin")
	if out := d.must("user", "add", "admin", "--admin", "--exist-ok", "--max-kernels", "7"); out != "admin admin may have 7 kernels at once, with network none\n" {
		t.Errorf("says %q about a new quota", out)
	}
	if out := d.must("user", "add", "admin", "--admin", "--exist-ok"); out != "" {
		t.Errorf("says %q about a user who was there", out)
	}
	if u := decode[shownUser](t, d.must("user", "add", "admin", "--admin", "--exist-ok", "--json")); u.MaxKernels != 7 {
		t.Errorf("the quota is not changed, or forgotten: %+v", u)
	}
	// Nobody becomes an administrator, or loses that, by the way.
	d.fails(exitFailure, []string{"with the role admin", "remove it first"}, "user", "add", "admin", "--exist-ok")
	d.fails(exitUsage, []string{"--max-kernels must be 0 or more"}, "user", "add", "bob", "--max-kernels", "-1")
	if list := decode[[]shownUser](t, d.must("user", "list", "--json")); len(list) != 1 {
		t.Errorf("a refused user was added: %+v", list)
	}
}

func TestRemoveUser(t *testing.T) {
	d := newOffice(t, "")
	d.must("user", "add", "alice", "--max-kernels", "9")
	token := strings.TrimSpace(d.must("token", "create", "--user", "alice"))
	if out := d.must("user", "remove", "alice"); out != "user alice removed, 0 kernels ended\n" {
		t.Errorf("%q", out)
	}
	if _, err := d.auth.Verify(t.Context(), token); err == nil {
		t.Error("the token lets somebody in who was removed")
	}
	if u := decode[shownUser](t, d.must("user", "add", "alice", "--json")); u.MaxKernels == 9 {
		t.Error("the quota outlived its user")
	}
	d.fails(exitFailure, []string{"there is no user bob", "cellblock user add bob"}, "user", "remove", "bob")
}

// Access ends first: where kernels cannot be ended, the user is still out.
func TestRemoveUserWhileTheEngineIsAway(t *testing.T) {
	d := newOffice(t, "")
	d.must("user", "add", "alice")
	token := strings.TrimSpace(d.must("token", "create", "--user", "alice"))
	d.record("alice", someID)
	d.fails(exitFailure, []string{"user alice is removed, but not the kernels", "kernels stop --all --user alice"}, "user", "remove", "alice")
	if _, err := d.auth.Verify(t.Context(), token); err == nil {
		t.Error("the token still lets alice in")
	}
}

func TestStopKernelsByID(t *testing.T) {
	d := newOffice(t, "")
	d.record("alice", someID)
	d.record("bob", someID)
	d.fails(exitFailure, []string{"there is no kernel", "cellblock kernels list"}, "kernels", "stop", "5f0c3a52-0d3c-4f53-9a2b-000000000000")
	d.fails(exitFailure, []string{"several users have a kernel", "--user"}, "kernels", "stop", someID)
	d.fails(exitUsage, []string{"cannot be a user's name"}, "kernels", "stop", "--user", "A", someID)
	d.fails(exitUsage, []string{"cannot be a user's name"}, "kernels", "list", "--user", "A")
	if out := d.must("kernels", "stop", "--all", "--user", "carol"); out != "" {
		t.Errorf("stopping nothing says %q", out)
	}
}
