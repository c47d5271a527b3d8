package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"cellblock.io/cellblock/auth"
	"cellblock.io/cellblock/internal/redisserver/redistest"
	"cellblock.io/cellblock/internal/secret"
	"cellblock.io/cellblock/kernels/redisstore"
)

// TestMain also stands for the program that serve starts as its launcher.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "launcher" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// result is what one command line gave.
type result struct {
	code     int
	out, err string
}

// desk is a place from which commands are given: a configuration, and the Redis that it names.
type desk struct {
	t     *testing.T
	env   map[string]string
	auth  *auth.Service
	store *redisstore.Store
}

// newDesk has a configuration of its own in a new directory; settings are more lines of it.
func newDesk(t *testing.T, settings string) *desk {
	t.Helper()
	dir, err := os.MkdirTemp("", "cb") // not t.TempDir: paths of sockets must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "config.yaml")
	text := "state_dir: " + dir + "/state\nrun_dir: " + dir + "/run\nlisten: 127.0.0.1:0\n" + settings
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return &desk{t: t, env: map[string]string{"CELLBLOCK_CONFIG": path}}
}

// newOffice is a desk with a real Redis.
func newOffice(t *testing.T, settings string) *desk {
	t.Helper()
	redis := redistest.Start(t)
	d := newDesk(t, settings+"\nredis: {url: \""+redis.URL+"\"}\n")
	key := d.makeKey()
	var err error
	if d.auth, err = auth.New(auth.Config{Redis: redis.Client, Key: key}); err != nil {
		t.Fatal(err)
	}
	d.store = redisstore.New(redisstore.Config{Client: redis.Client, Key: key})
	return d
}

// makeKey makes the installation's key, as the gateway does when it starts.
func (d *desk) makeKey() secret.Key {
	d.t.Helper()
	state := filepath.Join(filepath.Dir(d.env["CELLBLOCK_CONFIG"]), "state")
	if err := os.MkdirAll(state, 0o700); err != nil {
		d.t.Fatal(err)
	}
	key, err := secret.Make(filepath.Join(state, "secret.key"))
	if err != nil {
		d.t.Fatal(err)
	}
	return key
}

// run gives one command.
func (d *desk) run(args ...string) result { return d.runIn(d.t.Context(), args...) }

func (d *desk) runIn(ctx context.Context, args ...string) result {
	var out, err bytes.Buffer
	code := run(ctx, process{
		Args: args, Getenv: func(k string) string { return d.env[k] }, In: strings.NewReader(""), Out: &out, Err: &err,
	})
	return result{code, out.String(), err.String()}
}

// must gives a command that has to succeed and to say nothing on standard error.
func (d *desk) must(args ...string) string {
	d.t.Helper()
	r := d.run(args...)
	if r.code != 0 || r.err != "" {
		d.t.Fatalf("cellblock %s: status %d\n%s", strings.Join(args, " "), r.code, r.err)
	}
	return r.out
}

// fails gives a command that has to fail with a status, words on standard error, and nothing on standard output.
func (d *desk) fails(code int, words []string, args ...string) {
	d.t.Helper()
	r := d.run(args...)
	line := "cellblock " + strings.Join(args, " ")
	if r.code != code || r.out != "" {
		d.t.Errorf("%s: status %d, output %q; want status %d and no output", line, r.code, r.out, code)
	}
	if !strings.HasPrefix(r.err, "cellblock: ") {
		d.t.Errorf("%s: %q does not say who speaks", line, r.err)
	}
	for _, w := range words {
		if !strings.Contains(r.err, w) {
			d.t.Errorf("%s: %q is missing in\n%s", line, w, r.err)
		}
	}
}

// decode reads a command's JSON.
func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return v
}
