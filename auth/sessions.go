package auth

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	maxLogins   = 50          // login sessions of one user; the oldest ends when there would be more
	slideFactor = 10          // an expiry is moved when this fraction of the TTL has passed, …
	slideMost   = time.Minute // … or this time
)

// openLogin adds a login session, drops those of the list that have expired, and the oldest above the limit.
// KEYS: the session, the user's logins. ARGV: user, token id, claimed ("1" or ""), deadline, now, TTL, longest life,
// limit, prefix of a login, hash, when the user was added, signature; times in milliseconds.
var openLogin = redis.NewScript(`
redis.call('HSET', KEYS[1], 'user', ARGV[1], 'token', ARGV[2], 'claimed', ARGV[3], 'deadline', ARGV[4], 'since', ARGV[11], 'signature', ARGV[12])
redis.call('PEXPIRE', KEYS[1], ARGV[6])
for _, h in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
	if redis.call('EXISTS', ARGV[9] .. h) == 0 then
		redis.call('ZREM', KEYS[2], h)
	end
end
redis.call('ZADD', KEYS[2], ARGV[5], ARGV[10])
local extra = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[8])
if extra > 0 then
	for _, h in ipairs(redis.call('ZRANGE', KEYS[2], 0, extra - 1)) do
		redis.call('DEL', ARGV[9] .. h)
		redis.call('ZREM', KEYS[2], h)
	end
end
redis.call('PEXPIRE', KEYS[2], ARGV[7])
return 1
`)

// findLogin returns a login session and its user, and moves its expiry. It returns nothing, and removes the session,
// when its deadline has come or the token that it came from is no more.
// KEYS: the session, users. ARGV: prefix of a token, now, TTL, slack; in milliseconds.
var findLogin = redis.NewScript(`
local s = redis.call('HMGET', KEYS[1], 'user', 'token', 'claimed', 'deadline', 'since', 'signature')
if not s[1] or not s[2] or not s[3] or not s[4] then
	return false
end
local left = (tonumber(s[4]) or 0) - tonumber(ARGV[2])
if not (left > 0) or (s[2] ~= '' and redis.call('EXISTS', ARGV[1] .. s[2]) == 0) then
	redis.call('DEL', KEYS[1])
	return false
end
local ttl = math.min(left, tonumber(ARGV[3]))
if redis.call('PTTL', KEYS[1]) < ttl - tonumber(ARGV[4]) then
	redis.call('PEXPIRE', KEYS[1], ttl)
end
return {s[1], s[2], s[3], s[4], s[5] or '', s[6] or '', redis.call('HGET', KEYS[2], s[1]) or ''}
`)

// closeLogin removes a login session. KEYS: the session. ARGV: prefix of a user's logins, hash.
var closeLogin = redis.NewScript(`
local user = redis.call('HGET', KEYS[1], 'user')
if user then
	redis.call('DEL', KEYS[1])
	redis.call('ZREM', ARGV[1] .. user, ARGV[2])
end
return 1
`)

// Login turns an API token or JWT into a login session, for a browser's cookie. The session id is a new secret at each
// call. The session ends with Logout, with its token's revocation or expiry, with its JWT's expiry, with its user's
// removal, when it was not used for Config.SessionTTL, and after Config.SessionMax in any case. Of more than 50 of one
// user the oldest ends. Errors: as Verify's.
func (s *Service) Login(ctx context.Context, raw string) (sessionID string, id Identity, err error) {
	p, err := s.verify(ctx, raw)
	if err != nil {
		return "", Identity{}, err
	}
	now := s.now()
	deadline := now.Add(s.sessionMax)
	if !p.expires.IsZero() && p.expires.Before(deadline) {
		deadline = p.expires
	}
	ttl := min(s.sessionTTL, deadline.Sub(now)).Milliseconds()
	if ttl <= 0 {
		return "", Identity{}, invalid(errors.New("no time left"))
	}
	claimed := ""
	if p.claimed {
		claimed = "1"
	}
	sessionID = newSecret()
	sum := hash(sessionID)
	keys := []string{loginKey + sum, loginsKey + p.Name}
	end := strconv.FormatInt(deadline.UnixMilli(), 10)
	args := []any{
		p.Name, p.Token, claimed, end, now.UnixMilli(), ttl, s.sessionMax.Milliseconds(), maxLogins, loginKey, sum, p.since,
		s.key.Sign(loginKey+sum, p.Name, p.Token, claimed, end, p.since),
	}
	if err := openLogin.Run(ctx, s.redis, keys, args...).Err(); err != nil {
		return "", Identity{}, unavailable("open login session", err)
	}
	return sessionID, p.Identity, nil
}

// Session says who bears a session id and so keeps the session from ending unused. The role is the user's present one.
// Errors: ErrInvalidCredential, ErrUnavailable.
func (s *Service) Session(ctx context.Context, sessionID string) (Identity, error) {
	if !secretForm.MatchString(sessionID) {
		return Identity{}, invalid(errors.New("not the form of a session id"))
	}
	slack := min(slideMost, s.sessionTTL/slideFactor)
	key := loginKey + hash(sessionID)
	args := []any{tokenKey, s.now().UnixMilli(), s.sessionTTL.Milliseconds(), slack.Milliseconds()}
	v, err := findLogin.Run(ctx, s.redis, []string{key, usersKey}, args...).StringSlice()
	switch {
	case errors.Is(err, redis.Nil):
		return Identity{}, invalid(errors.New("no such session"))
	case err != nil:
		return Identity{}, unavailable("find login session", err)
	case len(v) != 7 || !s.key.Verify(v[5], key, v[0], v[1], v[2], v[3], v[4]):
		return Identity{}, invalid(errors.New("session record: not signed with this key"))
	}
	id := Identity{Name: v[0], Role: RoleUser, Token: v[1]}
	since, record := v[4], v[6]
	if record != "" {
		u, err := s.readUser(id.Name, record)
		if err != nil {
			return Identity{}, invalid(err)
		}
		if since != "" && since != u.since() {
			return Identity{}, invalid(errors.New("the session is of an earlier user of that name"))
		}
		id.Role = u.role()
	} else if since != "" {
		return Identity{}, invalid(errors.New("the session's user is no more"))
	}
	if v[2] == "1" {
		id.Role = RoleAdmin
	}
	return id, nil
}

// Logout ends a login session, at once and for requests that are under way too: none brings it back. It succeeds when
// there was none.
func (s *Service) Logout(ctx context.Context, sessionID string) error {
	if !secretForm.MatchString(sessionID) {
		return nil
	}
	sum := hash(sessionID)
	if err := closeLogin.Run(ctx, s.redis, []string{loginKey + sum}, loginsKey, sum).Err(); err != nil {
		return fmt.Errorf("log out: %w", unavailable("close login session", err))
	}
	return nil
}
