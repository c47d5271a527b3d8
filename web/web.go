// Package web holds the browser page of Cellblock, as built from src by "npm run build", for the gateway to serve.
package web

import (
	"embed"
	"io/fs"
)

//go:embed dist
var dist embed.FS

// ContentSecurityPolicy is the policy that the pages need and nothing more: scripts, styles and connections of the
// gateway's own, images also as data URLs (what a kernel draws). The pages repeat it for themselves, but for
// frame-ancestors, which only a header can say.
const ContentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Assets returns the built page: index.html (served at the base path, ending with a slash), login.html (served at
// "login" below it), and app.js, login.js, app.css and favicon.svg (served below "static/"). All addresses in them are
// relative. The login page needs a readable cookie "_xsrf" and a referrer policy that leaves the Origin header alone;
// it sets the latter itself.
func Assets() fs.FS {
	assets, err := fs.Sub(dist, "dist")
	if err != nil {
		return dist // not reached: "dist" is a valid path
	}
	return assets
}
