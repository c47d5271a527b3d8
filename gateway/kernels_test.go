package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cellblock.io/cellblock/gateway"
	"cellblock.io/cellblock/kernels"
)

const aliceModel = `{"id":"` + aliceKernel + `","name":"python3","last_activity":"2026-01-02T03:04:06.000000Z",` +
	`"execution_state":"idle","connections":2}`

func TestKernelModels(t *testing.T) {
	r := newRig(t, nil)
	if w := r.do("GET", "/api/kernels/"+aliceKernel+"?1732300000000", "", alice); w.Code != 200 || strings.TrimSpace(w.Body.String()) != aliceModel {
		t.Errorf("get: %d %s", w.Code, w.Body)
	}
	if w := r.do("GET", "/api/kernels?no_track_activity=1&1732300000000", "", alice); strings.TrimSpace(w.Body.String()) != "["+aliceModel+"]" {
		t.Errorf("list: %d %s", w.Code, w.Body)
	}
	if w := r.do("GET", "/api/kernels", "", header{"Authorization", "token root-token"}); strings.TrimSpace(w.Body.String()) != "[]" {
		t.Errorf("empty list: %s", w.Body)
	}
	w := r.do("POST", "/api/kernels", "", alice)
	want := `{"id":"dddddddd-0000-4000-8000-000000000001","name":"python3","last_activity":"2026-01-02T03:04:05.000000Z",` +
		`"execution_state":"starting","connections":0}`
	if w.Code != 201 || strings.TrimSpace(w.Body.String()) != want ||
		w.Header().Get("Location") != "/api/kernels/dddddddd-0000-4000-8000-000000000001" {
		t.Errorf("start: %d %v %s", w.Code, w.Header(), w.Body)
	}
	if w := r.do("POST", "/api/kernels/"+aliceKernel+"/interrupt", "{}", alice); w.Code != 204 || w.Body.Len() > 0 {
		t.Errorf("interrupt: %d %s", w.Code, w.Body)
	}
	if w := r.do("POST", "/api/kernels/"+aliceKernel+"/restart", "", alice); w.Code != 200 || strings.TrimSpace(w.Body.String()) != aliceModel {
		t.Errorf("restart: %d %s", w.Code, w.Body)
	}
	if w := r.do("DELETE", "/api/kernels/"+aliceKernel, "", alice); w.Code != 204 || w.Body.Len() > 0 {
		t.Errorf("stop: %d %s", w.Code, w.Body)
	}
	w = r.do("DELETE", "/api/kernels/"+aliceKernel, "", alice)
	if _, message := reasonOf(t, w); w.Code != 404 || message != "Kernel does not exist: "+aliceKernel {
		t.Errorf("stop again: %d %s", w.Code, message)
	}
}

func TestStatusCountsOwnKernelsOnly(t *testing.T) {
	r := newRig(t, nil)
	var s struct {
		Started, Last_activity string
		Kernels, Connections   int
	}
	if err := json.Unmarshal(r.do("GET", "/api/status", "", alice).Body.Bytes(), &s); err != nil || s.Kernels != 1 || s.Connections != 2 ||
		!strings.HasSuffix(s.Started, "Z") || len(s.Last_activity) != len("2026-01-02T03:04:05.000000Z") {
		t.Errorf("%+v %v", s, err)
	}
}

