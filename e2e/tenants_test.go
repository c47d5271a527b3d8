//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
)

// foreignIDs shows that another person's kernels and sessions do not exist: each answer is the one for an unknown id,
// byte for byte.
func foreignIDs(t *testing.T, shared *contract) {
	alice, bob, kernel := shared.alice, shared.bob, shared.kernel
	c := alice.connect(t, kernel, randomHex(t, 16))
	c.execute(t, "hers = 42")
	session := alice.openSession(t, "hers.ipynb", kernel)
	bobs := bob.openSession(t, "his.ipynb", bob.newKernel(t))

	rows := []struct{ method, path, body, id string }{
		{"GET", "/api/kernels/%s", "", kernel},
		{"HEAD", "/api/kernels/%s", "", kernel},
		{"DELETE", "/api/kernels/%s", "", kernel},
		{"PUT", "/api/kernels/%s", "", kernel},
		{"PATCH", "/api/kernels/%s", "{}", kernel},
		{"POST", "/api/kernels/%s/interrupt", "", kernel},
		{"POST", "/api/kernels/%s/restart", "", kernel},
		{"GET", "/api/kernels/%s/channels", "", kernel},
		{"GET", "/api/kernels/%s/nothing", "", kernel},
		{"GET", "/api/sessions/%s", "", session},
		{"PATCH", "/api/sessions/%s", `{"path":"mine.ipynb"}`, session},
		{"DELETE", "/api/sessions/%s", "", session},
		{"PATCH", "/api/sessions/" + bobs, `{"kernel":{"id":"%s"}}`, kernel},
	}
	for _, row := range rows {
		t.Run(row.method+" "+strings.NewReplacer("%s", "id", bobs, "own").Replace(row.path), func(t *testing.T) {
			unknown := uuid.NewString()
			hers := bob.call(t, row.method, fill(row.path, row.id), fill(row.body, row.id))
			none := bob.call(t, row.method, fill(row.path, unknown), fill(row.body, unknown))
			same(t, hers, none, row.id, unknown)
			if hers.status < 400 || hers.status > 499 {
				t.Errorf("status %d", hers.status)
			}
		})
	}
	t.Run("upgrade", func(t *testing.T) {
		unknown := uuid.NewString()
		hers, none := bob.upgrade(t, kernel), bob.upgrade(t, unknown)
		same(t, hers, none, kernel, unknown)
		if hers.status != http.StatusNotFound {
			t.Errorf("status %d", hers.status)
		}
	})
	t.Run("lists", func(t *testing.T) {
		for _, path := range []string{"/api/kernels", "/api/sessions", "/api/status"} {
			if got := bob.call(t, "GET", path, ""); strings.Contains(got.body, kernel) || strings.Contains(got.body, session) {
				t.Errorf("GET %s shows another person's: %s", path, got.body)
			}
		}
	})
	t.Run("the same id of one's own", func(t *testing.T) { bob.ownWithID(t, kernel) })
	if got := c.execute(t, "print(hers)"); got != "42\n" {
		t.Errorf("after all of it her kernel says %q", got)
	}
}

// ownWithID starts a kernel under an id that another person's kernel has: ids are an owner's own. Asking a session for a
// kernel that one does not have starts it too, as jupyter_server does.
func (p person) ownWithID(t *testing.T, id string) {
	t.Cleanup(func() { p.remove(t, id) })
	check := func() {
		t.Helper()
		if got := p.connect(t, id, randomHex(t, 16)).execute(t, "print('hers' in globals())"); got != "False\n" {
			t.Errorf("an own kernel with another person's id says %q", got)
		}
		p.expect(t, http.StatusNoContent, "DELETE", "/api/kernels/"+id, "")
	}
	p.expect(t, http.StatusCreated, "POST", "/api/kernels", fmt.Sprintf(`{"kernel_id":%q}`, id))
	check()
	p.openSession(t, "same.ipynb", id)
	check()
}

// quotaHolds starts 50 kernels at once where 3 are allowed.
func quotaHolds(t *testing.T, c *contract) {
	const starts, limit = 50, 3
	g := c.g
	carol := person{g.url, g.user(t, "carol", "--max-kernels", fmt.Sprint(limit))}

	answers := make([]answer, starts)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			var err error
			if answers[i], err = carol.try("POST", "/api/kernels", "{}"); err != nil {
				t.Errorf("start %d: %v", i, err)
			}
		})
	}
	all.Wait()

	count := map[int]int{}
	for _, got := range answers {
		count[got.status]++
		var model struct{ ID, Message string }
		if err := json.Unmarshal([]byte(got.body), &model); err != nil {
			t.Fatalf("%v: %s", err, got.body)
		}
		if got.status == http.StatusCreated {
			t.Cleanup(func() { carol.remove(t, model.ID) })
		}
		if got.status == http.StatusForbidden && !strings.Contains(model.Message, quotaSentence) {
			t.Errorf("the refusal says %q", model.Message)
		}
	}
	if want := map[int]int{http.StatusCreated: limit, http.StatusForbidden: starts - limit}; !maps.Equal(count, want) {
		t.Errorf("statuses %v instead of %v", count, want)
	}

	refusal := g.script(t, carol, "server_refused.py")
	if message, _ := refusal["message"].(string); !strings.Contains(message, "HTTP 403") || !strings.Contains(message, quotaSentence) {
		t.Errorf("through jupyter_server a person reads: %v", refusal)
	}
}

const quotaSentence = "Quota reached: 3 of 3 kernels are running. Stop one first."

// openSession ties a document to a kernel and returns the session's id. It ends with the kernel.
func (p person) openSession(t *testing.T, path, kernel string) string {
	t.Helper()
	body := fmt.Sprintf(`{"path":%q,"name":%q,"type":"notebook","kernel":{"id":%q}}`, path, path, kernel)
	id, _ := p.expect(t, http.StatusCreated, "POST", "/api/sessions", body)["id"].(string)
	return id
}

// upgrade asks for a kernel's WebSocket and returns the HTTP answer.
func (p person) upgrade(t *testing.T, id string) answer {
	t.Helper()
	got, err := p.do("GET", "/api/kernels/"+id+"/channels", "", http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// fill puts an id where "%s" is, if it is there.
func fill(pattern, id string) string { return strings.ReplaceAll(pattern, "%s", id) }

// same fails the test unless two answers differ in nothing but the id that they were asked for.
func same(t *testing.T, hers, none answer, herID, noID string) {
	t.Helper()
	text := func(a answer, id string) string {
		header := a.header.Clone()
		header.Del("Date")
		return strings.ReplaceAll(fmt.Sprintf("%d\n%v\n%s", a.status, header, a.body), id, "ID")
	}
	if h, n := text(hers, herID), text(none, noID); h != n {
		t.Errorf("another person's:\n%s\nunknown:\n%s", h, n)
	}
}
