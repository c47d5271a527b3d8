package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"cellblock.io/cellblock/auth"
	"cellblock.io/cellblock/internal/config"
	"cellblock.io/cellblock/internal/redisserver"
	"cellblock.io/cellblock/internal/secret"
	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/kernels/redisstore"
)

// officeTimeout is for all that one administrator's command does in Redis.
const officeTimeout = 15 * time.Second

// errNoGateway means that the private Redis is not there, which runs as long as its gateway does.
var errNoGateway = errors.New("the gateway is not running (start it with deploy/up or cellblock serve)")

// office is where an administrator's command works: the records that gateways share.
type office struct {
	cfg   config.Config
	auth  *auth.Service
	store *redisstore.Store
}

// inOffice loads the configuration, connects to Redis and calls fn.
func (a *app) inOffice(ctx context.Context, fn func(context.Context, *office) error) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	key, err := officeKey(cfg)
	if err != nil {
		return err
	}
	client, err := redisserver.NewClient(redisURL(cfg, key))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, officeTimeout)
	defer cancel()
	if err := reach(ctx, cfg, client); err != nil {
		return err
	}
	service, err := auth.New(auth.Config{Redis: client, Key: key})
	if err != nil {
		return err
	}
	return fn(ctx, &office{cfg: cfg, auth: service, store: newStore(cfg, key, client, nil)})
}

// reach makes sure that Redis answers, so that one clear sentence says so when it does not.
func reach(ctx context.Context, cfg config.Config, client *redis.Client) error {
	err := client.Ping(ctx).Err()
	absent := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
	switch {
	case err == nil:
		return nil
	case absent && cfg.Redis.URL == "":
		return errNoGateway
	case absent:
		return fmt.Errorf("nobody answers at redis.url: start that Redis, or leave redis.url empty for a private one: %w", err)
	}
	return fmt.Errorf("reach Redis: %w", err)
}

// officeKey reads the installation's key, which the gateway makes when it starts for the first time.
func officeKey(cfg config.Config) (secret.Key, error) {
	key, err := secret.Read(cfg.KeyFile())
	switch {
	case !errors.Is(err, fs.ErrNotExist):
		return key, err
	case cfg.Redis.URL == "":
		return key, errNoGateway
	}
	return key, fmt.Errorf("there is no %s: start the gateway once, which makes it, or copy that of the gateways that share this Redis", cfg.KeyFile())
}

// redisURL is the address of the configured Redis, or of the private one.
func redisURL(cfg config.Config, key secret.Key) string {
	if cfg.Redis.URL != "" {
		return cfg.Redis.URL
	}
	return privateRedis(cfg, key, nil).URL()
}

// owner checks the name of a user whom a flag or argument names.
func owner(name string) (kernels.Owner, error) {
	if o := kernels.Owner(name); o.Valid() {
		return o, nil
	}
	return "", &usageError{fmt.Sprintf("%q cannot be a user's name: 1 to 64 small letters, digits and _.@-, beginning with a letter or digit", name)}
}

// knownUser returns an error with the way out unless there is a user of that name.
func (o *office) knownUser(ctx context.Context, name string) error {
	if _, err := owner(name); err != nil {
		return err
	}
	_, err := o.auth.User(ctx, name)
	return noSuchUser(name, err)
}

// noSuchUser puts the way out into an error about a user who does not exist.
func noSuchUser(name string, err error) error {
	if errors.Is(err, auth.ErrNotFound) {
		return fmt.Errorf("there is no user %s (cellblock user add %s)", name, name)
	}
	return err
}
