package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

// newPage serves the browser page: index.html at "/", login.html at "/login", everything below "/static/". Browsers ask
// each time whether a file has changed, so that a new gateway never meets an old page.
func newPage(assets fs.FS, policy string) (http.Handler, error) {
	files, err := readAssets(assets)
	if err != nil {
		return nil, fmt.Errorf("read the page: %w", err)
	}
	places := map[string]string{"/": "index.html", "/login": "login.html", "/favicon.ico": "favicon.svg"}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, ok := places[r.URL.Path]
		if !ok {
			name = strings.TrimPrefix(r.URL.Path, "/static/")
		}
		file, ok := files[name]
		if !ok {
			http.NotFound(w, r)
			return
		}
		head := w.Header()
		head.Set("Content-Security-Policy", policy)
		head.Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
		head.Set("Cache-Control", "no-cache")
		head.Set("ETag", file.tag)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(file.content))
	}), nil
}

type asset struct {
	content []byte
	tag     string
}

func readAssets(assets fs.FS) (map[string]asset, error) {
	files := map[string]asset{}
	err := fs.WalkDir(assets, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(assets, name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		files[name] = asset{content, `"` + hex.EncodeToString(sum[:16]) + `"`}
		return nil
	})
	return files, err
}
