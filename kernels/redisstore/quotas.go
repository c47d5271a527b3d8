package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"cellblock.io/cellblock/kernels"
)

const (
	firstUID = 20000 // above every user id that images use
	uidStep  = 2     // the odd id after an owner's own is for that owner's bridges
)

// uid returns an owner's user id, and the next free one at the first call.
// KEYS: the uids, the uid given last. ARGV: owner, first, step.
var uid = redis.NewScript(`
local id = redis.call('HGET', KEYS[1], ARGV[1])
if id then
	return tonumber(id)
end
if redis.call('EXISTS', KEYS[2]) == 1 then
	id = redis.call('INCRBY', KEYS[2], ARGV[3])
else
	id = tonumber(ARGV[2])
	redis.call('SET', KEYS[2], ARGV[2])
end
redis.call('HSET', KEYS[1], ARGV[1], id)
return id
`)

// Quota returns the owner's own quota, or the default. A stored quota that is not readable is an error, not the
// default: it may be the smaller one.
func (s *Store) Quota(ctx context.Context, owner kernels.Owner) (kernels.Quota, error) {
	text, err := s.field(ctx, quotasKey, string(owner))
	if errors.Is(err, kernels.ErrNotFound) {
		return s.quota, nil
	}
	if err != nil {
		return kernels.Quota{}, err
	}
	var q storedQuota
	if err := json.Unmarshal([]byte(text), &q); err != nil {
		return kernels.Quota{}, fmt.Errorf("quota of %s: %w", owner, err)
	}
	return kernels.Quota(q), nil
}

// SetQuota gives an owner a quota of its own, from the next reservation on. kernels.ErrInvalid for a name that cannot
// be an owner or a negative number.
func (s *Store) SetQuota(ctx context.Context, owner kernels.Owner, q kernels.Quota) error {
	if !owner.Valid() {
		return fmt.Errorf("%w: owner", kernels.ErrInvalid)
	}
	if q.MaxKernels < 0 {
		return fmt.Errorf("%w: %d kernels", kernels.ErrInvalid, q.MaxKernels)
	}
	data, err := encode(storedQuota(q))
	if err != nil {
		return err
	}
	if err := s.client.HSet(ctx, quotasKey, string(owner), data).Err(); err != nil {
		return unavailable("set quota", err)
	}
	return nil
}

// ClearQuota lets an owner have the default again. It succeeds when there was no other.
func (s *Store) ClearQuota(ctx context.Context, owner kernels.Owner) error {
	if err := s.client.HDel(ctx, quotasKey, string(owner)).Err(); err != nil {
		return unavailable("clear quota", err)
	}
	return nil
}

// UID returns the owner's user id inside containers: even, from 20000 on, for ever this owner's. The next (odd) id is
// the same owner's too, for its bridges. kernels.ErrInvalid for a name that cannot be an owner.
func (s *Store) UID(ctx context.Context, owner kernels.Owner) (int, error) {
	if !owner.Valid() {
		return 0, fmt.Errorf("%w: owner", kernels.ErrInvalid)
	}
	id, err := uid.Run(ctx, s.client, []string{uidsKey, uidKey}, string(owner), firstUID, uidStep).Int()
	if err != nil {
		return 0, unavailable("user id", err)
	}
	return id, nil
}
