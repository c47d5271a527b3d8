package containers_test

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"testing"

	"cellblock.io/cellblock/containers"
	"cellblock.io/cellblock/kernels"
)

func TestLook(t *testing.T) {
	p := newPodman(t)
	p.on("GET /images/python/json", answer(200, specImage[:len(specImage)-1]+`,"GraphDriver":{"Name":"overlay",
		"Data":{"UpperDir":"/g/top/diff","LowerDir":"/g/mid/diff:/g/low/diff"}}}`))
	p.on("GET /images/plain/json", answer(200, `{"Id":"sha2","GraphDriver":{"Name":"vfs","Data":{"UpperDir":"/g"}}}`))
	p.on("GET /images/none/json", answer(404, `{"response":404,"message":"no such image"}`))
	s, err := containers.Look(t.Context(), p.cfg.Socket, []string{"python", "plain", "none"})
	if err != nil {
		t.Fatal(err)
	}
	if !s.CPU || !s.IO || s.Version != "4.3.1" {
		t.Errorf("%+v", s.Capabilities)
	}
	if want := (containers.ImageSurvey{Layers: []string{"/g/top/diff", "/g/mid/diff", "/g/low/diff"}}); !reflect.DeepEqual(s.Images["python"], want) {
		t.Errorf("python: %+v", s.Images["python"])
	}
	if plain := s.Images["plain"]; plain.Missing || plain.Fault == "" || plain.Layers != nil {
		t.Errorf("plain: %+v", plain)
	}
	if none := s.Images["none"]; !none.Missing {
		t.Errorf("none: %+v", none)
	}
	if _, err := os.Stat(p.cfg.RunDir); err == nil {
		t.Error("looking has made the run directory")
	}
	p.on("GET /images/none/json", answer(500, `{"response":500,"message":"broken"}`))
	if _, err := containers.Look(t.Context(), p.cfg.Socket, []string{"none"}); err == nil {
		t.Error("an engine's error is a missing image")
	}
	p.server.Close()
	if _, err := containers.Look(t.Context(), p.cfg.Socket, nil); !errors.Is(err, kernels.ErrUnavailable) {
		t.Errorf("no Podman: %v", err)
	}
}

func TestCapabilitiesOfStorage(t *testing.T) {
	for store, native := range map[string]bool{
		`{"graphDriverName":"overlay","graphOptions":{"overlay.mountopt":"nodev"},"graphRoot":"/g"}`:                      true,
		`{"graphDriverName":"overlay","graphOptions":{"overlay.mount_program":{"Executable":"/usr/bin/fuse-overlayfs"}}}`: false,
		`{"graphDriverName":"vfs","graphOptions":{}}`:                                                                     false,
	} {
		p := newPodman(t)
		p.on("GET /info", answer(200, fmt.Sprintf(`{"host":{"cgroupVersion":"v2"},"store":%s,"version":{"Version":"4.3.1"}}`, store)))
		caps, err := p.connect(t).Capabilities(t.Context())
		if err != nil || caps.Native != native {
			t.Errorf("%s: %+v (%v)", store, caps, err)
		}
	}
}

func TestCheckPrivate(t *testing.T) {
	dir := t.TempDir()
	for mode, want := range map[os.FileMode]bool{0o700: true, 0o750: false, 0o701: false} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := containers.CheckPrivate(dir, info, os.Geteuid()); (err == nil) != want {
			t.Errorf("mode %v: %v", mode, err)
		}
		if err := containers.CheckPrivate(dir, info, os.Geteuid()+1); err == nil {
			t.Errorf("mode %v: another user's is taken", mode)
		}
	}
}
