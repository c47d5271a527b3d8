package gateway_test

import (
	"encoding/json"
	"strings"
	"testing"

	"cellblock.io/cellblock/kernels"
)

func TestSessionModels(t *testing.T) {
	r := newRig(t, nil)
	model := `{"id":"` + aliceSession + `","path":"a.ipynb","name":"a","type":"notebook","kernel":` + aliceModel +
		`,"notebook":{"path":"a.ipynb","name":"a"}}`
	if w := r.do("GET", "/api/sessions/"+aliceSession, "", alice); w.Code != 200 || strings.TrimSpace(w.Body.String()) != model {
		t.Errorf("get: %d %s", w.Code, w.Body)
	}
	if w := r.do("GET", "/api/sessions", "", alice); w.Code != 200 || strings.TrimSpace(w.Body.String()) != "["+model+"]" {
		t.Errorf("list: %d %s", w.Code, w.Body)
	}
	if w := r.do("GET", "/api/sessions", "", header{"Authorization", "token root-token"}); strings.TrimSpace(w.Body.String()) != "[]" {
		t.Errorf("empty list: %s", w.Body)
	}
	if w := r.do("DELETE", "/api/sessions/"+aliceSession, "", alice); w.Code != 204 || w.Body.Len() > 0 {
		t.Errorf("close: %d %s", w.Code, w.Body)
	}
	r.domain.fail["CloseSession"] = kernels.ErrGone
	w := r.do("DELETE", "/api/sessions/"+aliceSession, "", alice)
	if reason, _ := reasonOf(t, w); w.Code != 410 || reason != "gone" {
		t.Errorf("close after its kernel: %d %s", w.Code, reason)
	}
}

func TestOpenSession(t *testing.T) {
	const chosen = "12345678-1234-4234-8234-123456789abc"
	for _, row := range []struct {
		body   string
		status int
		path   string // of the session
		kernel string // id
	}{
		{`{"path":"n.ipynb","type":"notebook","name":"n","kernel":{"name":"python3"}}`, 201, "n.ipynb", ""},
		{`{"path":"n","type":"notebook","name":null,"kernel":{"name":"","id":null}}`, 201, "n", ""},
		{`{"path":"n","type":"console","kernel":null}`, 201, "n", ""},
		{`{"path":"n","type":"console","kernel":{"id":"` + aliceKernel + `","name":"nonsense"}}`, 201, "n", aliceKernel},
		{`{"path":"n","type":"console","kernel":{"id":"` + chosen + `","name":"python3"}}`, 201, "n", chosen},
		{`{"notebook":{"path":"old.ipynb"},"kernel":{"name":"python3"}}`, 201, "old.ipynb", ""},
		{`{"notebook":{"name":"old.ipynb"}}`, 201, "old.ipynb", ""},
		{``, 400, "", ""},
		{`{"type":"notebook"}`, 400, "", ""},
		{`{"path":"n"}`, 400, "", ""},
		{`{"path":"","type":"notebook"}`, 400, "", ""},
		{`{"path":"n","type":"notebook","kernel":{"name":"nonsense"}}`, 400, "", ""},
		{`{"path":"n","type":"notebook","kernel":{"id":"nonsense"}}`, 400, "", ""},
		{`{"path":["n"],"type":"notebook"}`, 400, "", ""},
		{`{"path":"n","type":7}`, 400, "", ""},
		{`{"path":"n","type":"notebook","name":{}}`, 400, "", ""},
		{`{"path":"n","type":"notebook","kernel":"python3"}`, 400, "", ""},
		{`{"path":"n","type":"notebook","kernel":{"name":3}}`, 400, "", ""},
		{`{"notebook":"n"}`, 400, "", ""},
		{`{"notebook":{"path":1}}`, 400, "", ""},
		{`{"path":"` + strings.Repeat("a", 5000) + `","type":"notebook"}`, 400, "", ""},
		{`{"path":"` + strings.Repeat("a", 70000) + `","type":"notebook"}`, 413, "", ""},
	} {
		r := newRig(t, nil)
		w := r.do("POST", "/api/sessions", row.body, alice)
		if w.Code != row.status {
			t.Errorf("%.100s: %d %s, want %d", row.body, w.Code, w.Body, row.status)
			continue
		}
		if row.status != 201 {
			reasonOf(t, w)
			continue
		}
		var m struct {
			ID, Path string
			Name     *string
			Kernel   struct{ ID string }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil || m.Path != row.path || m.Name == nil ||
			row.kernel != "" && m.Kernel.ID != row.kernel || w.Header().Get("Location") != "/api/sessions/"+m.ID {
			t.Errorf("%.100s: %v %v %s", row.body, err, w.Header(), w.Body)
		}
	}
}

func TestChangeSession(t *testing.T) {
	for body, want := range map[string]struct {
		status int
		text   string
	}{
		`{"path":"b.ipynb"}`:                    {200, `"path":"b.ipynb","name":"a","type":"notebook"`},
		`{"path":"b","name":"c","type":"file"}`: {200, `"path":"b","name":"c","type":"file"`},
		`{"name":"","id":"ignored"}`:            {200, `"path":"a.ipynb","name":"","type":"notebook"`},
		`{"name":null,"kernel":null}`:           {200, `"name":"a"`},
		`{"notebook":{"path":"old.ipynb"}}`:     {200, `"path":"old.ipynb"`},
		``:                                      {200, `"path":"a.ipynb"`},
		`{"kernel":{"id":"` + aliceKernel + `","name":null}}`: {200, aliceKernel},
		`{"kernel":{"id":"` + bobKernel + `"}}`:               {400, `There is no kernel with the id ` + bobKernel},
		`{"kernel":{"id":"x"}}`:                               {400, `UUID`},
		`{"path":1}`:                                          {400, `must be a string`},
		`{"kernel":[]}`:                                       {400, `must be an object`},
		`nonsense`:                                            {400, `not JSON`},
	} {
		w := newRig(t, nil).do("PATCH", "/api/sessions/"+aliceSession, body, alice)
		if w.Code != want.status || !strings.Contains(w.Body.String(), want.text) {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
}
