package gateway

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"cellblock.io/cellblock/kernels"
)

// specsModel is the list of kernelspecs as Jupyter clients know it.
type specsModel struct {
	Default     string               `json:"default"`
	Kernelspecs map[string]specModel `json:"kernelspecs"`
}

type specModel struct {
	Name      string            `json:"name"`
	Spec      json.RawMessage   `json:"spec"`
	Resources map[string]string `json:"resources"`
}

// anyPython is the kernelspec name that means the default one, unless there is one of that name.
const anyPython = "python"

// listSpecs gives all kernelspecs. With KERNEL_USERNAME set, Jupyter's gateway client glues the name of a single one to
// its query ("?user=bob/python3") and expects that one.
func (g *Gateway) listSpecs(c *call) error {
	specs, standard, err := g.cfg.Kernels.Specs(c.ctx())
	if err != nil {
		return err
	}
	if user := c.r.URL.Query().Get("user"); strings.Contains(user, "/") {
		return c.oneSpec(specs, standard, path.Base(user))
	}
	model := specsModel{Default: standard, Kernelspecs: map[string]specModel{}}
	for name, s := range specs {
		if json.Valid(s.JSON) { // one broken image must not hide the others
			model.Kernelspecs[name] = g.specOf(s)
		}
	}
	c.json(http.StatusOK, model)
	return nil
}

func (g *Gateway) specOf(s kernels.Spec) specModel {
	resources := map[string]string{}
	for file := range s.Resources {
		at := g.base + "/kernelspecs/" + url.PathEscape(s.Name) + "/" + url.PathEscape(file)
		switch {
		case file == "kernel.js" || file == "kernel.css":
			resources[file] = at
		case strings.HasPrefix(file, "logo-"):
			resources[strings.TrimSuffix(file, path.Ext(file))] = at
		}
	}
	return specModel{Name: s.Name, Spec: s.JSON, Resources: resources}
}

func (g *Gateway) getSpec(c *call) error {
	specs, standard, err := g.cfg.Kernels.Specs(c.ctx())
	if err != nil {
		return err
	}
	return c.oneSpec(specs, standard, c.r.PathValue("name"))
}

// oneSpec gives the inner object of one kernelspec alone: what Jupyter's gateway client reads.
func (c *call) oneSpec(specs map[string]kernels.Spec, standard, name string) error {
	s, ok := specs[name]
	if !ok && name == anyPython {
		s, ok = specs[standard]
	}
	if !ok || !json.Valid(s.JSON) {
		return noSpec(name)
	}
	c.json(http.StatusOK, s.JSON)
	return nil
}

func noSpec(name string) *refusal {
	return refuse(http.StatusNotFound, "not_found", "Kernelspec does not exist: "+shorten(name, maxName))
}

// resourceTypes are the types of the files that kernelspecs have; guessing from the content is off.
var resourceTypes = map[string]string{
	".png": "image/png", ".svg": "image/svg+xml", ".gif": "image/gif", ".jpg": "image/jpeg", ".ico": "image/x-icon",
	".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".json": "application/json",
}

// getResource gives a kernelspec's logo, kernel.js or kernel.css. The name is looked up, never opened.
func (g *Gateway) getResource(c *call) error {
	specs, _, err := g.cfg.Kernels.Specs(c.ctx())
	if err != nil {
		return err
	}
	name, file := c.r.PathValue("name"), c.r.PathValue("file")
	content, ok := specs[name].Resources[file]
	if !ok {
		return noSpec(name + "/" + file)
	}
	kind := resourceTypes[strings.ToLower(path.Ext(file))]
	if kind == "" {
		kind = "application/octet-stream"
	}
	c.w.Header().Set("Content-Type", kind)
	c.w.Header().Set("Cache-Control", "private, max-age=600")
	http.ServeContent(c.w, c.r, file, time.Time{}, bytes.NewReader(content))
	return nil
}
