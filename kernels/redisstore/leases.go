package redisstore

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/redis/go-redis/v9"

	"cellblock.io/cellblock/kernels"
)

// leaseName is the form of a lease's name, which becomes part of a key.
var leaseName = regexp.MustCompile(`^[a-z0-9_.-]{1,64}$`)

// acquire takes or renews a lease. KEYS: the lease. ARGV: holder, milliseconds.
var acquire = redis.NewScript(`
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
	return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`)

// give removes a lease that is the holder's. KEYS: the lease. ARGV: holder.
var give = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then
	redis.call('DEL', KEYS[1])
end
return 1
`)

// Acquire takes or renews the lease for holder and reports whether holder has it for the next ttl, by Redis' clock.
// kernels.ErrInvalid for a name that is no name, no holder, or less than a millisecond.
func (s *Store) Acquire(ctx context.Context, name, holder string, ttl time.Duration) (bool, error) {
	if !leaseName.MatchString(name) || holder == "" || ttl < time.Millisecond {
		return false, fmt.Errorf("%w: lease", kernels.ErrInvalid)
	}
	has, err := acquire.Run(ctx, s.client, []string{leaseKey + name}, holder, ttl.Milliseconds()).Bool()
	if err != nil {
		return false, unavailable("acquire lease", err)
	}
	return has, nil
}

// Give returns the lease early; harmless when holder does not have it.
func (s *Store) Give(ctx context.Context, name, holder string) error {
	if err := give.Run(ctx, s.client, []string{leaseKey + name}, holder).Err(); err != nil {
		return unavailable("give lease", err)
	}
	return nil
}
