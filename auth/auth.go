// Package auth says who is calling: it checks API tokens, JSON Web Tokens and login sessions, and keeps users and
// tokens. It knows neither HTTP nor kernels.
//
// Secrets that this package makes are random, 256 bits, and Redis has only their SHA-256. A lookup by that hash costs
// the same for every guess and tells nothing about how near one was. An invalid credential is never somebody else's
// chance: nothing falls back to another kind of credential, or to no caller at all.
//
// When Redis does not answer, tokens and sessions are not valid (ErrUnavailable). A JWT's check needs no Redis, so its
// bearer is still let in, as a plain user: only the user record, or a claim configured for it, makes an administrator.
// When Redis has lost everything, tokens, sessions and administrators are gone with it.
//
// Who writes Redis is no administrator yet: users, tokens and login sessions are signed with a key that Redis does not
// have, each for its place, and what is not counts as absent. A record of old that is put back is good again, for the
// same user only: tokens and sessions belong to a user of a certain date, not to whoever has the name later.
//
// Keys in Redis (one Redis is meant, not a Redis Cluster):
//
//	cellblock:users          hash, name → signature, and user as JSON
//	cellblock:token:ID       hash of one token; expires with it
//	cellblock:tokens:USER    sorted set, the user's token ids by expiry
//	cellblock:login:HASH     hash of one login session; expires with it
//	cellblock:logins:USER    sorted set, the user's login sessions by their beginning
package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"cellblock.io/cellblock/internal/secret"
)

// What callers must tell apart.
var (
	// ErrInvalidCredential: there is no such credential, or it is not valid (any more). The wrapped text says more,
	// for the log and not for the caller; it never holds any part of the credential.
	ErrInvalidCredential = errors.New("credential is not valid")
	// ErrUnavailable: Redis does not answer now.
	ErrUnavailable = errors.New("credentials cannot be checked now")
	// ErrNotFound: no such user or token.
	ErrNotFound = errors.New("not found")
	// ErrExists: there is a user of that name already.
	ErrExists = errors.New("already exists")
	// ErrInvalid: a name, time or number is not accepted; the wrapping text says which.
	ErrInvalid = errors.New("not accepted")
)

// Role is what an identity may do.
type Role string

// The roles.
const (
	RoleUser  Role = "user"  // with its own kernels, sessions and files
	RoleAdmin Role = "admin" // also with users, quotas and everybody's kernels
)

// Identity is a caller that has been let in.
type Identity struct {
	Name string // a valid user name (see ValidName)
	Role Role
	// Token is the id of the API token behind this, for logs and revocation; empty for a JWT.
	Token string
}

const (
	prefix    = "cellblock:"
	usersKey  = prefix + "users"
	tokenKey  = prefix + "token:"  // and the token's id
	tokensKey = prefix + "tokens:" // and the user's name
	loginKey  = prefix + "login:"  // and the session id's hash
	loginsKey = prefix + "logins:" // and the user's name

	maxCredential = 8 << 10 // bytes of anything that Verify looks at

	defaultSessionTTL = 7 * 24 * time.Hour
	defaultSessionMax = 30 * 24 * time.Hour
)

// userName is the form of a user's name, which is an owner's too: it becomes part of keys, labels and volume names.
var userName = regexp.MustCompile(`^[a-z0-9][a-z0-9_.@-]{0,63}$`)

// ValidName reports whether name can be a user's: 1 to 64 characters, lower-case letters, digits and "_.@-", beginning
// with a letter or digit.
func ValidName(name string) bool { return userName.MatchString(name) }

// Config is what a Service needs.
type Config struct {
	// Redis stays the caller's. Its timeouts bound every call.
	Redis *redis.Client
	// Key signs what is written to Redis. All that share one Redis have the same.
	Key secret.Key
	// JWT says which JSON Web Tokens are accepted; without keys none are.
	JWT JWTConfig
	// SessionTTL ends a login session that was not used for so long; 0 means 7 days.
	SessionTTL time.Duration
	// SessionMax ends a login session so long after its login, used or not; 0 means 30 days. Not below SessionTTL.
	SessionMax time.Duration
	// Log gets what is worth knowing and does not fail a call; nil means nothing is logged.
	Log *slog.Logger
	// Now is the clock; nil means time.Now. Redis expires keys by its own.
	Now func() time.Time
}