func TestStartBodies(t *testing.T) {
	const id = "12345678-1234-4234-8234-123456789abc"
	for _, row := range []struct {
		body   string
		status int
		want   kernels.StartRequest
	}{
		{``, 201, kernels.StartRequest{}},
		{`{}`, 201, kernels.StartRequest{}},
		{`null`, 201, kernels.StartRequest{}},
		{` {"name":null,"env":null,"path":null,"kernel_id":null,"future":[1]} `, 201, kernels.StartRequest{}},
		{`{"name":"","path":""}`, 201, kernels.StartRequest{}},
		{`{"name":"python3","path":"a/b"}`, 201, kernels.StartRequest{Spec: "python3"}},
		{`{"kernel_id":"` + id + `"}`, 201, kernels.StartRequest{ID: id}},
		{`{"env":{"KERNEL_ID":"` + id + `"}}`, 201, kernels.StartRequest{ID: id}},
		{`{"owner":"bob","quota":9,"image":"x","mounts":["/"],"privileged":true}`, 201, kernels.StartRequest{}},
		{`{"name":"nonsense"}`, 400, kernels.StartRequest{}},
		{`{"name":"--privileged"}`, 400, kernels.StartRequest{}},
		{`{"kernel_id":"` + aliceKernel + `"}`, 409, kernels.StartRequest{}},
		{`{"kernel_id":"../x"}`, 400, kernels.StartRequest{}},
		{`{"env":{"KERNEL_ID":"x"}}`, 400, kernels.StartRequest{}},
		{`{"name":1}`, 400, kernels.StartRequest{}},
		{`{"name":["python3"]}`, 400, kernels.StartRequest{}},
		{`{"kernel_id":{}}`, 400, kernels.StartRequest{}},
		{`{"path":true}`, 400, kernels.StartRequest{}},
		{`{"env":[]}`, 400, kernels.StartRequest{}},
		{`{"env":"A=B"}`, 400, kernels.StartRequest{}},
		{`{"env":{"KERNEL_X":1}}`, 400, kernels.StartRequest{}},
		{`{"name":"a\u0000b"}`, 400, kernels.StartRequest{}},
		{`{"name":"` + strings.Repeat("a", 257) + `"}`, 400, kernels.StartRequest{}},
		{`[]`, 400, kernels.StartRequest{}},
		{`"x"`, 400, kernels.StartRequest{}},
		{`{`, 400, kernels.StartRequest{}},
		{`{} {}`, 400, kernels.StartRequest{}},
		{"{\"name\":\"\xff\"}", 400, kernels.StartRequest{}},
		{strings.Repeat("[", 100000), 400, kernels.StartRequest{}},
		{`{"x":"` + strings.Repeat("a", 300<<10) + `"}`, 413, kernels.StartRequest{}},
	} {
		r := newRig(t, nil)
		w := r.do("POST", "/api/kernels", row.body, alice)
		if w.Code != row.status {
			t.Errorf("%.80s: %d %s, want %d", row.body, w.Code, w.Body, row.status)
			continue
		}
		if row.status != 201 {
			if reason, _ := reasonOf(t, w); len(r.domain.started) > 0 {
				t.Errorf("%.80s: refused (%s) and started", row.body, reason)
			}
			continue
		}
		if got := r.domain.started[0]; got.Spec != row.want.Spec || got.ID != row.want.ID || len(got.Env) > 0 {
			t.Errorf("%.80s: %+v", row.body, got)
		}
	}
}

func TestEnvironmentIsAnAllowList(t *testing.T) {
	r := newRig(t, nil)
	// The whole environment of an old client, as it posts it.
	body := `{"env":{"KERNEL_FLAVOUR":"plain","LANG":"C.UTF-8","KERNEL_NOTHING":null,"KERNEL_USERNAME":"root","KERNEL_UID":"0",
		"KERNEL_IMAGE":"evil","KERNEL_VOLUMES":"/","KERNEL_WORKING_DIR":"/root","KERNEL_LAUNCH_TIMEOUT":"40","PATH":"/evil","HOME":"/evil",
		"LD_PRELOAD":"/evil.so","PYTHONSTARTUP":"/evil.py","PYTHONPATH":"/evil","HTTP_PROXY":"http://evil","CONTAINER_HOST":"x",
		"JUPYTER_GATEWAY_AUTH_TOKEN":"secret","AWS_SECRET_ACCESS_KEY":"secret","PS1":"$(id)\n","KERNEL X":"y","KERNEL_=":"z","KERNEL_":"w"}}`
	if w := r.do("POST", "/api/kernels", body, alice); w.Code != 201 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	got := fmt.Sprint(r.domain.started[0].Env)
	if want := "map[KERNEL_:w KERNEL_FLAVOUR:plain LANG:C.UTF-8]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, value := range []string{"$(id)", "`id`", "a\nb", "a\rb", "a\x00b", strings.Repeat("a", 4097)} {
		quoted, _ := json.Marshal(value)
		w := r.do("POST", "/api/kernels", `{"env":{"KERNEL_X":`+string(quoted)+`}}`, alice)
		if _, message := reasonOf(t, w); w.Code != 400 || strings.Contains(message, "id") && strings.Contains(message, "$") {
			t.Errorf("%.20q: %d %s", value, w.Code, message)
		}
	}
	many := []string{}
	for i := range 65 {
		many = append(many, fmt.Sprintf(`"KERNEL_%d":""`, i))
	}
	if w := r.do("POST", "/api/kernels", `{"env":{`+strings.Join(many, ",")+`}}`, alice); w.Code != 400 {
		t.Errorf("65 variables: %d", w.Code)
	}
	none := newRig(t, func(c *gateway.Config) { c.EnvAllow = nil })
	if w := none.do("POST", "/api/kernels", `{"env":{"KERNEL_X":"y"}}`, alice); w.Code != 201 || len(none.domain.started[0].Env) > 0 {
		t.Errorf("no allow-list: %d %v", w.Code, none.domain.started)
	}
}

func TestLaunchTimeout(t *testing.T) {
	r := newRig(t, nil)
	for i, row := range []struct {
		text string
		want time.Duration
	}{{"40", 40 * time.Second}, {"2.5", 2500 * time.Millisecond}, {"", 0}, {"0", 0}, {"-1", 0}, {"NaN", 0}, {"1e300", 0}, {"soon", 0}} {
		id := fmt.Sprintf("dddddddd-0000-4000-8000-%012d", i)
		w := r.do("POST", "/api/kernels", `{"kernel_id":"`+id+`","env":{"KERNEL_LAUNCH_TIMEOUT":"`+row.text+`"}}`, alice)
		if w.Code != 201 || r.domain.started[i].Timeout != row.want {
			t.Errorf("%q: %d %+v", row.text, w.Code, r.domain.started[i])
		}
	}
}

