package redisstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"cellblock.io/cellblock/kernels"
)

// putSession adds or replaces a session whose kernel exists.
// KEYS: the owner's kernels, the owner's sessions. ARGV: kernel id, session id, session, limit.
var putSession = redis.NewScript(`
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
	return 'no kernel'
end
if redis.call('HEXISTS', KEYS[2], ARGV[2]) == 0 and redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[4]) then
	return 'full'
end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
return 'ok'
`)

// PutSession adds or replaces one. Its kernel must have a record, or else nothing would ever remove the session:
// kernels.ErrNotFound. kernels.ErrInvalid: owner, id, size, or more than 1000 sessions of one owner.
func (s *Store) PutSession(ctx context.Context, v kernels.Session) error {
	if !named(v.Owner, v.ID) {
		return fmt.Errorf("%w: owner or session id", kernels.ErrInvalid)
	}
	data, err := s.encode(sessionsKey(v.Owner), v.ID, storedSession(v))
	if err != nil {
		return err
	}
	keys := []string{kernelsKey(v.Owner), sessionsKey(v.Owner)}
	word, err := putSession.Run(ctx, s.client, keys, v.KernelID, v.ID, data, maxSessions).Text()
	if err != nil {
		return unavailable("put session", err)
	}
	switch word {
	case "no kernel":
		return fmt.Errorf("session's kernel: %w", kernels.ErrNotFound)
	case "full":
		return fmt.Errorf("%w: more than %d sessions", kernels.ErrInvalid, maxSessions)
	}
	return nil
}

// Session returns one; kernels.ErrNotFound.
func (s *Store) Session(ctx context.Context, owner kernels.Owner, id string) (kernels.Session, error) {
	if !named(owner, id) {
		return kernels.Session{}, kernels.ErrNotFound
	}
	text, err := s.field(ctx, sessionsKey(owner), id)
	if err != nil {
		return kernels.Session{}, err
	}
	v, ok := s.session(owner, id, text)
	if !ok {
		return kernels.Session{}, kernels.ErrNotFound
	}
	return v, nil
}

// Sessions returns all of one owner's, by path, then id.
func (s *Store) Sessions(ctx context.Context, owner kernels.Owner) ([]kernels.Session, error) {
	if !owner.Valid() {
		return nil, nil
	}
	values, err := s.client.HGetAll(ctx, sessionsKey(owner)).Result()
	if err != nil {
		return nil, unavailable("list sessions", err)
	}
	all := make([]kernels.Session, 0, len(values))
	for id, text := range values {
		if v, ok := s.session(owner, id, text); ok {
			all = append(all, v)
		}
	}
	slices.SortFunc(all, func(a, b kernels.Session) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.ID, b.ID))
	})
	return all, nil
}

// DeleteSession removes one; kernels.ErrNotFound when there was none.
func (s *Store) DeleteSession(ctx context.Context, owner kernels.Owner, id string) error {
	if !named(owner, id) {
		return kernels.ErrNotFound
	}
	n, err := s.client.HDel(ctx, sessionsKey(owner), id).Result()
	if err != nil {
		return unavailable("delete session", err)
	}
	if n == 0 {
		return kernels.ErrNotFound
	}
	return nil
}
