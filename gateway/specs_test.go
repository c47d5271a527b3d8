package gateway_test

import (
	"encoding/json"
	"strings"
	"testing"

	"cellblock.io/cellblock/kernels"
)

const pythonSpec = `{"argv":["python"],"display_name":"Python 3","language":"python","metadata":{"x":"<&>"}}`

func TestKernelspecs(t *testing.T) {
	r := newRig(t, nil)
	r.domain.specs["broken"] = kernels.Spec{Name: "broken", JSON: json.RawMessage(`{`)}
	all := `{"default":"python3","kernelspecs":{"python3":{"name":"python3","spec":` + pythonSpec + `,"resources":{` +
		`"kernel.js":"/kernelspecs/python3/kernel.js","logo-64x64":"/kernelspecs/python3/logo-64x64.png",` +
		`"logo-svg":"/kernelspecs/python3/logo-svg.svg"}}}}`
	for path, want := range map[string]struct {
		status int
		body   string
	}{
		"/api/kernelspecs":                       {200, all},
		"/api/kernelspecs?user=bob&1732300":      {200, all},
		"/api/kernelspecs?user=bob/python3":      {200, pythonSpec},
		"/api/kernelspecs?user=a/b/python3":      {200, pythonSpec},
		"/api/kernelspecs/python3":               {200, pythonSpec},
		"/api/kernelspecs/python":                {200, pythonSpec},
		"/api/kernelspecs/x":                     {404, `{"message":"Kernelspec does not exist: x","reason":"not_found"}`},
		"/api/kernelspecs?user=bob/x":            {404, `{"message":"Kernelspec does not exist: x","reason":"not_found"}`},
		"/api/kernelspecs/broken":                {404, `{"message":"Kernelspec does not exist: broken","reason":"not_found"}`},
		"/kernelspecs/python3/logo-64x64.png":    {200, "\x89PNG"},
		"/kernelspecs/python3/logo-64x64.png?17": {200, "\x89PNG"},
		"/kernelspecs/python3/x.png":             {404, `{"message":"Kernelspec does not exist: python3/x.png","reason":"not_found"}`},
		"/kernelspecs/x/logo-64x64.png":          {404, `{"message":"Kernelspec does not exist: x/logo-64x64.png","reason":"not_found"}`},
	} {
		w := r.do("GET", path, "", alice)
		if got := strings.TrimSpace(w.Body.String()); w.Code != want.status || got != want.body {
			t.Errorf("GET %s: %d %s", path, w.Code, got)
		}
	}
	for file, want := range map[string]string{
		"logo-64x64.png": "image/png", "logo-svg.svg": "image/svg+xml", "kernel.js": "text/javascript; charset=utf-8",
		"notes.txt": "application/octet-stream",
	} {
		for _, method := range []string{"GET", "HEAD"} {
			w := r.do(method, "/kernelspecs/python3/"+file, "", alice)
			if w.Code != 200 || w.Header().Get("Content-Type") != want || (method == "HEAD") != (w.Body.Len() == 0) {
				t.Errorf("%s %s: %d %v", method, file, w.Code, w.Header())
			}
		}
	}
}

func TestMe(t *testing.T) {
	r := newRig(t, nil)
	w := r.do("GET", `/api/me?permissions=%7B%22kernels%22%3A%5B%22read%22%2C%22rule%22%5D%2C%22contents%22%3A%5B%22read%22%5D%7D&173`, "", alice)
	want := `{"identity":{"username":"alice","name":"alice","display_name":"alice","initials":"A","avatar_url":null,"color":null},` +
		`"permissions":{"contents":[],"kernels":["read"]}}`
	if w.Code != 200 || strings.TrimSpace(w.Body.String()) != want {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := r.do("GET", "/api/me", "", alice); !strings.Contains(w.Body.String(), `"permissions":{}`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	many, _ := json.Marshal(map[string][]string{"kernels": make([]string, 65)})
	for _, bad := range []string{"x", "[]", `{"kernels":"read"}`, `{"kernels":[1]}`, string(many)} {
		if w := r.do("GET", "/api/me?permissions="+strings.ReplaceAll(bad, `"`, "%22"), "", alice); w.Code != 400 {
			t.Errorf("%s: %d", bad, w.Code)
		}
	}
}
