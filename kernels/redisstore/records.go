package redisstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"cellblock.io/cellblock/internal/secret"
	"cellblock.io/cellblock/kernels"
)

// unsigned begins the scripts that look into a value: it decodes what follows the signature, which scripts cannot check.
var unsigned = fmt.Sprintf(`
local function unsigned(text)
	local ok, v = pcall(cjson.decode, string.sub(text or '', %d))
	return ok and type(v) == 'table' and v or nil
end
`, secret.SignatureLength+1)

// readable does the same for a record: a value that does not name its owner and id is none.
var readable = unsigned + `
local function readable(text, owner, id)
	local r = unsigned(text)
	if r and r.owner == owner and r.id == id then
		return r
	end
	return nil
end
`

// reserve adds a record when its owner has room. A repetition for the same handle is the same reservation: the answer
// to the first may have been lost.
//
// KEYS: the owner's kernels, the owners. ARGV: owner, id, handle, record, limit. Returns a word and the number used.
var reserve = redis.NewScript(readable + `
local used = redis.call('HLEN', KEYS[1])
local text = redis.call('HGET', KEYS[1], ARGV[2])
local old = readable(text, ARGV[1], ARGV[2])
if old then
	return {old.handle == ARGV[3] and 'ok' or 'exists', used}
end
if text then
	used = used - 1
end
if used >= tonumber(ARGV[5]) then
	return {'full', used}
end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[4])
redis.call('SADD', KEYS[2], ARGV[1])
return {'ok', used + 1}
`)

// update replaces a record of the same handle, but never an end by something else.
// KEYS: the owner's kernels. ARGV: owner, id, handle, record, phase, the phase of an end.
var update = redis.NewScript(readable + `
local old = readable(redis.call('HGET', KEYS[1], ARGV[2]), ARGV[1], ARGV[2])
if not old or old.handle ~= ARGV[3] or (old.phase == ARGV[6] and ARGV[5] ~= ARGV[6]) then
	return 0
end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[4])
return 1
`)

// release removes a record, its sessions, and its owner from the owners when it was the last.
// KEYS: the owner's kernels, the owner's sessions, the owners. ARGV: owner, id, handle.
var release = redis.NewScript(readable + `
local old = readable(redis.call('HGET', KEYS[1], ARGV[2]), ARGV[1], ARGV[2])
if old and old.handle ~= ARGV[3] then
	return 0
end
redis.call('HDEL', KEYS[1], ARGV[2])
local all = redis.call('HGETALL', KEYS[2])
for i = 1, #all, 2 do
	local s = unsigned(all[i + 1])
	if not s or s.kernel_id == ARGV[2] then
		redis.call('HDEL', KEYS[2], all[i])
	end
end
if redis.call('HLEN', KEYS[1]) == 0 then
	redis.call('SREM', KEYS[3], ARGV[1])
end
return 1
`)

// Reserve adds r if its owner has fewer than q.MaxKernels records, in one step of Redis. Doing it again with the same
// id and handle succeeds and changes nothing. Errors: *kernels.QuotaError, kernels.ErrExists, kernels.ErrInvalid
// (owner, id or size), kernels.ErrUnavailable; after the last the record may have been added.
func (s *Store) Reserve(ctx context.Context, r kernels.Record, q kernels.Quota) error {
	if !named(r.Owner, r.ID) {
		return fmt.Errorf("%w: owner or kernel id", kernels.ErrInvalid)
	}
	data, err := s.encode(kernelsKey(r.Owner), r.ID, storedRecord(r))
	if err != nil {
		return err
	}
	keys := []string{kernelsKey(r.Owner), ownersKey}
	reply, err := reserve.Run(ctx, s.client, keys, string(r.Owner), r.ID, r.Handle, data, q.MaxKernels).Slice()
	if err != nil {
		return unavailable("reserve", err)
	}
	word, used, err := verdict(reply)
	if err != nil {
		return unavailable("reserve", err)
	}
	switch word {
	case "ok":
		return nil
	case "exists":
		return fmt.Errorf("kernel %s: %w", r.ID, kernels.ErrExists)
	}
	return &kernels.QuotaError{Used: used, Limit: max(0, q.MaxKernels)}
}

// verdict reads what the reserve script returns.
func verdict(reply []any) (word string, used int, err error) {
	if len(reply) == 2 {
		w, okWord := reply[0].(string)
		n, okCount := reply[1].(int64)
		if okWord && okCount {
			return w, int(n), nil
		}
	}
	return "", 0, fmt.Errorf("unexpected reply %v", reply)
}

// Update replaces the record of the same owner, id and handle, in one step of Redis. kernels.ErrNotFound when it has
// been released meanwhile, and when the stored one is in PhaseEnding and r is not.
func (s *Store) Update(ctx context.Context, r kernels.Record) error {
	if !named(r.Owner, r.ID) {
		return kernels.ErrNotFound
	}
	data, err := s.encode(kernelsKey(r.Owner), r.ID, storedRecord(r))
	if err != nil {
		return err
	}
	args := []any{string(r.Owner), r.ID, r.Handle, data, string(r.Phase), string(kernels.PhaseEnding)}
	found, err := update.Run(ctx, s.client, []string{kernelsKey(r.Owner)}, args...).Bool()
	if err != nil {
		return unavailable("update record", err)
	}
	if !found {
		return kernels.ErrNotFound
	}
	return nil
}

// Record returns one; kernels.ErrNotFound when there is none or when the value is not readable as that record.
func (s *Store) Record(ctx context.Context, owner kernels.Owner, id string) (kernels.Record, error) {
	if !named(owner, id) {
		return kernels.Record{}, kernels.ErrNotFound
	}
	text, err := s.field(ctx, kernelsKey(owner), id)
	if err != nil {
		return kernels.Record{}, err
	}
	r, ok := s.record(ctx, owner, id, text)
	if !ok {
		return kernels.Record{}, kernels.ErrNotFound
	}
	return r, nil
}

// Records returns all of one owner's, or of everybody's when owner is empty, oldest first; in that case it is no
// snapshot across owners.
func (s *Store) Records(ctx context.Context, owner kernels.Owner) ([]kernels.Record, error) {
	owners := []string{string(owner)}
	switch {
	case owner == "":
		var err error
		if owners, err = s.client.SMembers(ctx, ownersKey).Result(); err != nil {
			return nil, unavailable("list owners", err)
		}
	case !owner.Valid():
		return nil, nil
	}
	replies := make([]*redis.MapStringStringCmd, len(owners))
	if _, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, o := range owners {
			replies[i] = p.HGetAll(ctx, kernelsKey(kernels.Owner(o)))
		}
		return nil
	}); err != nil {
		return nil, unavailable("list records", err)
	}
	var all []kernels.Record
	for i, reply := range replies {
		for id, text := range reply.Val() {
			if r, ok := s.record(ctx, kernels.Owner(owners[i]), id, text); ok {
				all = append(all, r)
			}
		}
	}
	slices.SortFunc(all, func(a, b kernels.Record) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.ID, b.ID))
	})
	return all, nil
}

// Release removes the record of r's owner, id and handle and the sessions that use its kernel, and so frees its place,
// in one step of Redis. It succeeds when there was none, and leaves alone a record with another handle.
func (s *Store) Release(ctx context.Context, r kernels.Record) error {
	if !named(r.Owner, r.ID) {
		return nil
	}
	keys := []string{kernelsKey(r.Owner), sessionsKey(r.Owner), ownersKey}
	if err := release.Run(ctx, s.client, keys, string(r.Owner), r.ID, r.Handle).Err(); err != nil {
		return unavailable("release", err)
	}
	return nil
}
