package auth

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"
)

const (
	tokenPrefix  = "cbk_" // every API token begins so
	secretBytes  = 32     // random bytes of a token or session id
	idLength     = 24     // hexadecimal digits of a token's id
	maxTokens    = 100    // of one user, expired ones not counted
	maxTokenName = 64     // bytes
	maxTokenTTL  = 100 * 365 * 24 * time.Hour
	usedInterval = time.Minute // a token's last use is written at most so often
)

// secretForm is the form of a token after its prefix, and of a session id.
var secretForm = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// tokenID is the form of a token's id: the beginning of the secret's hash, which is not secret.
var tokenID = regexp.MustCompile(`^[0-9a-f]{24}$`)

// Token is what may be known of an API token.
type Token struct {
	ID       string    `json:"id"`
	User     string    `json:"user"`
	Name     string    `json:"name"` // what it is for, in its maker's words
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires,omitzero"`   // zero: never
	LastUsed time.Time `json:"last_used,omitzero"` // to about a minute; zero: never
}

// TokenOptions are a new token's.
type TokenOptions struct {
	Name string        // at most 64 bytes of printable text; may be empty
	TTL  time.Duration // from now, at most 100 years; 0 means that it does not expire
}

// keepTokens makes the list of a user's tokens expire with the last of them. It begins the scripts that change one.
const keepTokens = `
local function keep(tokens)
	if redis.call('ZCOUNT', tokens, '+inf', '+inf') > 0 then
		redis.call('PERSIST', tokens)
		return
	end
	local last = redis.call('ZREVRANGE', tokens, 0, 0, 'WITHSCORES')[2]
	if last then
		redis.call('PEXPIREAT', tokens, last)
	end
end
`

// createToken adds a token of a user who exists.
// KEYS: users, the token, the user's tokens. ARGV: user, id, hash, name, now, expiry or "+inf", limit, signature; in
// milliseconds.
var createToken = redis.NewScript(keepTokens + `
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
	return 'no user'
end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', ARGV[5])
if redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[7]) then
	return 'full'
end
redis.call('HSET', KEYS[2], 'user', ARGV[1], 'hash', ARGV[3], 'name', ARGV[4], 'created', ARGV[5], 'signature', ARGV[8])
if ARGV[6] ~= '+inf' then
	redis.call('HSET', KEYS[2], 'expires', ARGV[6])
	redis.call('PEXPIREAT', KEYS[2], ARGV[6])
end
redis.call('ZADD', KEYS[3], ARGV[6], ARGV[2])
keep(KEYS[3])
return 'ok'
`)

// findToken returns a token and its user, nothing when there is none. KEYS: the token, users.
var findToken = redis.NewScript(`
local t = redis.call('HMGET', KEYS[1], 'hash', 'user', 'expires', 'used', 'signature')
if not t[1] or not t[2] then
	return false
end
return {t[1], t[2], redis.call('HGET', KEYS[2], t[2]) or '', t[3] or '', t[4] or '', t[5] or ''}
`)

// useToken notes a use of a token that is still there. KEYS: the token. ARGV: now in milliseconds.
var useToken = redis.NewScript(`
if redis.call('EXISTS', KEYS[1]) == 1 then
	redis.call('HSET', KEYS[1], 'used', ARGV[1])
end
return 1
`)

// revokeToken removes a token and the login sessions that came from it.
// KEYS: the token. ARGV: id, prefix of a user's tokens, prefix of a user's logins, prefix of a login.
var revokeToken = redis.NewScript(keepTokens + `
local user = redis.call('HGET', KEYS[1], 'user')
if not user then
	return 0
end
redis.call('DEL', KEYS[1])
redis.call('ZREM', ARGV[2] .. user, ARGV[1])
keep(ARGV[2] .. user)
for _, h in ipairs(redis.call('ZRANGE', ARGV[3] .. user, 0, -1)) do
	if redis.call('HGET', ARGV[4] .. h, 'token') == ARGV[1] then
		redis.call('DEL', ARGV[4] .. h)
		redis.call('ZREM', ARGV[3] .. user, h)
	end
end
return 1
`)

