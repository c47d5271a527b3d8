package containers_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"cellblock.io/cellblock/containers"
	"cellblock.io/cellblock/kernels"
)

func died(role, handle, code string) string {
	return fmt.Sprintf(`{"Type":"container","Action":"died","Actor":{"Attributes":{"io.cellblock.role":%q,`+
		`"io.cellblock.handle":%q,"containerExitCode":%q}}}`, role, handle, code) + "\n"
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
			err := containers.ReadExits(strings.NewReader(tt.stream), func(e kernels.Exit) { got = append(got, e) })
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
		err := containers.ReadExits(strings.NewReader(stream), func(e kernels.Exit) {
			if strings.Trim(e.Handle, "0123456789abcdef") != "" || e.Handle == "" {
				t.Errorf("handle %q", e.Handle)
			}
		})
		if err == nil {
			t.Error("no error")
		}
	})
}

// The stream ends with the engine or with the caller, and callers can tell.
func TestWatch(t *testing.T) {
	p := newPodman(t)
	e := p.connect(t)
	cut := make(chan struct{})
	p.on("GET /events", func(w http.ResponseWriter, r *http.Request) {
		var filters map[string][]string
		if err := json.Unmarshal([]byte(r.URL.Query().Get("filters")), &filters); err != nil || filters["label"][0] != "io.cellblock.instance=test" {
			t.Errorf("filters %v, %v", filters, err)
		}
		fmt.Fprint(w, died("kernel", "aa", "137"))
		w.(http.Flusher).Flush()
		select {
		case <-cut:
		case <-r.Context().Done():
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	if err := e.Watch(ctx, func(kernels.Exit) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("the caller went away: %v", err)
	}
	if err := e.Watch(t.Context(), func(kernels.Exit) { close(cut) }); !errors.Is(err, kernels.ErrUnavailable) {
		t.Errorf("the engine went away: %v", err)
	}
	p.on("GET /events", answer(500, `{"response":500,"message":"no events here"}`))
	if err := e.Watch(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "no events here") {
		t.Errorf("a refusal: %v", err)
	}
}

func TestList(t *testing.T) {
	container := func(role, handle, state string) string {
		return fmt.Sprintf(`{"State":%q,"Labels":{"io.cellblock.role":%q,"io.cellblock.handle":%q,"io.cellblock.owner":"ann"}}`, state, role, handle)
	}
	p := newPodman(t)
	p.on("GET /containers/json", answer(200, "["+strings.Join([]string{
		container("kernel", "aa", "running"), container("bridge", "aa", "running"),
		container("bridge", "bb", "exited"), container("kernel", "cc", "exited"), container("bridge", "cc", "running"),
		container("files", "dd", "running"), container("kernel", "../x", "running"),
	}, ",")+"]"))
	got, err := p.connect(t).List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []kernels.Instance{
		{Record: kernels.Record{Owner: "ann", Handle: "aa"}, KernelRunning: true, BridgeRunning: true, Complete: true},
		{Record: kernels.Record{Owner: "ann", Handle: "bb"}},
		{Record: kernels.Record{Owner: "ann", Handle: "cc"}, BridgeRunning: true, Complete: true},
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
