// Package redisstore keeps what gateways share about kernels in Redis: records, sessions, quotas, user ids and leases.
//
// Redis is the truth about who may use how much, and an index of what exists; what really exists the engine knows. When
// Redis loses everything, kernels go on, nothing is granted to anybody (an owner without a quota of its own has the
// configured default, and reaches it only after authenticating), and the records come back from the engine's labels.
// User ids come back by themselves, since they are made from the owners' names.
//
// All keys begin with "cellblock:". One owner's keys are:
//
//	cellblock:kernels:OWNER    hash, kernel id → record
//	cellblock:sessions:OWNER   hash, session id → session
//	cellblock:ended:OWNER      hash, kernel id → how it ended, for a day
//
// and those for all:
//
//	cellblock:owners           set of the owners that have kernels
//	cellblock:histories        set of the owners that have ended kernels
//	cellblock:quotas           hash, owner → quota
//	cellblock:uids             hash, owner → user id
//	cellblock:uid:places       set of the places for user ids that are taken
//	cellblock:lease:NAME       the lease's holder, with an expiry
//
// Records, sessions, ends and quotas are JSON behind a signature that is good for their place only, so that who writes
// Redis gives nobody another's kernel; what is not signed counts as absent. User ids and leases are made in scripts,
// which have no key: they decide who comes first and who is kept apart from whom, and give nothing.
//
// Nothing is searched for by pattern, and an owner without kernels leaves no key behind for more than a day. JSON fields that a version
// does not know it ignores. One Redis is meant, not a Redis Cluster.
package redisstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/redis/go-redis/v9"

	"cellblock.io/cellblock/internal/secret"
	"cellblock.io/cellblock/kernels"
)

const (
	prefix       = "cellblock:"
	ownersKey    = prefix + "owners"
	historiesKey = prefix + "histories"
	quotasKey    = prefix + "quotas"
	uidsKey      = prefix + "uids"
	uidPlacesKey = prefix + "uid:places"
	leaseKey     = prefix + "lease:" // and the lease's name

	maxValue    = 64 << 10 // bytes of one record or session
	maxSessions = 1000     // sessions of one owner
)

var (
	_ kernels.Store        = (*Store)(nil)
	_ kernels.SessionStore = (*Store)(nil)
	_ kernels.Quotas       = (*Store)(nil)
	_ kernels.Leases       = (*Store)(nil)
	_ kernels.History      = (*Store)(nil)
)

// Config is what a Store needs.
type Config struct {
	// Client stays the caller's. Its timeouts bound every call (see redisserver.NewClient).
	Client *redis.Client
	// Key signs what is written. All that share one Redis have the same.
	Key secret.Key
	// DefaultQuota is for owners without one of their own.
	DefaultQuota kernels.Quota
	// Log gets a warning for each value that is not readable; nil means none.
	Log *slog.Logger
}

// Store is all of it on one Redis, shared by any number of gateways. When Redis does not answer or answers with an
// error, each call fails with kernels.ErrUnavailable.
type Store struct {
	client *redis.Client
	key    secret.Key
	quota  kernels.Quota
	log    *slog.Logger
}

// New returns a Store; it does not call Redis.
func New(cfg Config) *Store {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Store{client: cfg.Client, key: cfg.Key, quota: cfg.DefaultQuota, log: cfg.Log}
}

func kernelsKey(owner kernels.Owner) string  { return prefix + "kernels:" + string(owner) }
func sessionsKey(owner kernels.Owner) string { return prefix + "sessions:" + string(owner) }

// named reports whether owner and id may be part of a key; what may not does not exist.
func named(owner kernels.Owner, id string) bool { return owner.Valid() && kernels.ValidID(id) }

// unavailable is the error of a call to Redis.
func unavailable(step string, err error) error {
	return fmt.Errorf("%s: %w: %w", step, kernels.ErrUnavailable, err)
}

// field reads one field of a hash: kernels.ErrNotFound when it is not there.
func (s *Store) field(ctx context.Context, key, field string) (string, error) {
	v, err := s.client.HGet(ctx, key, field).Result()
	if errors.Is(err, redis.Nil) {
		return "", kernels.ErrNotFound
	}
	if err != nil {
		return "", unavailable("read "+key, err)
	}
	return v, nil
}