// newSecret returns 256 random bits in printable form.
func newSecret() string {
	b := make([]byte, secretBytes)
	rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// CreateToken makes an API token for a user. raw is the secret itself and cannot be had again. Errors: ErrNotFound (no
// such user), ErrInvalid (options, or more than 100 tokens of the user).
func (s *Service) CreateToken(ctx context.Context, user string, opt TokenOptions) (raw string, t Token, err error) {
	if !ValidName(user) {
		return "", Token{}, fmt.Errorf("user: %w", ErrNotFound)
	}
	if !printable(opt.Name) || len(opt.Name) > maxTokenName {
		return "", Token{}, fmt.Errorf("token name: %w: at most %d bytes of printable text", ErrInvalid, maxTokenName)
	}
	if opt.TTL != 0 && (opt.TTL < time.Millisecond || opt.TTL > maxTokenTTL) {
		return "", Token{}, fmt.Errorf("token's time to live: %w: %s", ErrInvalid, opt.TTL)
	}
	u, err := s.User(ctx, user)
	if err != nil {
		return "", Token{}, err
	}
	raw = tokenPrefix + newSecret()
	sum := hash(raw)
	t = Token{ID: sum[:idLength], User: user, Name: opt.Name, Created: s.now().UTC().Truncate(time.Millisecond)}
	expiry, signed := "+inf", ""
	if opt.TTL > 0 {
		t.Expires = t.Created.Add(opt.TTL).Truncate(time.Millisecond)
		expiry = strconv.FormatInt(t.Expires.UnixMilli(), 10)
		signed = expiry
	}
	signature := s.key.Sign(tokenKey+t.ID, sum, user, u.since(), signed)
	keys := []string{usersKey, tokenKey + t.ID, tokensKey + user}
	args := []any{user, t.ID, sum, t.Name, t.Created.UnixMilli(), expiry, maxTokens, signature}
	word, err := createToken.Run(ctx, s.redis, keys, args...).Text()
	switch {
	case err != nil:
		return "", Token{}, unavailable("create token", err)
	case word == "no user":
		return "", Token{}, fmt.Errorf("user %s: %w", user, ErrNotFound)
	case word == "full":
		return "", Token{}, fmt.Errorf("tokens of %s: %w: more than %d", user, ErrInvalid, maxTokens)
	}
	return raw, t, nil
}

func printable(text string) bool {
	for _, r := range text {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return utf8.ValidString(text)
}

// RevokeToken makes a token and the login sessions that came from it invalid, at once. ErrNotFound when there is none.
func (s *Service) RevokeToken(ctx context.Context, id string) error {
	if !tokenID.MatchString(id) {
		return fmt.Errorf("token: %w", ErrNotFound)
	}
	found, err := revokeToken.Run(ctx, s.redis, []string{tokenKey + id}, id, tokensKey, loginsKey, loginKey).Bool()
	if err != nil {
		return unavailable("revoke token", err)
	}
	if !found {
		return fmt.Errorf("token %s: %w", id, ErrNotFound)
	}
	return nil
}

// Tokens returns a user's valid tokens, or everybody's when user is empty, by user, then age, oldest first.
func (s *Service) Tokens(ctx context.Context, user string) ([]Token, error) {
	users := []string{user}
	if user == "" {
		var err error
		if users, err = s.redis.HKeys(ctx, usersKey).Result(); err != nil {
			return nil, unavailable("list users", err)
		}
	}
	all := []Token{}
	for _, u := range users {
		some, err := s.tokensOf(ctx, u)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	slices.SortFunc(all, func(a, b Token) int {
		return cmp.Or(cmp.Compare(a.User, b.User), a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return all, nil
}

func (s *Service) tokensOf(ctx context.Context, user string) ([]Token, error) {
	ids, err := s.redis.ZRange(ctx, tokensKey+user, 0, -1).Result()
	if err != nil {
		return nil, unavailable("list tokens", err)
	}
	replies := make([]*redis.MapStringStringCmd, len(ids))
	if _, err := s.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			replies[i] = p.HGetAll(ctx, tokenKey+id)
		}
		return nil
	}); err != nil {
		return nil, unavailable("list tokens", err)
	}
	var all []Token
	for i, reply := range replies {
		v := reply.Val()
		t := Token{ID: ids[i], User: v["user"], Name: v["name"], Created: instant(v["created"]), Expires: instant(v["expires"]), LastUsed: instant(v["used"])}
		if t.User == user && !s.over(v["expires"]) {
			all = append(all, t)
		}
	}
	return all, nil
}

// verifyToken checks an API token.
func (s *Service) verifyToken(ctx context.Context, raw string) (proof, error) {
	if !secretForm.MatchString(raw[len(tokenPrefix):]) {
		return proof{}, invalid(errors.New("not the form of a token"))
	}
	sum := hash(raw)
	id := sum[:idLength]
	v, err := findToken.Run(ctx, s.redis, []string{tokenKey + id, usersKey}).StringSlice()
	switch {
	case errors.Is(err, redis.Nil):
		return proof{}, invalid(errors.New("no such token"))
	case err != nil:
		return proof{}, unavailable("find token", err)
	case len(v) != 6 || subtle.ConstantTimeCompare([]byte(v[0]), []byte(sum)) != 1:
		return proof{}, invalid(errors.New("another token's record"))
	case s.over(v[3]):
		return proof{}, invalid(errors.New("token has expired"))
	}
	u, err := s.readUser(v[1], v[2])
	if err != nil {
		return proof{}, invalid(err)
	}
	if !s.key.Verify(v[5], tokenKey+id, sum, u.Name, u.since(), v[3]) {
		return proof{}, invalid(errors.New("token record: not signed with this key for this user"))
	}
	if s.now().Sub(instant(v[4])) >= usedInterval {
		if err := useToken.Run(ctx, s.redis, []string{tokenKey + id}, s.now().UnixMilli()).Err(); err != nil {
			s.log.Warn("use of a token not noted", "token", id, "err", err)
		}
	}
	return proof{Identity: Identity{Name: u.Name, Role: u.role(), Token: id}, since: u.since()}, nil
}

// over reports whether a stored expiry has come. An empty one is none; one that is not readable has.
func (s *Service) over(expiry string) bool { return expiry != "" && !s.now().Before(instant(expiry)) }

// instant reads milliseconds since 1970; what is not a positive number is the zero time.
func instant(text string) time.Time {
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil || ms <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
