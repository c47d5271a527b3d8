package containers_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cellblock.io/cellblock/containers"
	"cellblock.io/cellblock/kernels"
)

var eventTime atomic.Int64

// died is an event with a time of its own.
func died(role, handle, code string) string {
	return fmt.Sprintf(`{"Type":"container","Action":"died","timeNano":%d,"Actor":{"Attributes":{"io.cellblock.role":%q,`+
		`"io.cellblock.handle":%q,"containerExitCode":%q}}}`, eventTime.Add(1), role, handle, code) + "\n"
}

func TestReadExits(t *testing.T) {
	tests := []struct {
		name, stream string
		want         []kernels.Exit
		err          string
	}{
		{"ends", died("kernel", "aa", "137") + died("bridge", "bb", "0"),
			[]kernels.Exit{{Handle: "aa", Code: 137}, {Handle: "bb", Bridge: true}}, "EOF"},
		{"others", strings.Replace(died("kernel", "aa", "1"), "died", "start", 1) + died("workspace", "aa", "1") + died("kernel", "../x", "1"), nil, "EOF"},
		{"no JSON", died("kernel", "aa", "1") + "oops\n" + died("kernel", "bb", "1"), []kernels.Exit{{Handle: "aa", Code: 1}}, "read an event"},
		{"no code", died("kernel", "aa", "x"), nil, "exit code"},
		{"a long line", strings.Repeat(" ", 2<<20), nil, "token too long"},
		{"cut", died("kernel", "aa", "1") + `{"Type":`, []kernels.Exit{{Handle: "aa", Code: 1}}, "read an event"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []kernels.Exit
			err := containers.ReadExits(func(e kernels.Exit) { got = append(got, e) }, strings.NewReader(tt.stream))
			if !slices.Equal(got, tt.want) || err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%+v, %v; want %+v, %s", got, err, tt.want, tt.err)
			}
		})
	}
}

func FuzzReadExits(f *testing.F) {
	f.Add(died("kernel", "aa", "137"))
	f.Add("{}\n[]\nnull\n")
	f.Fuzz(func(t *testing.T, stream string) {
		err := containers.ReadExits(func(e kernels.Exit) {
			if strings.Trim(e.Handle, "0123456789abcdef") != "" || e.Handle == "" {
				t.Errorf("handle %q", e.Handle)
			}
		}, strings.NewReader(stream))
		if err == nil {
			t.Error("no error")
		}
	})
}

// A stream that follows another repeats some of its events, and each end is told once.
func TestReadExitsOnce(t *testing.T) {
	first, second, third := died("kernel", "aa", "1"), died("kernel", "aa", "2"), died("bridge", "aa", "3")
	var got []int
	err := containers.ReadExits(func(e kernels.Exit) { got = append(got, e.Code) },
		strings.NewReader(first+second+first), strings.NewReader(second+third), strings.NewReader(first+second+third))
	if !errors.Is(err, io.EOF) || !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("%v, %v", got, err)
	}
	var many strings.Builder
	for range 20_000 {
		many.WriteString(died("kernel", "aa", "1"))
	}
	n := 0
	containers.ReadExits(func(kernels.Exit) { n++ }, strings.NewReader(many.String()))
	if n != 20_000 {
		t.Errorf("%d ends", n)
	}
}

