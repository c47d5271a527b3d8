package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// maxLeeway bounds JWTConfig.Leeway: beyond it, an expiry means little.
const maxLeeway = 5 * time.Minute

// JWTConfig says which JSON Web Tokens (RFC 7519) are accepted: signed by one of the keys with that key's algorithm,
// from one issuer, for exactly one audience, with an expiry ("exp") that has not come; "nbf" and "iat" must not lie
// ahead. The subject ("sub") is the user's name. Header fields that name keys from elsewhere are not looked at.
type JWTConfig struct {
	Keys []JWTKey
	// Issuer and Audience are compared whole with "iss" and "aud"; both are needed. A token for several audiences is
	// not accepted: any of the others could use it here.
	Issuer, Audience string
	// Leeway is how much clocks may differ, at most 5 minutes.
	Leeway time.Duration
	// AdminClaim and AdminValue, when set, make administrators of those whose claim of that name is the string
	// AdminValue or a list with it. Without them only user records make administrators.
	AdminClaim, AdminValue string
}

// jwtForm is the text of a signed token. The decoder would pass over line breaks; one token has one text here.
var jwtForm = regexp.MustCompile(`^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$`)

var (
	errHeader   = errors.New("header is not acceptable")
	errNoKey    = errors.New("no key for this token")
	errAudience = errors.New("not for this audience alone")
	errSubject  = errors.New("subject cannot be a user's name")
)

// reasons are the causes that a log may show. The library's own texts are not shown: they can quote the token.
var reasons = []error{
	errHeader, errNoKey, jwt.ErrTokenMalformed, jwt.ErrTokenUnverifiable, jwt.ErrTokenSignatureInvalid,
	jwt.ErrTokenRequiredClaimMissing, jwt.ErrTokenInvalidIssuer, jwt.ErrTokenInvalidAudience, jwt.ErrTokenExpired,
	jwt.ErrTokenNotValidYet, jwt.ErrTokenUsedBeforeIssued, jwt.ErrTokenInvalidClaims,
}

type jwtVerifier struct {
	cfg    JWTConfig
	keys   []verifyKey
	parser *jwt.Parser
}

func newJWTVerifier(cfg JWTConfig, now func() time.Time) (*jwtVerifier, error) {
	switch {
	case cfg.Issuer == "" || cfg.Audience == "":
		return nil, fmt.Errorf("%w: issuer and audience are needed", ErrInvalid)
	case cfg.Leeway < 0 || cfg.Leeway > maxLeeway:
		return nil, fmt.Errorf("%w: leeway %s", ErrInvalid, cfg.Leeway)
	case (cfg.AdminClaim == "") != (cfg.AdminValue == ""):
		return nil, fmt.Errorf("%w: the claim for administrators and its value go together", ErrInvalid)
	}
	keys, err := loadKeys(cfg.Keys)
	if err != nil {
		return nil, err
	}
	var methods []string
	for _, k := range keys {
		methods = append(methods, k.algorithm)
	}
	return &jwtVerifier{cfg: cfg, keys: keys, parser: jwt.NewParser(
		jwt.WithValidMethods(methods),
		jwt.WithStrictDecoding(),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithIssuer(cfg.Issuer),
		jwt.WithAudience(cfg.Audience),
		jwt.WithLeeway(cfg.Leeway),
		jwt.WithTimeFunc(now),
	)}, nil
}

// verify checks all of a token and returns its claims. Its errors never quote the token.
func (v *jwtVerifier) verify(raw string) (*claims, error) {
	if !jwtForm.MatchString(raw) {
		return nil, jwt.ErrTokenMalformed
	}
	var c claims
	if _, err := v.parser.ParseWithClaims(raw, &c, v.key); err != nil {
		for _, r := range reasons {
			if errors.Is(err, r) {
				return nil, r
			}
		}
		return nil, jwt.ErrTokenUnverifiable
	}
	switch {
	case len(c.audience) != 1:
		return nil, errAudience
	case !ValidName(c.subject):
		return nil, errSubject
	}
	return &c, nil
}

