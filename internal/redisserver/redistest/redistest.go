// Package redistest starts real Redis servers for tests.
package redistest

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"cellblock.io/cellblock/internal/redisserver"
	"cellblock.io/cellblock/internal/secret"
)

const startTimeout = 20 * time.Second

// Instance is a running redis-server that belongs to one test.
type Instance struct {
	// Client may do what Cellblock may, Admin everything. Both are closed with the test.
	Client, Admin *redis.Client
	// URL is what redisserver.NewClient takes for Client, AdminURL for Admin.
	URL, AdminURL string

	stop func()
}

// Stop shuts the server down now and waits until it has ended; its data stay until the test ends. Calling it again
// does nothing.
func (i *Instance) Stop() { i.stop() }

// Start runs an empty redis-server and waits until it answers. The test's end stops it and removes all of it.
func Start(t testing.TB) *Instance {
	t.Helper()
	dir, err := os.MkdirTemp("", "redis") // not t.TempDir: a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return StartIn(t, dir)
}

// StartIn does the same on a directory that the caller keeps, with the data that are there.
func StartIn(t testing.TB, dir string) *Instance {
	t.Helper()
	key, err := secret.Make(filepath.Join(dir, "secret.key"))
	if err != nil {
		t.Fatal(err)
	}
	srv := redisserver.New(redisserver.Config{Dir: filepath.Join(dir, "data"), Socket: filepath.Join(dir, "s"), Key: key})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("redis-server: %v", err)
		}
	})
	t.Cleanup(stop)

	ready, done := context.WithTimeout(ctx, startTimeout)
	defer done()
	if err := srv.Ready(ready); err != nil {
		t.Fatal(err)
	}
	return &Instance{Client: connect(t, srv.URL()), Admin: connect(t, srv.AdminURL()), URL: srv.URL(), AdminURL: srv.AdminURL(), stop: stop}
}

func connect(t testing.TB, url string) *redis.Client {
	t.Helper()
	client, err := redisserver.NewClient(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}
