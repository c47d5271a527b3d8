package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"cellblock.io/cellblock/internal/config"
)

const example = "../../deploy/cellblock.example.yaml"

func none(string) string { return "" }

// load writes text to a file and loads it.
func load(t *testing.T, text string, env map[string]string) (config.Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Load(path, func(k string) string { return env[k] })
}

func TestExampleShowsEveryKeyWithItsDefault(t *testing.T) {
	data, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	got, err := config.Parse(example, data)
	if err != nil {
		t.Fatal(err)
	}
	if err := got.Validate(); err != nil {
		t.Errorf("the defaults are not valid: %v", err)
	}
	if want := config.Default(); !reflect.DeepEqual(got, want) {
		t.Errorf("the example differs from the defaults:\n got %+v\nwant %+v", got, want)
	}
	var tree map[string]any
	if err := yaml.Unmarshal(data, &tree); err != nil {
		t.Fatal(err)
	}
	for _, key := range config.Keys() {
		if !has(tree, strings.Split(key.Path, ".")) {
			t.Errorf("the example lacks %s (default %q)", key.Path, key.Default)
		}
	}
}

func has(tree map[string]any, path []string) bool {
	value, ok := tree[path[0]]
	if len(path) == 1 {
		return ok
	}
	inner, _ := value.(map[string]any)
	return has(inner, path[1:])
}

// Every key in the example stands under a comment that says what it is for.
func TestExampleExplainsItsSections(t *testing.T) {
	data, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	for block := range strings.SplitSeq(string(data), "\n\n") {
		if !strings.HasPrefix(strings.TrimSpace(block), "#") && !strings.Contains(block, "\n  #") {
			t.Errorf("no comment explains:\n%s", block)
		}
	}
}

func TestEveryKeyCanBeSetByTheEnvironment(t *testing.T) {
	for _, key := range config.Keys() {
		if want := "CELLBLOCK_" + strings.ToUpper(strings.ReplaceAll(key.Path, ".", "_")); key.Env != want {
			t.Errorf("%s: variable %s, want %s", key.Path, key.Env, want)
		}
	}
	c, err := load(t, "listen: 127.0.0.1:1\nlimits: {memory: 2g}\n", map[string]string{
		"CELLBLOCK_LISTEN":            "127.0.0.1:2",
		"CELLBLOCK_LIMITS_CPUS":       "0.5",
		"CELLBLOCK_CULL_CONNECTED":    "false",
		"CELLBLOCK_KERNELS_ENV_ALLOW": "LANG, TZ",
		"CELLBLOCK_AUTH_JWT_LEEWAY":   "1m",
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:2" || c.Limits.CPUs != 0.5 || c.Limits.Memory != 2<<30 || c.Cull.Connected ||
		!reflect.DeepEqual(c.Kernels.EnvAllow, []string{"LANG", "TZ"}) || c.Auth.JWT.Leeway != time.Minute {
		t.Errorf("not what file and environment say: %+v", c)
	}
}

func TestWrongFiles(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"misspelt", "log:\n  levle: info\n", ":2: unknown key log.levle; did you mean log.level?"},
		{"misspelt section", "kernel:\n  images: []\n", ":1: unknown key kernel; did you mean kernels?"},
		{"wrong section", "max_kernels: 3\n", ":1: unknown key max_kernels; did you mean quota.max_kernels?"},
		{"unlike anything", "colour_of_the_sky: blue\n", ":1: unknown key colour_of_the_sky"},
		{"twice", "instance: a\ninstance: b\n", ":2: instance was set in line 1 already"},
		{"section without keys", "log: loud\n", ":1: log must have keys and values"},
		{"list for a value", "listen: [a]\n", ":1: listen must be a single value"},
		{"value for a list", "kernels:\n  images: a\n", ":2: kernels.images must be a list: write [one, two]"},
		{"nested list", "allow_origins: [[a]]\n", ":1: allow_origins: every item must be a single value"},
		{"no list of a file", "- a\n", ":1: the file must have keys and values"},
		{"time", "cull:\n  interval: 60\n", `:2: cull.interval: "60" is not a length of time: write for example 90s, 30m or 1h30m`},
		{"size", "limits:\n  memory: much\n", `:2: limits.memory: "much" is not a size: write for example 512m or 1g`},
		{"huge size", "limits: {memory: 9999999999999t}\n", `is not a size`},
		{"bool", "cull: {busy: yes please}\n", `"yes please" is neither true nor false`},
		{"int", "limits: {pids: many}\n", `"many" is not a whole number`},
		{"float", "limits: {cpus: .inf}\n", `".inf" is not a number`},
		{"syntax", "log: {level\n", "c.yaml: yaml: line 1"},
		{"two documents", "listen: a:1\n---\nlisten: b:1\n", "more than one YAML document"},
		{"alias", "listen: &a 127.0.0.1:1\nbase_url: *a\n", ":2: base_url must be a single value"},
		{"too large", strings.Repeat("#", 1<<20+1), "is larger than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(t, tt.text, nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v\nwant one with %q", err, tt.want)
			}
		})
	}
}

func TestAllErrorsAtOnce(t *testing.T) {
	_, err := load(t, "lisen: a\nlog: {level: 3, colour: red}\nlimits: {cpus: x}\n", map[string]string{"CELLBLOCK_QUOTA_MAX_KERNELS": "x"})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"did you mean listen?", "log.colour", "limits.cpus", "CELLBLOCK_QUOTA_MAX_KERNELS"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named in:\n%v", want, err)
		}
	}
}

func TestMissingFile(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "absent.yaml")
	if _, err := config.Load(absent, none); err == nil || !strings.Contains(err.Error(), absent) {
		t.Errorf("a named file that is missing: %v", err)
	}
	env := func(k string) string { return map[string]string{"CELLBLOCK_CONFIG": absent}[k] }
	if _, err := config.Load("", env); err == nil || !strings.Contains(err.Error(), absent) {
		t.Errorf("a file named by CELLBLOCK_CONFIG that is missing: %v", err)
	}
}

func TestEmptyFileAndEmptySectionAreTheDefaults(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "log:\nredis:\n  url:\n"} {
		c, err := load(t, text, nil)
		if err != nil || !reflect.DeepEqual(c, config.Default()) {
			t.Errorf("%q: %v %+v", text, err, c)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]config.Size{"0": 0, "1000": 1000, "64k": 64 << 10, "1g": 1 << 30, "2GiB": 2 << 30, "3MB": 3 << 20, "1t": 1 << 40} {
		got, err := config.ParseSize(text)
		if err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
		if back, err := config.ParseSize(got.String()); err != nil || back != want {
			t.Errorf("%q → %q → %d, %v", text, got, back, err)
		}
	}
	for _, text := range []string{"", "g", "-1", "1.5g", "1x", "9223372036854775808"} {
		if n, err := config.ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", text, n)
		}
	}
}