// The stream ends with the engine or with the caller, and callers can tell.
func TestWatch(t *testing.T) {
	p := newPodman(t)
	e := p.connect(t)
	p.on("GET /events", func(w http.ResponseWriter, r *http.Request) {
		var filters map[string][]string
		if err := json.Unmarshal([]byte(r.URL.Query().Get("filters")), &filters); err != nil || filters["label"][0] != "io.cellblock.instance=test" {
			t.Errorf("filters %v, %v", filters, err)
		}
		fmt.Fprint(w, died("kernel", "aa", "137"))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	if err := e.Watch(ctx, func(kernels.Exit) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("the caller went away: %v", err)
	}
	p.on("GET /events", answer(200, died("kernel", "aa", "137")))
	if err := e.Watch(t.Context(), func(kernels.Exit) {}); !errors.Is(err, kernels.ErrUnavailable) {
		t.Errorf("the engine ends every stream at once: %v", err)
	}
	p.on("GET /events", answer(500, `{"response":500,"message":"no events here"}`))
	if err := e.Watch(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "no events here") {
		t.Errorf("a refusal: %v", err)
	}
}

// A stream that the engine ends is followed by one that reaches back, until it is clear that something is wrong.
func TestWatchGoesOn(t *testing.T) {
	p := newPodman(t)
	e := p.connect(t)
	var since []time.Time
	begin := time.Now()
	p.on("GET /events", func(w http.ResponseWriter, r *http.Request) {
		at, err := time.Parse(time.RFC3339Nano, r.URL.Query().Get("since"))
		if err != nil {
			t.Error(err)
		}
		since = append(since, at)
		fmt.Fprintf(w, `{"Action":"died","timeNano":%d,"Actor":{"Attributes":{"io.cellblock.role":"kernel",`+
			`"io.cellblock.handle":"aa","containerExitCode":"%d"}}}`+"\n", begin.Add(time.Hour).UnixNano()+int64(len(since)), len(since))
	})
	var got []int
	err := e.Watch(t.Context(), func(e kernels.Exit) { got = append(got, e.Code) })
	if !errors.Is(err, kernels.ErrUnavailable) || !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("%v, %v", got, err)
	}
	if len(since) != 3 || since[0].Before(begin) || since[1].Sub(begin) < 59*time.Minute || since[1].Sub(begin) > time.Hour {
		t.Errorf("since %v, begin %v", since, begin)
	}
}

func TestList(t *testing.T) {
	container := func(role, handle, state string) string {
		return fmt.Sprintf(`{"State":%q,"Labels":{"io.cellblock.role":%q,"io.cellblock.handle":%q,"io.cellblock.owner":"ann"}}`, state, role, handle)
	}
	died := func(handle string, code int) string {
		state := fmt.Sprintf(`"Exited":true,"ExitCode":%d,`, code)
		return "{" + state + strings.TrimPrefix(container("kernel", handle, "exited"), "{")
	}
	p := newPodman(t)
	p.on("GET /containers/json", answer(200, "["+strings.Join([]string{
		container("kernel", "aa", "running"), container("bridge", "aa", "running"),
		container("bridge", "bb", "exited"), container("kernel", "cc", "exited"), container("bridge", "cc", "running"),
		died("dd", 3), died("ee", 137), died("ff", 137),
		container("files", "99", "running"), container("kernel", "../x", "running"),
	}, ",")+"]"))
	p.on("GET /containers/test-kernel-ee/json", answer(200, `{"State":{"OOMKilled":true}}`))
	p.on("GET /containers/test-kernel-ff/json", answer(500, `{}`))
	got, err := p.connect(t).List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []kernels.Instance{
		{Record: kernels.Record{Owner: "ann", Handle: "aa"}, Network: "none", KernelRunning: true, BridgeRunning: true, Complete: true},
		{Record: kernels.Record{Owner: "ann", Handle: "bb"}},
		{Record: kernels.Record{Owner: "ann", Handle: "cc"}, Network: "none", BridgeRunning: true, Complete: true},
		{Record: kernels.Record{Owner: "ann", Handle: "dd"}, Network: "none", Death: kernels.Death{Code: 3}},
		{Record: kernels.Record{Owner: "ann", Handle: "ee"}, Network: "none", Death: kernels.Death{Code: 137, OutOfMemory: true}},
		{Record: kernels.Record{Owner: "ann", Handle: "ff"}, Network: "none", Death: kernels.Death{Code: 137}},
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %+v, want %+v", got, want)
	}
}

// The engine's answers are bounded too.
func TestListTooLong(t *testing.T) {
	p := newPodman(t)
	p.on("GET /containers/json", func(w http.ResponseWriter, _ *http.Request) {
		chunk := []byte(strings.Repeat(" ", 1<<20))
		for range 40 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
		fmt.Fprint(w, "[]")
	})
	if _, err := p.connect(t).List(t.Context()); err == nil {
		t.Error("an answer of 40 MiB was accepted")
	}
}
