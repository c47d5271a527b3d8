package gateway

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"cellblock.io/cellblock/auth"
)

// page serves the browser page; anybody may have it.
func (g *Gateway) page(c *call) error {
	if g.cfg.Page == nil {
		return errNoRoute
	}
	g.offerXSRF(c)
	c.w.Header().Set("Content-Security-Policy", pagePolicy)
	c.w.Header().Set("Referrer-Policy", "same-origin") // with no-referrer, browsers send forms with "Origin: null"
	g.cfg.Page.ServeHTTP(c.w, c.r)
	return nil
}

// login turns the token of a form into a browser session. The answer to a good one is 302 with the session as the
// first cookie, which is what VS Code looks at. A browser that sent a bad one is shown the login page again, by 303.
func (g *Gateway) login(c *call) error {
	session, err := g.newSession(c)
	if err != nil {
		if r := answer(err); r.status < 500 && strings.Contains(c.r.Header.Get("Accept"), "text/html") {
			return g.redirect(c, http.StatusSeeOther, "/login?error="+r.reason)
		}
		return err
	}
	g.setCookie(c, g.sessionCookie(c.r), session, false)
	return g.redirect(c, http.StatusFound, "/")
}

// newSession opens a browser session for the token in the field token, or password as VS Code calls it.
func (g *Gateway) newSession(c *call) (string, error) {
	form, err := g.ownForm(c)
	if err != nil {
		return "", err
	}
	from := g.client(c.r)
	if !g.throttle.take(from) {
		return "", &refusal{status: http.StatusTooManyRequests, reason: "throttled",
			message: "Too many failed attempts from this address. Wait a minute.",
			header:  http.Header{"Retry-After": {strconv.Itoa(int(loginWindow.Seconds()))}}}
	}
	token := form.Get("token")
	if token == "" {
		token = form.Get("password")
	}
	raw, _, err := checked(strings.TrimSpace(token), byToken, true)
	if err != nil {
		return "", err
	}
	session, _, err := g.cfg.Auth.Login(c.ctx(), raw)
	if errors.Is(err, auth.ErrInvalidCredential) {
		return "", errBad
	}
	g.throttle.refund(from)
	return session, err
}

// logout ends the browser session, if there is one, and shows the login page.
func (g *Gateway) logout(c *call) error {
	if _, err := g.ownForm(c); err != nil {
		return err
	}
	name := g.sessionCookie(c.r)
	if cookie, err := c.r.Cookie(name); err == nil && cookie.Value != "" && len(cookie.Value) <= maxCredential {
		if err := g.cfg.Auth.Logout(c.ctx(), cookie.Value); err != nil {
			return err
		}
	}
	g.setCookie(c, name, "", false)
	return g.redirect(c, http.StatusFound, "/login")
}

// ownForm reads a form that a page of ours must have sent: neither logging in nor out may be done by another site.
func (g *Gateway) ownForm(c *call) (url.Values, error) {
	origin := c.r.Header.Get("Origin")
	if origin != "" && !g.allowedOrigin(c.r, origin) || crossSite(c.r) {
		return nil, refuse(http.StatusForbidden, "origin", "This form belongs to another site.")
	}
	form, err := url.ParseQuery(string(c.body))
	if err != nil {
		return nil, invalid("The form cannot be read.")
	}
	return form, checkXSRF(c.r, form.Get("_xsrf"))
}

// redirect sends the browser to one of our own paths; callers never name it.
func (g *Gateway) redirect(c *call, status int, path string) error {
	c.w.Header().Set("Location", g.base+path)
	c.w.WriteHeader(status)
	return nil
}
