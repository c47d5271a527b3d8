package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"cellblock.io/cellblock/auth"
)

func TestCommandLinesThatSayNothing(t *testing.T) {
	d := newDesk(t, "")
	tests := []struct{ line, want string }{
		{"usr", `there is no command "usr" in cellblock; did you mean user?`},
		{"user ad", `there is no command "ad" in cellblock user; did you mean add?`},
		{"user add", "write cellblock user add NAME"},
		{"user add a b", "write cellblock user add NAME"},
		{"user add --colour red a", "unknown flag: --colour"},
		{"user add Alice", `"Alice" cannot be a user's name`},
		{"user list all", `cellblock user list takes no "all"`},
		{"user remove", "write cellblock user remove NAME"},
		{"token create", "--user NAME"},
		{"token create --user a --expires soon", `--expires: "soon" is not a length of time`},
		{"user add a --max-kernels x", `--max-kernels: "x" is not a whole number`},
		{"token revoke", "write cellblock token revoke ID"},
		{"kernels stop", "name the kernels to stop, or write --all"},
		{"kernels stop --all x", "name the kernels to stop, or write --all"},
		{"env", "--user NAME"},
		{"bridge", "--connection-file FILE --listen ADDRESS"},
		{"serve now", `takes no "now"`},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			d := &desk{t: t, env: d.env}
			if tt.line == "user add Alice" {
				d = newOffice(t, "")
			}
			d.fails(exitUsage, []string{tt.want}, strings.Fields(tt.line)...)
		})
	}
}

// Every command can be understood from its own help.
func TestHelp(t *testing.T) {
	d := newDesk(t, "")
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Name() == "help" || cmd.Hidden {
			return
		}
		words := strings.Fields(cmd.CommandPath())[1:]
		out := d.must(append(words, "--help")...)
		if cmd.Short == "" || !strings.Contains(out, "Examples:") || !strings.Contains(out, "cellblock "+strings.Join(words, " ")) {
			t.Errorf("%s: the help lacks a sentence or an example:\n%s", cmd.CommandPath(), out)
		}
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk(newRoot(&app{}))
	if alone := d.must("user"); !strings.Contains(alone, "Available Commands:") {
		t.Errorf("a group alone does not show its commands:\n%s", alone)
	}
}

func TestWrongConfiguration(t *testing.T) {
	d := newDesk(t, "colour: red\ncull: {interval: 0s}\n")
	d.fails(exitFailure, []string{"config.yaml:4: unknown key colour"}, "user", "list")
	d.env["CELLBLOCK_CONFIG"] = filepath.Join(t.TempDir(), "absent.yaml")
	d.fails(exitFailure, []string{"absent.yaml", "no such file"}, "status")
	d = newDesk(t, "")
	d.fails(exitFailure, []string{`log.level: "loud"`}, "--log-level", "loud", "status")
	d.env["CELLBLOCK_LIMITS_CPUS"] = "-1"
	d.fails(exitFailure, []string{"limits.cpus: write a number"}, "serve")
}

func TestFlagNamesTheConfiguration(t *testing.T) {
	d := newOffice(t, "")
	path := d.env["CELLBLOCK_CONFIG"]
	d.env["CELLBLOCK_CONFIG"] = "/nonexistent"
	d.must("--config", path, "user", "add", "alice")
	d.must("user", "list", "--config", path)
}

func TestVersion(t *testing.T) {
	d := newDesk(t, "")
	if out := d.must("version"); !strings.HasPrefix(out, "cellblock ") || strings.Count(out, "\n") != 1 {
		t.Errorf("%q", out)
	}
	if b := decode[build](t, d.must("version", "--json")); b.Version == "" || b.Go == "" {
		t.Errorf("%+v", b)
	}
}

func TestWithoutGateway(t *testing.T) {
	d := newDesk(t, "")
	for _, line := range []string{"user list", "token list", "kernels list", "env --user alice", "user add alice"} {
		d.fails(exitFailure, []string{"the gateway is not running", "cellblock serve"}, strings.Fields(line)...)
	}
}

func TestConfiguredRedisIsDown(t *testing.T) {
	d := newDesk(t, "redis: {url: \"redis://:hidden@127.0.0.1:1/0\"}\n")
	d.fails(exitFailure, []string{"there is no", "secret.key", "start the gateway once"}, "user", "list")
	d.makeKey()
	d.fails(exitFailure, []string{"nobody answers at redis.url"}, "user", "list")
	if r := d.run("user", "list"); strings.Contains(r.err, "hidden") {
		t.Errorf("the error shows Redis' password: %s", r.err)
	}
}

func TestExplain(t *testing.T) {
	tests := []struct {
		err  error
		want string
	}{
		{&os.PathError{Op: "open", Path: "/run/x", Err: syscall.EACCES}, "run this as root or as the user of the gateway"},
		{fmt.Errorf("listen: %w", syscall.EADDRINUSE), "another program listens there"},
		{fmt.Errorf("list: %w", auth.ErrUnavailable), "is the gateway running?"},
		{errors.New("plain"), "plain"},
	}
	for _, tt := range tests {
		if got := explain(tt.err); !strings.HasPrefix(got, tt.err.Error()) || !strings.Contains(got, tt.want) {
			t.Errorf("explain(%v) = %q, want %q in it", tt.err, got, tt.want)
		}
	}
	if got := explain(errNoGateway); got != errNoGateway.Error() {
		t.Errorf("two hints: %q", got)
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 90 * time.Second: "90 s", 3 * time.Minute: "3 min", 5 * time.Hour: "5 h", 72 * time.Hour: "3 d",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %q, want %q", d, got, want)
		}
	}
	if got := ago(time.Time{}); got != "never" {
		t.Errorf("ago of nothing: %q", got)
	}
}

// A client chooses a kernel's name; it must not reach an administrator's terminal as a command.
func TestTableIsHarmless(t *testing.T) {
	if got := harmless("a\x1b]0;evil\x07\tb\nc"); strings.ContainsAny(got, "\x1b\x07\n") || !strings.Contains(got, "\tb") {
		t.Errorf("%q", got)
	}
}