// How a kernel ended is told to whose it was, in the words of whoever looked; the rest of the answer stays.
func TestGoneKernelSaysWhy(t *testing.T) {
	r := newRig(t, nil)
	const why = "Kernel does not exist: it was idle."
	r.domain.fail["Get"] = fmt.Errorf("look up: %w", &kernels.RequestError{Kind: kernels.ErrNotFound, Sentence: why})
	for _, path := range []string{"", "/channels"} {
		w := r.do("GET", "/api/kernels/"+aliceKernel+path, "", alice)
		if reason, message := reasonOf(t, w); w.Code != 404 || reason != "not_found" || message != why {
			t.Errorf("%s: %d %s %q", path, w.Code, reason, message)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, row := range []struct {
		err             error
		status          int
		reason, message string
	}{
		{&kernels.QuotaError{Used: 3, Limit: 3}, 403, "quota", "Quota reached: 3 of 3 kernels are running. Stop one first."},
		{fmt.Errorf("reserve: %w", &kernels.QuotaError{}), 403, "quota", "Quota reached: this account may not run kernels. Ask your administrator."},
		{fmt.Errorf("reserve: %w", kernels.ErrExists), 409, "exists", ""},
		{&kernels.RequestError{Kind: kernels.ErrUnknownSpec, Sentence: "No kernel named x is installed."}, 400, "unknown_kernelspec", "No kernel named x is installed."},
		{fmt.Errorf("x: %w", &kernels.RequestError{Kind: kernels.ErrInvalid, Sentence: "Not so."}), 400, "invalid", "Not so."},
		{fmt.Errorf("redis at 10.0.0.1: %w", kernels.ErrUnavailable), 503, "unavailable", ""},
		{&kernels.RequestError{Kind: kernels.ErrDead, Sentence: "It died."}, 410, "dead", "It died."},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), 503, "timeout", ""},
		{errors.New("open /var/lib/secret: no such file"), 500, "internal", "internal error"},
	} {
		r := newRig(t, nil)
		r.domain.fail["Start"] = row.err
		w := r.do("POST", "/api/kernels", "", alice)
		reason, message := reasonOf(t, w)
		if w.Code != row.status || reason != row.reason || row.message != "" && message != row.message {
			t.Errorf("%v: %d %s %q", row.err, w.Code, reason, message)
		}
		if strings.Contains(message, "redis") || strings.Contains(message, "secret") {
			t.Errorf("%v: shown outside as %q", row.err, message)
		}
		if row.status == 503 && w.Header().Get("Retry-After") == "" {
			t.Errorf("%v: no Retry-After", row.err)
		}
		lab := r.do("POST", "/api/kernels", "", append(header{"User-Agent", "Tornado/6.5.2"}, alice...))
		shown := refusalForLab(t, lab)
		if strings.Join(strings.Fields(shown), " ") != strings.Join(strings.Fields(message), " ") {
			t.Errorf("%v: Lab is told %q", row.err, shown)
		}
	}
}

// refusalForLab reads a message and checks that JupyterLab's dialog shows it whole.
func refusalForLab(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	_, message := reasonOf(t, w)
	if !strings.HasPrefix(message, "\n") || !strings.HasSuffix(message, "\n") {
		t.Errorf("message does not stand alone: %q", message)
	}
	for _, line := range strings.Split(message, "\n") {
		if len(line) > 100 {
			t.Errorf("line of %d characters: %q", len(line), line)
		}
	}
	return message
}

func TestLongRefusalForLabIsBroken(t *testing.T) {
	r := newRig(t, nil)
	sentence := strings.Repeat("word ", 60) + strings.Repeat("x", 300) + " end."
	r.domain.fail["Start"] = &kernels.RequestError{Kind: kernels.ErrInvalid, Sentence: sentence}
	message := refusalForLab(t, r.do("POST", "/api/kernels", "", append(header{"User-Agent", "Tornado/6.5.2"}, alice...)))
	if strings.Count(message, "word") != 60 || !strings.Contains(message, "end.") {
		t.Errorf("%q", message)
	}
}

// A caller that gave up will not ask for the kernel again: clients never repeat a start.
func TestStartWithoutCallerIsStopped(t *testing.T) {
	r := newRig(t, nil)
	ctx, cancel := context.WithCancel(context.Background())
	r.domain.onStart = cancel
	req := httptest.NewRequestWithContext(ctx, "POST", "/api/kernels", nil)
	req.Header.Set("Authorization", "token alice-token")
	r.Handler().ServeHTTP(httptest.NewRecorder(), req)
	if r.domain.count("Start") != 1 || r.domain.count("Stop") != 1 {
		t.Errorf("calls %v", r.domain.calls)
	}
}
