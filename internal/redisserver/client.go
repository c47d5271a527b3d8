package redisserver

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Bounds of every client: no call on it takes longer than about twice their sum, whatever its context says.
const (
	dialTimeout = 2 * time.Second
	callTimeout = 3 * time.Second // reading or writing once, and waiting for a free connection
	poolSize    = 64              // connections of one client, at most
)

// NewClient makes a client for a URL (redis://, rediss:// or unix://, with user, password and database as go-redis
// reads them). It connects when first used. Deadlines of contexts count, every wait and the number of connections are
// bounded, and a call is tried twice at most. The caller closes it. Errors never show the URL, which may hold a password.
func NewClient(rawURL string) (*redis.Client, error) {
	opt, err := redis.ParseURL(rawURL)
	if err != nil {
		if ue := (*url.Error)(nil); errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, fmt.Errorf("redis URL: %w", err)
	}
	opt.DialTimeout = dialTimeout
	opt.DialerRetries = 1
	opt.ReadTimeout = callTimeout
	opt.WriteTimeout = callTimeout
	opt.PoolTimeout = callTimeout
	opt.PoolSize = poolSize
	opt.MaxActiveConns = poolSize
	opt.PipelinePoolSize = -1 // pipelines share the pool
	opt.MaxRetries = 1
	opt.ContextTimeoutEnabled = true
	opt.DisableIdentity = true
	opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return redis.NewClient(opt), nil
}
