package gateway

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// route is one row of the table of everything that is served.
type route struct {
	method, path string // path in the form of http.ServeMux, below BaseURL
	// public routes need no credential.
	public bool
	// websocket marks the route that is upgraded: browsers send its requests without a preflight.
	websocket bool
	// body is how many bytes of a body are read before handle is called; 0 means that none is looked at.
	body   int64
	handle func(*call) error
}

var (
	errNoRoute = refuse(http.StatusNotFound, "not_found", "There is nothing at this path.")
	errMethod  = refuse(http.StatusMethodNotAllowed, "method", "This method is not known at this path.")
)

// Policies for browsers that show one of our responses as a document.
const (
	dataPolicy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
	pagePolicy = "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; object-src 'none'; " +
		"base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)

// routes is the table. What is not in it is 404 for those with a credential and 401 for others; /tree and /hub/api are
// in it because VS Code asks for them without one and takes 404 for "no password needed".
func (g *Gateway) routes() []route {
	return []route{
		{method: "GET", path: "/api", public: true, handle: g.version},
		{method: "GET", path: "/healthz", public: true, handle: g.healthz},
		{method: "GET", path: "/metrics", public: true, handle: g.showMetrics},
		{method: "GET", path: "/tree", public: true, handle: notHere},
		{method: "GET", path: "/hub/api", public: true, handle: notHere},

		{method: "GET", path: "/{$}", public: true, handle: g.page},
		{method: "GET", path: "/login", public: true, handle: g.page},
		{method: "GET", path: "/favicon.ico", public: true, handle: g.page},
		{method: "GET", path: "/static/{file...}", public: true, handle: g.page},
		{method: "POST", path: "/login", public: true, body: loginBody, handle: g.login},
		{method: "POST", path: "/logout", public: true, body: loginBody, handle: g.logout},

		{method: "GET", path: "/api/me", handle: g.me},
		{method: "GET", path: "/api/status", handle: g.status},
		{method: "GET", path: "/api/kernelspecs", handle: g.listSpecs},
		{method: "GET", path: "/api/kernelspecs/{name}", handle: g.getSpec},
		{method: "GET", path: "/kernelspecs/{name}/{file...}", handle: g.getResource},

		{method: "GET", path: "/api/kernels", handle: g.listKernels},
		{method: "POST", path: "/api/kernels", body: kernelBody, handle: g.startKernel},
		{method: "GET", path: "/api/kernels/{id}", handle: g.getKernel},
		{method: "DELETE", path: "/api/kernels/{id}", body: idleBody, handle: g.stopKernel},
		{method: "POST", path: "/api/kernels/{id}/interrupt", body: idleBody, handle: g.interruptKernel},
		{method: "POST", path: "/api/kernels/{id}/restart", body: idleBody, handle: g.restartKernel},
		{method: "GET", path: "/api/kernels/{id}/channels", websocket: true, handle: g.channels},
		{method: "GET", path: "/api/kernels/{id}/journal", handle: g.journal},

		{method: "GET", path: "/api/sessions", handle: g.listSessions},
		{method: "POST", path: "/api/sessions", body: sessionBody, handle: g.openSession},
		{method: "GET", path: "/api/sessions/{id}", handle: g.getSession},
		{method: "PATCH", path: "/api/sessions/{id}", body: sessionBody, handle: g.changeSession},
		{method: "DELETE", path: "/api/sessions/{id}", body: idleBody, handle: g.closeSession},
	}
}

func notHere(*call) error { return errNoRoute }

// routed builds the handler of everything from the table.
func (g *Gateway) routed(table []route) http.Handler {
	mux := http.NewServeMux()
	methods := map[string][]string{}
	public := map[string]bool{}
	for _, rt := range table {
		mux.Handle(rt.method+" "+rt.path, g.serve(rt))
		methods[rt.path] = append(methods[rt.path], rt.method)
		public[rt.path] = public[rt.path] || rt.public
	}
	for path, known := range methods {
		if slices.Contains(known, "GET") {
			known = append(known, "HEAD")
		}
		allow := strings.Join(append(known, "OPTIONS"), ", ")
		mux.Handle(path, g.serve(route{path: path, public: public[path], handle: func(c *call) error {
			c.w.Header().Set("Allow", allow)
			return errMethod
		}}))
	}
	other := g.serve(route{path: "other", handle: notHere})
	mux.Handle("/", other)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions {
			g.preflight(w, r)
			return
		}
		path, ok := cleanPath(r.URL.EscapedPath(), r.URL.Path)
		if ok && g.base != "" {
			if r.URL.Path == g.base && r.Method == http.MethodGet {
				http.Redirect(w, r, g.base+"/", http.StatusFound)
				return
			}
			path, ok = strings.CutPrefix(path+"/", g.base+"/") // "/cells/" itself has lost its slash by now
			path = "/" + strings.TrimSuffix(path, "/")
		}
		if !ok {
			other.ServeHTTP(w, r)
			return
		}
		inner, u := *r, *r.URL
		u.Path, u.RawPath, inner.URL = path, "", &u
		mux.ServeHTTP(w, &inner)
	})
}

