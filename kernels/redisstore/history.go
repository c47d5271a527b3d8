package redisstore

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"cellblock.io/cellblock/kernels"
)

const (
	historyTime = 24 * time.Hour // how long an end is remembered
	maxHistory  = 100            // ends of one owner
)

// remember adds an end, and forgets the oldest of the owner when there are too many.
// KEYS: the owner's ends, the owners with ends. ARGV: owner, id, end, limit, seconds.
var remember = redis.NewScript(unsigned + `
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('SADD', KEYS[2], ARGV[1])
if redis.call('HLEN', KEYS[1]) > tonumber(ARGV[4]) then
	local oldest, at
	local all = redis.call('HGETALL', KEYS[1])
	for i = 1, #all, 2 do
		local e = unsigned(all[i + 1])
		local this = e and type(e.ms) == 'number' and e.ms or 0
		if not at or this < at then
			oldest, at = all[i], this
		end
	end
	redis.call('HDEL', KEYS[1], oldest)
end
return 1
`)

// storedEnd is an end as Redis has it; Ms is for the script.
type storedEnd struct {
	ID     string        `json:"id"`
	Owner  kernels.Owner `json:"owner"`
	Spec   string        `json:"spec"`
	Reason string        `json:"reason"`
	Born   time.Time     `json:"born"`
	Ms     int64         `json:"ms"`
}

func historyKey(owner kernels.Owner) string { return prefix + "ended:" + string(owner) }

// Remember notes an end for a day. It forgets the oldest of the same owner when there are more than 100.
func (s *Store) Remember(ctx context.Context, e kernels.Ended) error {
	if !named(e.Owner, e.ID) {
		return kernels.ErrNotFound
	}
	data, err := s.encode(historyKey(e.Owner), e.ID, storedEnd{e.ID, e.Owner, e.Spec, e.Reason, e.Born, e.At.UnixMilli()})
	if err != nil {
		return err
	}
	keys := []string{historyKey(e.Owner), historiesKey}
	if err := remember.Run(ctx, s.client, keys, string(e.Owner), e.ID, data, maxHistory, int(historyTime.Seconds())).Err(); err != nil {
		return unavailable("remember an end", err)
	}
	return nil
}

// Recall returns the end of one kernel; kernels.ErrNotFound when there is none of the last day.
func (s *Store) Recall(ctx context.Context, owner kernels.Owner, id string) (kernels.Ended, error) {
	if !named(owner, id) {
		return kernels.Ended{}, kernels.ErrNotFound
	}
	text, err := s.field(ctx, historyKey(owner), id)
	if err != nil {
		return kernels.Ended{}, err
	}
	e, ok := s.end(owner, id, text)
	if !ok {
		return kernels.Ended{}, kernels.ErrNotFound
	}
	return e, nil
}

// Recollect returns all ends of one owner, or of everybody when owner is empty, the latest first.
func (s *Store) Recollect(ctx context.Context, owner kernels.Owner) ([]kernels.Ended, error) {
	owners := []string{string(owner)}
	switch {
	case owner == "":
		var err error
		if owners, err = s.client.SMembers(ctx, historiesKey).Result(); err != nil {
			return nil, unavailable("list owners", err)
		}
	case !owner.Valid():
		return nil, nil
	}
	var all []kernels.Ended
	for _, o := range owners {
		ends, err := s.client.HGetAll(ctx, historyKey(kernels.Owner(o))).Result()
		if err != nil {
			return nil, unavailable("list ends", err)
		}
		if len(ends) == 0 { // expired
			if err := s.client.SRem(ctx, historiesKey, o).Err(); err != nil {
				return nil, unavailable("forget an owner", err)
			}
		}
		for id, text := range ends {
			if e, ok := s.end(kernels.Owner(o), id, text); ok {
				all = append(all, e)
			}
		}
	}
	slices.SortFunc(all, func(a, b kernels.Ended) int { return b.At.Compare(a.At) })
	return all, nil
}

// end decodes a value. One that is not signed for its place, or is too old, counts as absent.
func (s *Store) end(owner kernels.Owner, id, text string) (kernels.Ended, bool) {
	var e storedEnd
	if err := s.decode(historyKey(owner), id, text, &e); err != nil {
		s.log.Warn("end in Redis is not readable", "owner", owner, "kernel", id, "err", err)
		return kernels.Ended{}, false
	}
	at := time.UnixMilli(e.Ms).UTC()
	return kernels.Ended{ID: e.ID, Owner: e.Owner, Spec: e.Spec, Reason: e.Reason, Born: e.Born, At: at}, time.Since(at) < historyTime
}
