package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"cellblock.io/cellblock/kernels"
)

// What is stored has names of its own, which the scripts and other versions rely on. The fields are those of the
// domain's types: the conversions do not compile otherwise.
type (
	storedRecord struct {
		ID      string        `json:"id"`
		Owner   kernels.Owner `json:"owner"`
		Handle  string        `json:"handle"`
		Spec    string        `json:"spec"`
		Phase   kernels.Phase `json:"phase"`
		Reason  string        `json:"reason,omitempty"`
		Created time.Time     `json:"created"`
		Deaths  int           `json:"deaths,omitempty"`
		Runs    int           `json:"runs,omitempty"`
		Started time.Time     `json:"started,omitzero"`
	}
	storedSession struct {
		ID       string        `json:"id"`
		Owner    kernels.Owner `json:"owner"`
		Path     string        `json:"path"`
		Name     string        `json:"name"`
		Type     string        `json:"type"`
		KernelID string        `json:"kernel_id"`
	}
	// What is absent is the default's.
	storedQuota struct {
		MaxKernels *int    `json:"max_kernels,omitempty"`
		Network    *string `json:"network,omitempty"`
	}
)

// encode is what is stored of v in a field of a hash: a signature, good for that place only, and JSON.
func (s *Store) encode(key, field string, v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode: %w", err)
	}
	if len(data) > maxValue {
		return "", fmt.Errorf("%w: %d bytes of description, at most %d are possible", kernels.ErrInvalid, len(data), maxValue)
	}
	return s.key.Seal(string(data), key, field), nil
}

// decode reads what encode made for that place. It does not look at what is not signed.
func (s *Store) decode(key, field, text string, v any) error {
	data, ok := s.key.Open(text, key, field)
	if !ok {
		return errors.New("not signed with this installation's key")
	}
	return json.Unmarshal([]byte(data), v)
}

// forget removes a value that is not readable, unless it has become another meanwhile, and its owner from the owners
// when it was the last. KEYS: the hash, the owners. ARGV: field, value, owner.
var forget = redis.NewScript(`
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then
	redis.call('HDEL', KEYS[1], ARGV[1])
end
if redis.call('HLEN', KEYS[1]) == 0 then
	redis.call('SREM', KEYS[2], ARGV[3])
end
return 1
`)

// record decodes a value. One that is not signed for its place is removed and counts as absent: the kernel, if there is
// one, is adopted then. Left there it would stand in the way, since the scripts cannot tell.
func (s *Store) record(ctx context.Context, owner kernels.Owner, id, text string) (kernels.Record, bool) {
	var r storedRecord
	err := s.decode(kernelsKey(owner), id, text, &r)
	if err == nil {
		return kernels.Record(r), true
	}
	removed := forget.Run(ctx, s.client, []string{kernelsKey(owner), ownersKey}, id, text, string(owner)).Err()
	s.log.Warn("record in Redis is not readable, and removed", "owner", owner, "kernel", id, "err", errors.Join(err, removed))
	return kernels.Record{}, false
}

// session decodes a value. One that is not signed for its place counts as absent.
func (s *Store) session(owner kernels.Owner, id, text string) (kernels.Session, bool) {
	var v storedSession
	if err := s.decode(sessionsKey(owner), id, text, &v); err != nil {
		s.log.Warn("session in Redis is not readable", "owner", owner, "session", id, "err", err)
		return kernels.Session{}, false
	}
	return kernels.Session(v), true
}
