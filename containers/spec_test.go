package containers_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containers/podman/v4/pkg/specgen"

	"cellblock.io/cellblock/containers"
	"cellblock.io/cellblock/kernels"
)

var update = flag.Bool("update", false, "write testdata anew")

func goldenConfig() containers.Config {
	return containers.Config{
		Socket: "/run/cellblock/podman.sock", RunDir: "/run/cellblock/kernels", Instance: "cellblock",
		BridgeImage: containers.DefaultBridgeImage, BridgeArgs: []string{"--journal-messages", "1000"},
	}
}

func goldenLaunch() kernels.Launch {
	return kernels.Launch{
		UID: 20000,
		Record: kernels.Record{
			ID: "0d7a3a1e-7f5c-4c7e-8f0a-3f1c2b9d5e10", Owner: "ann@example.org", Handle: "00112233445566778899aabbccddeeff",
			Spec: "python3", Created: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
		},
		Spec: kernels.Spec{
			Name: "python3", Image: "0123456789abcdef", Resources: map[string][]byte{"logo-svg.svg": []byte("<svg/>")},
			JSON: json.RawMessage(`{"display_name":"Python 3","language":"python","env":{"OPENBLAS_NUM_THREADS":"1","LANG":"de_DE.UTF-8"}}`),
		},
		Env: map[string]string{"TZ": "Europe/Berlin"},
	}
}

var everything = containers.Capabilities{
	CgroupVersion: "v2", CPU: true, Memory: true, PIDs: true, Rootless: true, Root: 4194304, Init: "/usr/libexec/podman/catatonit",
}

// The specs say everything that a container may have; a change of one is a change of the sandbox.
func TestSpecs(t *testing.T) {
	tests := []struct {
		name string
		caps containers.Capabilities
	}{
		{"limited", everything},
		{"unlimited", containers.Capabilities{CgroupVersion: "v2", Rootless: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := containers.NewBuilder(goldenConfig(), tt.caps)
			kernel, err := containers.KernelSpec(b, goldenLaunch())
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "kernel-"+tt.name, kernel)
			golden(t, "bridge-"+tt.name, containers.BridgeSpec(b, goldenLaunch()))
		})
	}
}

// A network adds to a kernel's spec what it needs and changes nothing else.
func TestNetworkSpecs(t *testing.T) {
	cfg := goldenConfig()
	cfg.Shim = "/usr/local/bin/cellblock-shim"
	for _, network := range []containers.Network{containers.Allowlist, containers.Internet} {
		b := containers.NewBuilder(cfg, everything)
		kernel, err := containers.KernelSpec(b, goldenLaunch())
		if err != nil {
			t.Fatal(err)
		}
		containers.ConnectSpec(b, kernel, goldenLaunch(), network, "/usr/local/bin/kernel", "--quiet")
		golden(t, "kernel-"+string(network), kernel)
	}
}

func golden(t *testing.T, name string, spec *specgen.SpecGenerator) {
	t.Helper()
	got, err := json.MarshalIndent(spec, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	file := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test -update writes it anew):\n%s", file, got)
	}
}

// Whatever a tenant or a kernelspec says, the sandbox stays as it is.
func TestSpecsForbidden(t *testing.T) {
	b := containers.NewBuilder(goldenConfig(), everything)
	kernel, err := containers.KernelSpec(b, goldenLaunch())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*specgen.SpecGenerator{kernel, containers.BridgeSpec(b, goldenLaunch())} {
		bad := s.Privileged || len(s.CapAdd) > 0 || len(s.Groups) > 0 || len(s.Devices) > 0 || s.EnvHost || s.HTTPProxy ||
			len(s.Annotations) > 0 || len(s.SelinuxOpts) > 0 || len(s.Unmask) > 0 || s.Terminal || s.Stdin || s.ReadWriteTmpfs ||
			!s.NoNewPrivileges || !s.ReadOnlyFilesystem || len(s.CapDrop) != 1 || s.CapDrop[0] != "all"
		if bad {
			t.Errorf("%s: %+v", s.Name, s)
		}
		for _, m := range s.Mounts {
			options := strings.Join(m.Options, ",")
			if !strings.Contains(options, "nosuid,nodev") || strings.HasSuffix(m.Source, ".sock") {
				t.Errorf("%s: mount %+v", s.Name, m)
			}
		}
	}
}

func TestEnvironment(t *testing.T) {
	many := make(map[string]string)
	for i := range 300 {
		many["V"+strings.Repeat("x", i%100)+string(rune('a'+i/100))] = "1"
	}
	tests := []struct {
		name string
		env  map[string]string
		ok   bool
	}{
		{"plain", map[string]string{"A_1": "x=y\n"}, true},
		{"none", nil, true},
		{"a name with =", map[string]string{"A=B": "1"}, false},
		{"no name", map[string]string{"": "1"}, false},
		{"a digit first", map[string]string{"1A": "1"}, false},
		{"a NUL", map[string]string{"A": "a\x00B=c"}, false},
		{"a long value", map[string]string{"A": strings.Repeat("x", 70_000)}, false},
		{"many", many, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := containers.CheckEnv(tt.env)
			if (err == nil) != tt.ok || err != nil && !errors.Is(err, kernels.ErrInvalid) {
				t.Error(err)
			}
		})
	}
}

// The directories in which the parts of a kernel meet have the rights that their users need and no more.
func TestRunDir(t *testing.T) {
	root := filepath.Join(t.TempDir(), "kernels")
	if err := containers.PrepareDir(root); err != nil {
		t.Fatal(err)
	}
	dir := containers.KernelDir(filepath.Join(root, "00ff"))
	if err := errors.Join(containers.ClaimDir(dir), containers.FillDir(dir, "python3", containers.NoNetwork)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{
		"": 0o700, "00ff": 0o700, "00ff/conf": 0o755, "00ff/gate": 0o777, "00ff/conf/connection.json": 0o644,
		"00ff/conf/hosts": 0o644, "00ff/conf/resolv.conf": 0o644,
	} {
		info, err := os.Lstat(filepath.Join(root, path))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%q: mode %v, want %v (%v)", path, info.Mode().Perm(), want, err)
		}
	}
	var c struct {
		Transport, IP, Key string
		Scheme             string `json:"signature_scheme"`
		Shell              int    `json:"shell_port"`
		Heartbeat          int    `json:"hb_port"`
		Name               string `json:"kernel_name"`
	}
	text, _ := os.ReadFile(filepath.Join(root, "00ff/conf/connection.json"))
	if err := json.Unmarshal(text, &c); err != nil || c.Transport != "ipc" || c.IP != "/run/cellblock/sock/k" || len(c.Key) != 64 ||
		c.Scheme != "hmac-sha256" || c.Shell != 1 || c.Heartbeat != 5 || c.Name != "python3" {
		t.Errorf("connection file %s: %v", text, err)
	}
	if err := containers.ClaimDir(dir); !errors.Is(err, kernels.ErrExists) {
		t.Errorf("claimed twice: %v", err)
	}
}

// Everybody can connect to what lies below the run directory, so it must be closed itself.
func TestRunDirRefused(t *testing.T) {
	root := t.TempDir()
	open, link, file := filepath.Join(root, "open"), filepath.Join(root, "link"), filepath.Join(root, "file")
	err := errors.Join(os.Mkdir(open, 0o700), os.Chmod(open, 0o711), os.Symlink(t.TempDir(), link), os.WriteFile(file, nil, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{open, link, file} {
		if err := containers.PrepareDir(path); err == nil {
			t.Errorf("%s was accepted", path)
		}
	}
}