// Service checks credentials and keeps users and tokens. All methods may be called concurrently. Any number of
// Services may share one Redis. Every method can fail with ErrUnavailable.
type Service struct {
	redis      *redis.Client
	key        secret.Key
	jwt        *jwtVerifier // nil when none are accepted
	sessionTTL time.Duration
	sessionMax time.Duration
	log        *slog.Logger
	now        func() time.Time
}

// New reads the keys of JWTs and returns a Service; it does not call Redis.
func New(cfg Config) (*Service, error) {
	s := &Service{redis: cfg.Redis, key: cfg.Key, sessionTTL: cfg.SessionTTL, sessionMax: cfg.SessionMax, log: cfg.Log, now: cfg.Now}
	if s.redis == nil {
		return nil, fmt.Errorf("%w: no Redis client", ErrInvalid)
	}
	if s.key.Empty() {
		return nil, fmt.Errorf("%w: no key", ErrInvalid)
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.sessionTTL == 0 {
		s.sessionTTL = defaultSessionTTL
	}
	if s.sessionMax == 0 {
		s.sessionMax = max(defaultSessionMax, s.sessionTTL)
	}
	if s.sessionTTL < time.Millisecond || s.sessionMax < s.sessionTTL {
		return nil, fmt.Errorf("%w: session times %s and %s", ErrInvalid, s.sessionTTL, s.sessionMax)
	}
	if len(cfg.JWT.Keys) > 0 {
		v, err := newJWTVerifier(cfg.JWT, s.now)
		if err != nil {
			return nil, fmt.Errorf("JWT: %w", err)
		}
		s.jwt = v
	}
	return s, nil
}

// Verify says who bears raw, an API token or a JWT; the token's prefix alone decides which. Errors:
// ErrInvalidCredential, ErrUnavailable.
func (s *Service) Verify(ctx context.Context, raw string) (Identity, error) {
	p, err := s.verify(ctx, raw)
	return p.Identity, err
}

// proof is an identity with what its credential says about how long and how it holds.
type proof struct {
	Identity
	since   string    // when its user was added; empty where there is none of that name
	claimed bool      // the credential itself, and not the user record, made an administrator
	expires time.Time // of a JWT; zero for a token, whose end Redis knows
}

func (s *Service) verify(ctx context.Context, raw string) (proof, error) {
	switch {
	case raw == "":
		return proof{}, invalid(errors.New("empty"))
	case len(raw) > maxCredential:
		return proof{}, invalid(errors.New("too long"))
	case strings.HasPrefix(raw, tokenPrefix):
		return s.verifyToken(ctx, raw)
	case s.jwt == nil:
		return proof{}, invalid(errors.New("no API token, and no JWTs are accepted"))
	}
	return s.verifyJWT(ctx, raw)
}

// verifyJWT checks a JWT and finds the role of its subject.
func (s *Service) verifyJWT(ctx context.Context, raw string) (proof, error) {
	c, err := s.jwt.verify(raw)
	if err != nil {
		return proof{}, invalid(err)
	}
	p := proof{Identity: Identity{Name: c.subject, Role: RoleUser}, claimed: s.jwt.makesAdmin(c), expires: c.expires.Time}
	u, err := s.User(ctx, c.subject)
	switch {
	case errors.Is(err, ErrNotFound):
	case errors.Is(err, ErrUnavailable):
		s.log.Debug("role of a JWT's subject not known, taken for a user", "user", c.subject, "err", err)
	case err != nil:
		return proof{}, invalid(err)
	default:
		p.Role, p.since = u.role(), u.since()
	}
	if p.claimed {
		p.Role = RoleAdmin
	}
	return p, nil
}

// invalid is ErrInvalidCredential with its cause.
func invalid(cause error) error { return fmt.Errorf("%w: %w", ErrInvalidCredential, cause) }

// unavailable is the error of a call to Redis.
func unavailable(step string, err error) error {
	return fmt.Errorf("%s: %w: %w", step, ErrUnavailable, err)
}

// hash is how a secret is kept and found.
func hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
