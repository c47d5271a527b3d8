package gateway

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"cellblock.io/cellblock/auth"
)

// way is how a credential came.
type way int

const (
	byNothing way = iota
	byToken       // Authorization header or query: a browser never adds it by itself
	byCookie      // a browser adds it to every request, also those another site makes it send
)

// caller is who is calling and by what right.
type caller struct {
	auth.Identity
	way way
	raw string // the secret itself; to ask again later, never to be shown
}

var (
	errNobody = &refusal{status: http.StatusUnauthorized, reason: "unauthorized",
		message: "This needs a credential: send a token (Authorization: token …) or log in.",
		header:  http.Header{"Www-Authenticate": {`Bearer realm="cellblock"`}}}
	errBad = &refusal{status: http.StatusUnauthorized, reason: "unauthorized",
		message: "The credential is not valid or has expired.",
		header:  http.Header{"Www-Authenticate": {`Bearer realm="cellblock"`}}}
)

// credential finds the one credential of a request: the Authorization header wins over ?token=, which wins over the
// cookie. What is there and unusable is errBad, never skipped for the next. cookie names the session cookie.
func credential(r *http.Request, cookie string) (raw string, by way, err error) {
	switch values := r.Header.Values("Authorization"); {
	case len(values) > 1:
		return "", byToken, errBad
	case len(values) == 1 && strings.TrimSpace(values[0]) != "":
		raw, ok := headerToken(values[0])
		return checked(raw, byToken, ok)
	}
	if raw, ok := queryToken(r.URL.RawQuery); raw != "" || !ok {
		return checked(raw, byToken, ok)
	}
	if c, err := r.Cookie(cookie); err == nil && c.Value != "" {
		return checked(c.Value, byCookie, true)
	}
	return "", byNothing, errNobody
}

// checked refuses what cannot be a credential before anybody looks it up.
func checked(raw string, by way, ok bool) (string, way, error) {
	if !ok || raw == "" || len(raw) > maxCredential {
		return "", by, errBad
	}
	for i := range len(raw) {
		if raw[i] <= ' ' || raw[i] >= 0x7f {
			return "", by, errBad
		}
	}
	return raw, by, nil
}

// headerToken reads "token T", "Bearer T", "Basic base64(anything:T)" in any case and with any blanks, and T alone,
// which is what a client with an empty scheme sends.
func headerToken(value string) (string, bool) {
	fields := strings.Fields(value)
	if len(fields) == 1 {
		return fields[0], true
	}
	if len(fields) != 2 {
		return "", false
	}
	switch strings.ToLower(fields[0]) {
	case "token", "bearer":
		return fields[1], true
	case "basic":
		plain, err := base64.StdEncoding.DecodeString(fields[1])
		if err != nil {
			return "", false
		}
		_, password, found := strings.Cut(string(plain), ":")
		return password, found
	}
	return "", false
}

// queryToken finds the token parameter. Several that differ are not ok; an empty one is none.
func queryToken(query string) (string, bool) {
	values, _ := url.ParseQuery(query) // what is malformed is left out
	token := ""
	for _, v := range values["token"] {
		if token != "" && v != "" && v != token {
			return "", false
		}
		if v != "" {
			token = v
		}
	}
	return token, true
}
