package redisserver_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"cellblock.io/cellblock/internal/redisserver"
	"cellblock.io/cellblock/internal/secret"
)

// hostDir, when set, makes the test binary a gateway's stand-in: it runs a redis-server there until it is killed.
const hostDir = "REDISSERVER_TEST_HOST"

func TestMain(m *testing.M) {
	if dir := os.Getenv(hostDir); dir != "" {
		srv := redisserver.New(config(dir))
		fmt.Fprintln(os.Stderr, srv.Run(context.Background()))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func config(dir string) redisserver.Config {
	key, err := secret.Make(filepath.Join(dir, "secret.key"))
	if err != nil {
		panic(err)
	}
	return redisserver.Config{Dir: filepath.Join(dir, "data"), Socket: filepath.Join(dir, "s"), Key: key}
}