// key picks the key for a token whose header has been read but whose signature has not been checked. Only the header's
// "kid" is used, as a name among the configured keys; "alg" must then be that key's.
func (v *jwtVerifier) key(t *jwt.Token) (any, error) {
	if _, ok := t.Header["crit"]; ok {
		return nil, errHeader
	}
	if typ, ok := t.Header["typ"]; ok {
		s, isString := typ.(string)
		if !isString || !slices.Contains([]string{"JWT", "AT+JWT", "APPLICATION/AT+JWT"}, strings.ToUpper(s)) {
			return nil, errHeader
		}
	}
	kid, named := t.Header["kid"]
	for _, k := range v.keys {
		fits := kid == any(k.id)
		if len(v.keys) == 1 && (!named || k.id == "") {
			fits = true
		}
		if fits && t.Method.Alg() == k.algorithm {
			return k.key, nil
		}
	}
	return nil, errNoKey
}

// makesAdmin reports whether the claims hold what is configured for administrators.
func (v *jwtVerifier) makesAdmin(c *claims) bool {
	if v.cfg.AdminClaim == "" {
		return false
	}
	values, err := stringOrList(c.all[v.cfg.AdminClaim])
	return err == nil && slices.Contains(values, v.cfg.AdminValue)
}

// claims are a token's, decoded strictly: names as they are written, times in whole seconds.
type claims struct {
	all                          map[string]json.RawMessage
	issuer, subject              string
	audience                     []string
	expires, notBefore, issuedAt *jwt.NumericDate
}

var _ jwt.Claims = (*claims)(nil)

// UnmarshalJSON implements json.Unmarshaler.
func (c *claims) UnmarshalJSON(data []byte) error {
	if err := json.Unmarshal(data, &c.all); err != nil {
		return err
	}
	for name, into := range map[string]*string{"iss": &c.issuer, "sub": &c.subject} {
		if err := decodeIfThere(c.all[name], into); err != nil {
			return err
		}
	}
	for name, into := range map[string]**jwt.NumericDate{"exp": &c.expires, "nbf": &c.notBefore, "iat": &c.issuedAt} {
		d, err := date(c.all[name])
		if err != nil {
			return err
		}
		*into = d
	}
	aud, err := stringOrList(c.all["aud"])
	c.audience = aud
	return err
}

func decodeIfThere(raw json.RawMessage, into any) error {
	if raw == nil {
		return nil
	}
	return json.Unmarshal(raw, into)
}

// date reads whole seconds since 1970, up to the year 9999; nil when there are none.
func date(raw json.RawMessage) (*jwt.NumericDate, error) {
	var sec *int64
	if err := decodeIfThere(raw, &sec); err != nil || sec == nil {
		return nil, err
	}
	const year9999 = 253402300799
	if *sec < 0 || *sec > year9999 {
		return nil, errors.New("time out of range")
	}
	return jwt.NewNumericDate(time.Unix(*sec, 0)), nil
}

func stringOrList(raw json.RawMessage) ([]string, error) {
	if raw == nil {
		return nil, nil
	}
	var one string
	if err := json.Unmarshal(raw, &one); err == nil {
		return []string{one}, nil
	}
	var list []string
	err := json.Unmarshal(raw, &list)
	return list, err
}

// GetExpirationTime implements jwt.Claims.
func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return c.expires, nil }

// GetIssuedAt implements jwt.Claims.
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error) { return c.issuedAt, nil }

// GetNotBefore implements jwt.Claims.
func (c *claims) GetNotBefore() (*jwt.NumericDate, error) { return c.notBefore, nil }

// GetIssuer implements jwt.Claims.
func (c *claims) GetIssuer() (string, error) { return c.issuer, nil }

// GetSubject implements jwt.Claims.
func (c *claims) GetSubject() (string, error) { return c.subject, nil }

// GetAudience implements jwt.Claims.
func (c *claims) GetAudience() (jwt.ClaimStrings, error) { return c.audience, nil }
