package gateway

import (
	"crypto/rand"
	"crypto/subtle"
	"net"
	"net/http"
	"strings"
)

// xsrfCookie is the name that JupyterLab and VS Code know.
const xsrfCookie = "_xsrf"

// An accepted XSRF token is random text of a page's; other Jupyter servers on the same host share the cookie, and any
// of theirs is as good, because what counts is that the sender can read it.
const (
	minXSRF = 16
	maxXSRF = 256
)

// sessionCookie names the cookie of a browser session. Cookies do not know ports, so the name does: two gateways on
// one host do not log each other out.
func (g *Gateway) sessionCookie(r *http.Request) string {
	_, port, err := net.SplitHostPort(g.host(r))
	if err != nil || port == "" || len(port) > 5 || strings.Trim(port, "0123456789") != "" {
		return "cellblock-session"
	}
	return "cellblock-session-" + port
}

// setCookie sends a cookie that is bound to the base path and, over TLS, to TLS.
func (g *Gateway) setCookie(c *call, name, value string, readable bool) {
	cookie := &http.Cookie{
		Name: name, Value: value, Path: g.base + "/",
		HttpOnly: !readable, Secure: g.scheme(c.r) == "https", SameSite: http.SameSiteLaxMode,
	}
	if value == "" {
		cookie.MaxAge = -1
	}
	http.SetCookie(c.w, cookie)
}

// offerXSRF gives the browser a readable token unless it has one.
func (g *Gateway) offerXSRF(c *call) {
	for _, cookie := range c.r.CookiesNamed(xsrfCookie) {
		if usableXSRF(cookie.Value) {
			return
		}
	}
	g.setCookie(c, xsrfCookie, rand.Text(), true)
}

func usableXSRF(token string) bool { return len(token) >= minXSRF && len(token) <= maxXSRF }

// checkXSRF wants proof that the sender can read our cookie, which another site cannot: the same token once more, in
// the X-XSRFToken header or, in a form, in given. Browsers may send several cookies of the name.
func checkXSRF(r *http.Request, given string) error {
	if given == "" {
		given = r.Header.Get("X-Xsrftoken")
	}
	for _, cookie := range r.CookiesNamed(xsrfCookie) {
		if usableXSRF(given) && subtle.ConstantTimeCompare([]byte(cookie.Value), []byte(given)) == 1 {
			return nil
		}
	}
	return refuse(http.StatusForbidden, "xsrf", "The request lacks the X-XSRFToken header that repeats the _xsrf cookie.")
}
