package auth

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// User is a person or program that was added here. Bearers of JWTs need not have been.
type User struct {
	Name    string    `json:"name"`
	Admin   bool      `json:"admin"`
	Created time.Time `json:"created"` // set by AddUser
}

func (u User) role() Role {
	if u.Admin {
		return RoleAdmin
	}
	return RoleUser
}

// since tells users of one name apart: one who was removed from one who was added later.
func (u User) since() string { return u.Created.Format(time.RFC3339Nano) }

// removeUser removes a user and everything that lets that name in.
// KEYS: users, the user's tokens, the user's logins. ARGV: name, prefix of a token, prefix of a login.
var removeUser = redis.NewScript(`
for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
	redis.call('DEL', ARGV[2] .. id)
end
for _, h in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
	redis.call('DEL', ARGV[3] .. h)
end
redis.call('DEL', KEYS[2], KEYS[3])
return redis.call('HDEL', KEYS[1], ARGV[1])
`)

// AddUser adds a user; Created is set here. Errors: ErrExists, ErrInvalid (the name).
func (s *Service) AddUser(ctx context.Context, u User) error {
	if !ValidName(u.Name) {
		return fmt.Errorf("user name: %w: 1 to 64 lower-case letters, digits and _.@-, beginning with a letter or digit", ErrInvalid)
	}
	u.Created = s.now().UTC().Truncate(time.Second)
	data, err := json.Marshal(u)
	if err != nil {
		return fmt.Errorf("encode user: %w", err)
	}
	added, err := s.redis.HSetNX(ctx, usersKey, u.Name, s.key.Seal(string(data), usersKey, u.Name)).Result()
	if err != nil {
		return unavailable("add user", err)
	}
	if !added {
		return fmt.Errorf("user %s: %w", u.Name, ErrExists)
	}
	return nil
}

// RemoveUser removes a user with all tokens and login sessions, in one step. JWTs of that name are valid until they
// expire; the sessions that came from one end now. ErrNotFound when there was no such user.
func (s *Service) RemoveUser(ctx context.Context, name string) error {
	if !ValidName(name) {
		return fmt.Errorf("user: %w", ErrNotFound)
	}
	keys := []string{usersKey, tokensKey + name, loginsKey + name}
	found, err := removeUser.Run(ctx, s.redis, keys, name, tokenKey, loginKey).Bool()
	if err != nil {
		return unavailable("remove user", err)
	}
	if !found {
		return fmt.Errorf("user %s: %w", name, ErrNotFound)
	}
	return nil
}

// User returns one; ErrNotFound.
func (s *Service) User(ctx context.Context, name string) (User, error) {
	text, err := s.redis.HGet(ctx, usersKey, name).Result()
	if errors.Is(err, redis.Nil) {
		return User{}, fmt.Errorf("user: %w", ErrNotFound)
	}
	if err != nil {
		return User{}, unavailable("read user", err)
	}
	return s.readUser(name, text)
}

// Users returns all, by name.
func (s *Service) Users(ctx context.Context) ([]User, error) {
	values, err := s.redis.HGetAll(ctx, usersKey).Result()
	if err != nil {
		return nil, unavailable("list users", err)
	}
	all := make([]User, 0, len(values))
	for name, text := range values {
		u, err := s.readUser(name, text)
		if err != nil {
			s.log.Warn("user in Redis is not readable", "user", name, "err", err)
			continue
		}
		all = append(all, u)
	}
	slices.SortFunc(all, func(a, b User) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// readUser decodes a user's record, which must be signed for that name.
func (s *Service) readUser(name, text string) (User, error) {
	var u User
	data, ok := s.key.Open(text, usersKey, name)
	if !ok {
		return User{}, errors.New("user record: not signed with this key")
	}
	if err := json.Unmarshal([]byte(data), &u); err != nil {
		return User{}, fmt.Errorf("user record: %w", err)
	}
	return u, nil
}
