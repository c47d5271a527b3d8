package main

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"cellblock.io/cellblock/auth"
	"cellblock.io/cellblock/internal/config"
)

func TestTokens(t *testing.T) {
	d := newOffice(t, "")
	d.must("user", "add", "alice")
	out := d.must("token", "create", "--user", "alice", "--name", "nightly", "--expires", "720h")
	raw := strings.TrimSuffix(out, "\n")
	if !regexp.MustCompile(`^cbk_[A-Za-z0-9_-]+$`).MatchString(raw) {
		t.Fatalf("not a token alone: %q", out)
	}
	id, err := d.auth.Verify(t.Context(), raw)
	if err != nil || id.Name != "alice" || id.Role != auth.RoleUser {
		t.Fatalf("%+v, %v", id, err)
	}
	made := decode[struct {
		auth.Token
		Raw string `json:"token"`
	}](t, d.must("token", "create", "--user", "alice", "--json"))
	if made.User != "alice" || !made.Expires.IsZero() || !strings.HasPrefix(made.Raw, "cbk_") {
		t.Errorf("%+v", made)
	}
	text := d.must("token", "list", "--user", "alice", "--json")
	list := decode[[]auth.Token](t, text)
	if len(list) != 2 || strings.Contains(text, "cbk_") {
		t.Fatalf("%s", text)
	}
	if left := time.Until(list[0].Expires); list[0].Name != "nightly" || left < 719*time.Hour || left > 720*time.Hour {
		t.Errorf("%+v", list[0])
	}
	if table := d.must("token", "list"); !strings.Contains(table, "nightly") || !strings.Contains(table, "in 29 d") {
		t.Errorf("%s", table)
	}
	d.must("token", "revoke", id.Token)
	if _, err := d.auth.Verify(t.Context(), raw); err == nil {
		t.Error("a revoked token is valid")
	}
	if _, err := d.auth.Verify(t.Context(), made.Raw); err != nil {
		t.Errorf("another token went with it: %v", err)
	}
}

func TestTokenMistakes(t *testing.T) {
	d := newOffice(t, "")
	d.must("user", "add", "alice")
	d.fails(exitFailure, []string{"there is no user bob"}, "token", "create", "--user", "bob")
	d.fails(exitFailure, []string{"there is no user bob"}, "token", "list", "--user", "bob")
	d.fails(exitUsage, []string{"--expires must be"}, "token", "create", "--user", "alice", "--expires", "-1h")
	d.fails(exitFailure, []string{"at most 64 bytes"}, "token", "create", "--user", "alice", "--name", strings.Repeat("x", 65))
	d.fails(exitFailure, []string{"there is no token with that id"}, "token", "revoke", "000000000000000000000000")
	// Who gives the token itself must not find it in a log afterwards.
	raw := strings.TrimSpace(d.must("token", "create", "--user", "alice"))
	if r := d.run("token", "revoke", raw); r.code != exitFailure || strings.Contains(r.err, raw[:12]) {
		t.Errorf("status %d: %s", r.code, r.err)
	}
}

func TestEnv(t *testing.T) {
	d := newOffice(t, "public_url: https://cells.example.org/a'b/\n")
	d.must("user", "add", "alice")
	lines := d.must("env", "--user", "alice")
	script := lines + `printf '%s\n' "$JUPYTER_GATEWAY_URL" "$JUPYTER_GATEWAY_AUTH_TOKEN" "$CELLBLOCK_URL" "$CELLBLOCK_TOKEN"`
	shell := exec.Command("sh", "-euc", script)
	shell.Env = []string{}
	out, err := shell.Output()
	if err != nil {
		t.Fatalf("the shell cannot read it: %v\n%s", err, lines)
	}
	got := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(got) != 4 || got[0] != "https://cells.example.org/a'b" || got[2] != got[0] || got[3] != got[1] {
		t.Fatalf("%q", got)
	}
	if id, err := d.auth.Verify(t.Context(), got[1]); err != nil || id.Name != "alice" {
		t.Errorf("%+v, %v", id, err)
	}
	tokens := decode[[]auth.Token](t, d.must("token", "list", "--json"))
	if len(tokens) != 1 || tokens[0].Name != "env" || time.Until(tokens[0].Expires).Round(time.Hour) != 30*24*time.Hour {
		t.Errorf("%+v", tokens)
	}
	variables := decode[map[string]string](t, d.must("env", "--user", "alice", "--json"))
	if len(variables) != 4 || variables["CELLBLOCK_TOKEN"] == "" {
		t.Errorf("%v", variables)
	}
}

// What is evaluated by a shell must be empty when the command fails.
func TestEnvForNobody(t *testing.T) {
	d := newOffice(t, "")
	d.fails(exitFailure, []string{"there is no user bob", "cellblock user add bob"}, "env", "--user", "bob")
	d.fails(exitUsage, []string{"cannot be a user's name"}, "env", "--user", "$(reboot)")
}

// A shell that evaluates env at each start never comes to an end of tokens, and tokens of other names stay.
func TestEnvAgainAndAgain(t *testing.T) {
	d := newOffice(t, "")
	d.must("user", "add", "alice")
	other := strings.TrimSpace(d.must("token", "create", "--user", "alice", "--name", "nightly"))
	var last string
	for range maxEnvToken + 5 {
		last = decode[map[string]string](t, d.must("env", "--user", "alice", "--json"))["CELLBLOCK_TOKEN"]
	}
	if n := len(decode[[]auth.Token](t, d.must("token", "list", "--json"))); n != maxEnvToken+1 {
		t.Errorf("%d tokens", n)
	}
	for _, token := range []string{other, last} {
		if _, err := d.auth.Verify(t.Context(), token); err != nil {
			t.Error(err)
		}
	}
}

func TestAddresses(t *testing.T) {
	tests := []struct {
		listen, base, public, cert string
		people, local              string
	}{
		{listen: "127.0.0.1:8888", base: "/", people: "http://127.0.0.1:8888", local: "http://127.0.0.1:8888"},
		{listen: "0.0.0.0:8888", base: "/cells/", people: "http://127.0.0.1:8888/cells", local: "http://127.0.0.1:8888/cells"},
		{listen: ":1", base: "/", cert: "/c.pem", people: "https://127.0.0.1:1", local: "https://127.0.0.1:1"},
		{listen: "[::]:1", base: "/", people: "http://127.0.0.1:1", local: "http://127.0.0.1:1"},
		{listen: "[::1]:1", base: "/", public: "https://x.example.org/y/", people: "https://x.example.org/y", local: "http://[::1]:1"},
		{listen: "box:1", base: "/", people: "http://box:1", local: "http://box:1"},
	}
	for _, tt := range tests {
		c := config.Config{Listen: tt.listen, BaseURL: tt.base, PublicURL: tt.public, TLS: config.TLS{Cert: tt.cert}}
		if got := address(c); got != tt.people {
			t.Errorf("%s: people use %s, want %s", tt.listen, got, tt.people)
		}
		if got := localAddress(c); got != tt.local {
			t.Errorf("%s: this machine uses %s, want %s", tt.listen, got, tt.local)
		}
	}
}
