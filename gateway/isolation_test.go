package gateway_test

import (
	"fmt"
	"net/http/httptest"
	"sort"
	"strings"
	"testing"
)

// dump is a response byte by byte, with the id in it replaced: all that a prober can compare.
func dump(w *httptest.ResponseRecorder, id string) string {
	var lines []string
	for name, values := range w.Header() {
		lines = append(lines, fmt.Sprint(name, values))
	}
	sort.Strings(lines)
	return strings.ReplaceAll(fmt.Sprint(w.Code, lines, w.Body), id, "ID")
}

var upgrade = header{
	"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==",
}

// Another owner's kernel or session does not exist: byte for byte, on every route, and before the upgrade.
func TestForeignLooksUnknown(t *testing.T) {
	const unknownSession = "cccccccc-0000-4000-8000-00000000000f"
	for _, row := range []struct{ method, path, foreign, unknown, body string }{
		{"GET", "/api/kernels/ID", bobKernel, nobodys, ""},
		{"HEAD", "/api/kernels/ID", bobKernel, nobodys, ""},
		{"DELETE", "/api/kernels/ID", bobKernel, nobodys, ""},
		{"POST", "/api/kernels/ID/interrupt", bobKernel, nobodys, ""},
		{"POST", "/api/kernels/ID/restart", bobKernel, nobodys, "{}"},
		{"GET", "/api/kernels/ID/channels", bobKernel, nobodys, ""},
		{"GET", "/api/kernels/ID/channels?session_id=x", bobKernel, nobodys, ""},
		{"GET", "/api/kernels/ID/channels?since=x", bobKernel, nobodys, ""},
		{"GET", "/api/kernels/ID/journal", bobKernel, nobodys, ""},
		{"GET", "/api/kernels/ID/journal?since=x&limit=-1", bobKernel, nobodys, ""},
		{"HEAD", "/api/kernels/ID/journal?since=1", bobKernel, nobodys, ""},
		{"GET", "/api/kernels/ID/unknown", bobKernel, nobodys, ""},
		{"PUT", "/api/kernels/ID", bobKernel, nobodys, ""},
		{"GET", "/api/sessions/ID", bobSession, unknownSession, ""},
		{"DELETE", "/api/sessions/ID", bobSession, unknownSession, ""},
		{"PATCH", "/api/sessions/ID", bobSession, unknownSession, `{"path":"x"}`},
		{"PATCH", "/api/sessions/" + aliceSession, bobKernel, nobodys, `{"kernel":{"id":"ID"}}`},
		{"POST", "/api/sessions", bobKernel, nobodys, `{"path":"x","type":"console","kernel":{"id":"ID"}}`},
		{"POST", "/api/kernels", bobKernel, nobodys, `{"kernel_id":"ID"}`},
	} {
		for name, h := range map[string]header{
			"token": alice, "Lab": append(header{"User-Agent", "Tornado/6.5.2"}, alice...), "upgrade": append(upgrade, alice...),
		} {
			ask := func(id string) string {
				w := newRig(t, nil).do(row.method, strings.ReplaceAll(row.path, "ID", id), strings.ReplaceAll(row.body, "ID", id), h)
				return dump(w, id)
			}
			if foreign, unknown := ask(row.foreign), ask(row.unknown); foreign != unknown {
				t.Errorf("%s %s with %s:\nforeign %s\nunknown %s", row.method, row.path, name, foreign, unknown)
			}
		}
	}
}

func TestMalformedIDLooksUnknown(t *testing.T) {
	r := newRig(t, nil)
	for _, id := range []string{"zz9", "1-2-3-4", "1-2-3-4-5-6", "a.b-1-1-1-1", strings.Repeat("a", 33) + "-1-1-1-1"} {
		for _, path := range []string{"", "/channels", "/journal", "/interrupt"} {
			method := "GET"
			if path == "/interrupt" {
				method = "POST"
			}
			got := dump(r.do(method, "/api/kernels/"+id+path, "", alice), id)
			want := dump(r.do(method, "/api/kernels/"+nobodys+path, "", alice), nobodys)
			if got != want {
				t.Errorf("%s%s: %s, want %s", id, path, got, want)
			}
		}
		got, want := dump(r.do("GET", "/api/sessions/"+id, "", alice), id), dump(r.do("GET", "/api/sessions/"+nobodys, "", alice), nobodys)
		if got != want {
			t.Errorf("session %s: %s, want %s", id, got, want)
		}
	}
}

func TestListsHaveOwnThingsOnly(t *testing.T) {
	r := newRig(t, nil)
	for _, path := range []string{"/api/kernels", "/api/sessions", "/api/status"} {
		if body := r.do("GET", path, "", alice).Body.String(); strings.Contains(body, "bbbbbbbb") {
			t.Errorf("%s: %s", path, body)
		}
	}
	for _, call := range r.domain.calls {
		if !strings.HasSuffix(call, " alice") {
			t.Errorf("asked for somebody else: %s", call)
		}
	}
}
