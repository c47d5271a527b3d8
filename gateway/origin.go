package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// originForm is how browsers write an origin.
var originForm = regexp.MustCompile(`^[a-z][a-z0-9+.-]*://[a-z0-9._-]+(:[0-9]{1,5})?$|^https?://\[[0-9a-f:.]+\](:[0-9]{1,5})?$`)

// ownPort is the port that browsers leave out of an origin.
var ownPort = map[string]string{"http": ":80", "https": ":443"}

// validOrigin reports whether o can ever equal what a browser sends.
func validOrigin(o string) bool {
	scheme, _, _ := strings.Cut(o, "://")
	port := ownPort[scheme]
	return originForm.MatchString(o) && (port == "" || !strings.HasSuffix(o, port))
}

// ownOrigin is the origin of pages that this gateway serves.
func (g *Gateway) ownOrigin(r *http.Request) string {
	scheme := g.scheme(r)
	return scheme + "://" + strings.TrimSuffix(g.host(r), ownPort[scheme])
}

// ownHost reports whether a host, as a browser names it, is one of this gateway's. Anybody can make a name of theirs lead
// here, and then browsers take their pages for ours; an address cannot be made to, and localhost neither.
func (g *Gateway) ownHost(host string) bool {
	name := host
	if n, _, err := net.SplitHostPort(host); err == nil {
		name = n
	}
	_, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil || name == "localhost" || slices.Contains(g.cfg.Hosts, name)
}

// allowedOrigin reports whether pages of that origin may use a person's cookie. Exact: no case folding, no suffixes.
func (g *Gateway) allowedOrigin(r *http.Request, origin string) bool {
	own := g.ownHost(g.host(r)) && origin == g.ownOrigin(r)
	return origin != "" && origin != "null" && (own || slices.Contains(g.cfg.AllowOrigins, origin))
}

// checkOrigin refuses what a browser may have been tricked into. A token is not something that browsers add, so it
// overrides: then a page of any origin may read the answer.
func (c *call) checkOrigin(g *Gateway) error {
	origin := c.r.Header.Get("Origin")
	allowed := g.allowedOrigin(c.r, origin)
	if origin != "" && (allowed || c.who.way == byToken) {
		c.shareWith(origin, allowed)
	}
	switch {
	case c.who.way != byCookie || allowed:
		return nil
	case c.route.websocket: // browsers send an Origin with every one, and no preflight before it
		return refuse(http.StatusForbidden, "origin", "This page may not open a WebSocket here with a cookie.")
	case origin != "", crossSite(c.r) && unsafeMethod(c.r.Method):
		return refuse(http.StatusNotFound, "not_found", "There is nothing here for that page.")
	}
	return nil
}

// shareWith lets a page of that origin read the response; cookies only where they are allowed.
func (c *call) shareWith(origin string, cookies bool) {
	h := c.w.Header()
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", "Location")
	if cookies {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
}

// crossSite reports whether the browser itself says that another site made the request.
func crossSite(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return false
	}
	return true
}

// unsafeMethod reports whether requests of that method change something.
func unsafeMethod(method string) bool {
	return method != http.MethodGet && method != http.MethodHead && method != http.MethodOptions
}

// preflight answers OPTIONS for every path and before any authentication, as the CORS protocol wants it. Pages of
// foreign origins get no permission, a token notwithstanding: a preflight carries none.
func (g *Gateway) preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Add("Vary", "Origin")
	if origin := r.Header.Get("Origin"); g.allowedOrigin(r, origin) {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
		h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "accept, authorization, content-type, x-xsrftoken")
		h.Set("Access-Control-Max-Age", "600")
	}
	w.WriteHeader(http.StatusNoContent)
}
