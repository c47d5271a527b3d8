package main

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"cellblock.io/cellblock/web"
)

func TestPage(t *testing.T) {
	page, err := newPage(web.Assets(), web.ContentSecurityPolicy)
	if err != nil {
		t.Fatal(err)
	}
	get := func(path, tag string) *http.Response {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("If-None-Match", tag)
		page.ServeHTTP(w, r)
		return w.Result()
	}
	for path, kind := range map[string]string{
		"/": "text/html", "/login": "text/html", "/favicon.ico": "image/svg+xml",
		"/static/app.js": "text/javascript", "/static/app.css": "text/css",
	} {
		answer := get(path, "")
		if answer.StatusCode != http.StatusOK || !strings.HasPrefix(answer.Header.Get("Content-Type"), kind) ||
			answer.Header.Get("Content-Security-Policy") != web.ContentSecurityPolicy {
			t.Errorf("%s: %s %v", path, answer.Status, answer.Header)
		}
		if again := get(path, answer.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
			t.Errorf("%s again: %s", path, again.Status)
		}
	}
	for _, path := range []string{"/static/", "/static/none.js", "/static/../web.go", "/other"} {
		if answer := get(path, ""); answer.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, answer.Status)
		}
	}
}

// What the pages name must be served.
func TestPageNamesWhatIsServed(t *testing.T) {
	page, err := newPage(web.Assets(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"index.html", "login.html"} {
		text, err := fs.ReadFile(web.Assets(), name)
		if err != nil {
			t.Fatal(err)
		}
		links := regexp.MustCompile(`<(?:link|script|img)[^>]* (?:href|src)="([^"]+)"`).FindAllStringSubmatch(string(text), -1)
		if len(links) == 0 {
			t.Errorf("%s names no files", name)
		}
		for _, link := range links {
			w := httptest.NewRecorder()
			page.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/"+link[1], nil))
			if w.Code != http.StatusOK {
				t.Errorf("%s names %s: %d", name, link[1], w.Code)
			}
		}
	}
}
