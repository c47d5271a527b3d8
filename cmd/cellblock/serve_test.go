package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"cellblock.io/cellblock/internal/config"
)

const patience = 30 * time.Second

// serveFails runs serve, which must end by itself with these words.
func (d *desk) serveFails(words ...string) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	r := d.runIn(ctx, "serve")
	if ctx.Err() != nil {
		d.t.Fatalf("serve did not end by itself:\n%s", r.err)
	}
	last := r.err[max(0, strings.LastIndex(r.err, "cellblock: ")):]
	if r.code != exitFailure {
		d.t.Errorf("status %d", r.code)
	}
	for _, w := range words {
		if !strings.Contains(last, w) {
			d.t.Errorf("%q is missing in\n%s", w, r.err)
		}
	}
}

// sockets are those in the desk's run directory.
func (d *desk) sockets() (names []string) {
	d.t.Helper()
	paths, err := filepath.Glob(filepath.Join(filepath.Dir(d.env["CELLBLOCK_CONFIG"]), "run", "*", "*.sock"))
	if err != nil {
		d.t.Fatal(err)
	}
	for _, p := range paths {
		names = append(names, filepath.Base(p))
	}
	return names
}

func TestServeWithoutPodman(t *testing.T) {
	d := newDesk(t, "podman: {command: no-such-podman}")
	d.serveFails("podman not found", "apt-get install podman", "podman.command")
	if left := d.sockets(); len(left) > 0 {
		t.Errorf("the private Redis was left running: %v", left)
	}
}

func TestServeWithoutRedis(t *testing.T) {
	newDesk(t, "redis: {command: no-such-redis}").serveFails("redis-server not found", "apt-get install redis-server", "redis.url")
	newDesk(t, "redis: {url: \"redis://127.0.0.1:1\"}").serveFails("nobody answers at redis.url")
}

func TestServeWhereAnotherListens(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	d := newDesk(t, "")
	d.env["CELLBLOCK_LISTEN"] = ln.Addr().String()
	d.serveFails("address already in use", "another program listens there", "--listen")
}

func TestServeTwiceInOnePlace(t *testing.T) {
	d := newDesk(t, "")
	cfg, err := config.Load(d.env["CELLBLOCK_CONFIG"], func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	release, err := takeFront(cfg)
	if err != nil {
		t.Fatal(err)
	}
	d.serveFails("another gateway runs in "+cfg.RunDir, "redis.url")
	release()
	again, err := takeFront(cfg)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestServeWithBadPlaces(t *testing.T) {
	d := newDesk(t, "")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d.env["CELLBLOCK_STATE_DIR"] = filepath.Join(file, "state")
	d.serveFails("make state_dir", "not a directory", "name a directory of this user's")
	d = newDesk(t, "tls: {cert: /nonexistent, key: /nonexistent}")
	d.serveFails("load tls.cert and tls.key")
	d.fails(exitFailure, []string{"load tls.cert and tls.key"}, "serve", "--check")
	newDesk(t, "").must("serve", "--check")
}

// enginePlace is Podman's socket with one who answers as an engine does that has nothing. info is more of what it says.
func enginePlace(t *testing.T, info string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "engine")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	ln, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Libpod-API-Version", "4.3.1")
		switch {
		case strings.HasSuffix(r.URL.Path, "/_ping"):
			fmt.Fprint(w, "OK")
		case strings.HasSuffix(r.URL.Path, "/info"):
			fmt.Fprintf(w, `{"host":%s,"version":{"Version":"4.3.1"}}`, info)
		default:
			http.Error(w, `{"cause":"no such image","message":"no such image","response":404}`, http.StatusNotFound)
		}
	})}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ln) }()
	t.Cleanup(func() {
		server.Close()
		<-ended
	})
	return "unix://" + ln.Addr().String()
}

// What engines say of a host.
const (
	ableHost   = `{"cgroupVersion":"v2","cgroupControllers":["cpu","memory","pids"],"security":{"rootless":true,"seccompEnabled":true}}`
	rootfulOne = `{"cgroupVersion":"v2","cgroupControllers":["cpu","memory","pids"],"security":{"rootless":false,"seccompEnabled":true}}`
	unableHost = `{"cgroupVersion":"v2","cgroupControllers":["pids"],"security":{"rootless":true,"seccompEnabled":true}}`
	openHost   = `{"cgroupVersion":"v2","cgroupControllers":["cpu","memory","pids"],"security":{"rootless":true,"seccompEnabled":false}}`
)

func TestServeWithoutImages(t *testing.T) {
	d := newDesk(t, "podman: {socket: \""+enginePlace(t, ableHost)+"\"}")
	d.serveFails("There is no image localhost/cellblock/bridge:latest (bridge_image)", "deploy/up")
}

func TestServeRefusesARootfulPodman(t *testing.T) {
	d := newDesk(t, "podman: {socket: \""+enginePlace(t, rootfulOne)+"\"}")
	d.serveFails("This Podman runs as root", "deploy/up")
}

func TestServeRefusesWhatItCannotEnforce(t *testing.T) {
	d := newDesk(t, "podman: {socket: \""+enginePlace(t, unableHost)+"\"}")
	d.serveFails("without limits on: cpu, memory.", "systemd.unified_cgroup_hierarchy=1", "limits.unenforceable: allow in "+d.env["CELLBLOCK_CONFIG"])
	d.env["CELLBLOCK_LIMITS_UNENFORCEABLE"] = "allow"
	d.serveFails("There is no image") // which is looked at afterwards
	d = newDesk(t, "podman: {socket: \""+enginePlace(t, openHost)+"\"}")
	d.serveFails("without a system call filter (seccomp)", "CONFIG_SECCOMP_FILTER=y")
}

// A gateway that is told to end while it starts ends at once, cleanly, with all that it has started.
func TestSignalDuringTheStart(t *testing.T) {
	dir := t.TempDir()
	started := filepath.Join(dir, "started")
	slow := filepath.Join(dir, "podman") // one that never gets ready
	if err := os.WriteFile(slow, []byte("#!/bin/sh\n: >"+started+"\nexec sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	d := newDesk(t, "podman: {command: "+slow+"}")
	ctx, signal := context.WithCancel(t.Context())
	ended := make(chan result, 1)
	go func() { ended <- d.runIn(ctx, "serve") }()
	for deadline := time.Now().Add(patience); ; {
		if _, err := os.Stat(started); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("podman was not started")
		}
		<-time.After(10 * time.Millisecond)
	}
	signal()
	select {
	case r := <-ended:
		if r.code != 0 {
			t.Errorf("status %d:\n%s", r.code, r.err)
		}
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
	if left := d.sockets(); len(left) > 0 {
		t.Errorf("left running: %v", left)
	}
}

func TestEdges(t *testing.T) {
	cfg := config.Config{PublicURL: "https://cells.example.org/x/", AllowOrigins: []string{"https://lab.example.org"}}
	if got, want := origins(cfg), []string{"https://lab.example.org", "https://cells.example.org"}; !reflect.DeepEqual(got, want) {
		t.Errorf("origins %v, want %v", got, want)
	}
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("::1/128")}
	if got := proxies([]string{"10.1.2.3/8", "192.0.2.1", "::1"}); !reflect.DeepEqual(got, want) {
		t.Errorf("proxies %v, want %v", got, want)
	}
}
