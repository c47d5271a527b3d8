package redisstore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"cellblock.io/cellblock/kernels"
)

const (
	firstUID = 20000 // above every user id that images use
	uidStep  = 2     // the odd id after an owner's own is for that owner's bridges
	// uidPlaces is how many owners can be told apart.
	uidPlaces = (kernels.UserIDs - firstUID) / uidStep
)

// uid returns an owner's user id. At the first call it takes the owner's own place, or the next one that nobody has.
// KEYS: the uids, the places taken. ARGV: owner, its own place, the number of places, first, step.
var uid = redis.NewScript(`
local id = redis.call('HGET', KEYS[1], ARGV[1])
if id then
	return tonumber(id)
end
local place = tonumber(ARGV[2])
while redis.call('SADD', KEYS[2], place) == 0 do
	place = (place + 1) % tonumber(ARGV[3])
end
id = tonumber(ARGV[4]) + place * tonumber(ARGV[5])
redis.call('HSET', KEYS[1], ARGV[1], id)
return id
`)

// claimUID gives an owner who has none the user id that its files have, and nobody else gets it.
// KEYS: the uids, the places taken. ARGV: owner, id, place.
var claimUID = redis.NewScript(`
redis.call('SADD', KEYS[2], ARGV[3])
return redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
`)

// uidPlace is where an owner's user id is looked for first: a hash of the name, so that after Redis has lost everything
// an owner gets the same id again, and with it the files in the workspace (but for names that share a place, which
// one in two million do).
func uidPlace(owner kernels.Owner) uint64 {
	sum := sha256.Sum256([]byte(owner))
	return binary.BigEndian.Uint64(sum[:]) % uidPlaces
}

// Quota returns the owner's own quota, with the default's values where it has none of its own. A stored quota that is not
// readable is an error, not the default: it may be the smaller one.
func (s *Store) Quota(ctx context.Context, owner kernels.Owner) (kernels.Quota, error) {
	_, own, err := s.ownQuota(ctx, owner)
	if err != nil {
		return kernels.Quota{}, err
	}
	q := s.quota
	if own.MaxKernels != nil {
		q.MaxKernels = *own.MaxKernels
	}
	if own.Network != nil {
		q.Network = *own.Network
	}
	return q, nil
}

// ownQuota returns what is stored for an owner, also as it is stored: nothing for one without a quota of its own.
func (s *Store) ownQuota(ctx context.Context, owner kernels.Owner) (text string, q storedQuota, err error) {
	text, err = s.field(ctx, quotasKey, string(owner))
	if errors.Is(err, kernels.ErrNotFound) {
		return "", storedQuota{}, nil
	}
	if err == nil {
		if err = s.decode(quotasKey, string(owner), text, &q); err != nil {
			err = fmt.Errorf("quota of %s: %w", owner, err)
		}
	}
	return text, q, err
}

// SetQuota gives an owner a quota of its own, from the next reservation on. kernels.ErrInvalid for a name that cannot
// be an owner or a negative number.
func (s *Store) SetQuota(ctx context.Context, owner kernels.Owner, q kernels.Quota) error {
	return s.ChangeQuota(ctx, owner, kernels.QuotaChange{MaxKernels: &q.MaxKernels, Network: &q.Network})
}

// change puts a value in the place of another unless somebody else was quicker. KEYS: the hash. ARGV: field, the value
// that was read ("" for none), the new one.
var change = redis.NewScript(`
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then
	return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
`)

// changeTries is how often a change is tried that others have forestalled.
const changeTries = 10

// ChangeQuota is like SetQuota for a part of the quota; the rest stays as it is, the default's if it was. A quota that is
// not readable can only be set as a whole.
func (s *Store) ChangeQuota(ctx context.Context, owner kernels.Owner, c kernels.QuotaChange) error {
	if !owner.Valid() {
		return fmt.Errorf("%w: owner", kernels.ErrInvalid)
	}
	if c.MaxKernels != nil && *c.MaxKernels < 0 {
		return fmt.Errorf("%w: %d kernels", kernels.ErrInvalid, *c.MaxKernels)
	}
	for range changeTries {
		old, q, err := s.ownQuota(ctx, owner)
		if err != nil && (old == "" || c.MaxKernels == nil || c.Network == nil) {
			return err
		}
		if c.MaxKernels != nil {
			q.MaxKernels = c.MaxKernels
		}
		if c.Network != nil {
			q.Network = c.Network
		}
		data, err := s.encode(quotasKey, string(owner), q)
		if err != nil {
			return err
		}
		done, err := change.Run(ctx, s.client, []string{quotasKey}, string(owner), old, data).Bool()
		if err != nil {
			return unavailable("set quota", err)
		}
		if done {
			return nil
		}
	}
	return fmt.Errorf("set quota: %w: others change it all the time", kernels.ErrUnavailable)
}

// ClearQuota lets an owner have the default again. It succeeds when there was no other.
func (s *Store) ClearQuota(ctx context.Context, owner kernels.Owner) error {
	if err := s.client.HDel(ctx, quotasKey, string(owner)).Err(); err != nil {
		return unavailable("clear quota", err)
	}
	return nil
}

// UID returns the owner's user id inside containers: even, between 20000 and 2^22, for ever this owner's. The next (odd)
// id is the same owner's too, for its bridges. kernels.ErrInvalid for a name that cannot be an owner.
func (s *Store) UID(ctx context.Context, owner kernels.Owner) (int, error) {
	if !owner.Valid() {
		return 0, fmt.Errorf("%w: owner", kernels.ErrInvalid)
	}
	id, err := uid.Run(ctx, s.client, []string{uidsKey, uidPlacesKey}, string(owner),
		uidPlace(owner), uidPlaces, firstUID, uidStep).Int()
	if err != nil {
		return 0, unavailable("user id", err)
	}
	return id, nil
}

// ClaimUIDs says which user ids are in use: those of kernels and workspaces that exist, whatever Redis knows of them. An
// owner without one has it from now on, and no id is given to another while anything of its owner is left, even when
// Redis has lost everything meanwhile. Ids that UID would not give are left out.
func (s *Store) ClaimUIDs(ctx context.Context, ids map[kernels.Owner]int) error {
	for owner, id := range ids {
		place := (id - firstUID) / uidStep
		if !owner.Valid() || id < firstUID || place >= uidPlaces || firstUID+place*uidStep != id {
			continue
		}
		if err := claimUID.Run(ctx, s.client, []string{uidsKey, uidPlacesKey}, string(owner), id, place).Err(); err != nil {
			return unavailable("claim user id", err)
		}
	}
	return nil
}