// cleanPath takes repeated and trailing slashes away, which sloppy clients add, so that the mux never redirects. It
// refuses what means different things to different readers: dot segments, encoded slashes, backslashes, control
// characters, bytes that are not UTF-8.
func cleanPath(escaped, path string) (string, bool) {
	lower := strings.ToLower(escaped)
	if len(escaped) > maxPathBytes || !strings.HasPrefix(path, "/") || strings.Contains(lower, "%2f") ||
		strings.Contains(path, `\`) || !utf8.ValidString(path) {
		return "", false
	}
	if strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", false
	}
	var segments []string
	for _, s := range strings.Split(path, "/") {
		if s == "." || s == ".." {
			return "", false
		}
		if s != "" {
			segments = append(segments, s)
		}
	}
	return "/" + strings.Join(segments, "/"), true
}

// serve is the way of every request through its route: authentication, body, handler, refusal, measuring. There is no
// other way in.
func (g *Gateway) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		c := &call{w: &recorder{ResponseWriter: w}, r: r, route: rt}
		if err := g.answer(c); err != nil {
			g.logRefusal(c, c.refused(err))
		}
		took := time.Since(began)
		if !c.w.upgraded { // else it was counted when it was
			g.metrics.request(c, took)
		}
		g.log.Debug("request", "method", shorten(r.Method, maxName), "route", rt.path, "path", shorten(r.URL.Path, maxLogText),
			"status", c.w.status, "took", took, "owner", c.who.Name, "from", g.client(r).String())
	})
}

// answer does all but the refusing.
func (g *Gateway) answer(c *call) error {
	h := c.w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", dataPolicy)
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Origin")
	if len(c.r.TransferEncoding) > 0 {
		// It may have had a length, too, which net/http forgets: then the two ends of a proxy may not agree where it
		// ends, and what follows is nobody's request (RFC 9112 section 6.1).
		h.Set("Connection", "close")
	}
	if c.r.ContentLength != 0 {
		c.readBy(time.Now().Add(bodyTimeout)) // also for a body that nobody wants
	}
	if !c.route.public {
		if err := g.authenticate(c); err != nil {
			if c.r.ContentLength != 0 {
				h.Set("Connection", "close") // its body is not worth waiting for
			}
			return err
		}
	}
	if c.route.body > 0 {
		if err := c.read(c.route.body); err != nil {
			return err
		}
	}
	return c.route.handle(c)
}

// logRefusal logs what is our fault; the rest is seen at debug level with the request.
func (g *Gateway) logRefusal(c *call, r *refusal) {
	if r.status < http.StatusInternalServerError || c.ctx().Err() != nil {
		return
	}
	attrs := []any{"route", c.route.path, "status", r.status, "reason", r.reason, "owner", c.who.Name}
	if r.cause != nil {
		attrs = append(attrs, slog.String("error", shorten(r.cause.Error(), 2*maxLogText)))
	}
	g.log.Warn("request not served", attrs...)
}
