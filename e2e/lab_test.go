//go:build e2e

package e2e_test

import (
	"encoding/json"
	"testing"
)

// lab is a person at a real JupyterLab in a browser.
type lab struct {
	script *script
	url    string // of Lab's own server
}

// what is what a verb of clients/lab_person.cjs needs.
type what map[string]any

// seen is what a cell shows.
type seen struct {
	Prompt string `json:"prompt"`
	Text   string `json:"text"`
}

// newLab starts JupyterLab and a browser for a person. Both end with the test.
func (g *gateway) newLab(t *testing.T, p person) *lab {
	t.Helper()
	l := &lab{script: g.startScript(t, p, "lab_person.cjs")}
	t.Cleanup(func() {
		l.script.in.Close()
		for l.script.line() {
		}
		if err := l.script.cmd.Wait(); err != nil {
			t.Errorf("%v\n%s", err, l.script.complaint.String())
		}
	})
	l.read(t, &l.url)
	return l
}

// read reads the answer to a verb into result.
func (l *lab) read(t *testing.T, result any) {
	t.Helper()
	if !l.script.line() {
		t.Fatalf("the browser has gone: %v\n%s", l.script.lines.Err(), l.script.complaint.String())
	}
	var answer struct {
		Is    json.RawMessage `json:"is"`
		Wrong string          `json:"wrong"`
	}
	if err := json.Unmarshal([]byte(l.script.last), &answer); err != nil {
		t.Fatalf("%v: %.200s", err, l.script.last)
	}
	if answer.Wrong != "" {
		t.Fatal(answer.Wrong)
	}
	if err := json.Unmarshal(answer.Is, result); err != nil {
		t.Fatalf("%v: %.200s", err, answer.Is)
	}
}

// do has the person do something and returns what came of it.
func (l *lab) do(t *testing.T, verb string, w what) any {
	t.Helper()
	var result any
	l.doInto(t, verb, w, &result)
	return result
}

func (l *lab) doInto(t *testing.T, verb string, w what, result any) {
	t.Helper()
	order := what{"verb": verb}
	for k, v := range w {
		order[k] = v
	}
	line, err := json.Marshal(order)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.script.in.Write(append(line, '\n')); err != nil {
		t.Fatalf("%s: %v\n%s", verb, err, l.script.complaint.String())
	}
	l.read(t, result)
}

// open opens a notebook and returns its kernel's id.
func (l *lab) open(t *testing.T) string {
	t.Helper()
	var id string
	l.doInto(t, "open", nil, &id)
	return id
}

// run runs a cell and returns its number.
func (l *lab) run(t *testing.T, code string) int {
	t.Helper()
	var n int
	l.doInto(t, "run", what{"code": code}, &n)
	return n
}

// shown waits until a cell has ended and shows what matches text.
func (l *lab) shown(t *testing.T, cell int, text string) seen {
	t.Helper()
	var s seen
	l.doInto(t, "shown", what{"cell": cell, "text": text}, &s)
	return s
}

// shows waits until a cell that may still run shows what matches text.
func (l *lab) shows(t *testing.T, cell int, text string) {
	t.Helper()
	l.do(t, "shown", what{"cell": cell, "text": text, "going": true})
}

// result runs a cell to its end and returns what it shows, which must match text.
func (l *lab) result(t *testing.T, code, text string) seen {
	t.Helper()
	return l.shown(t, l.run(t, code), text)
}

// shot takes a picture of the screen.
func (l *lab) shot(t *testing.T, name string) { l.do(t, "shot", what{"name": name}) }

// dialogs returns what the dialogs say that are open, and closes them.
func (l *lab) dialogs(t *testing.T) (said []string) {
	t.Helper()
	l.doInto(t, "dialogs", nil, &said)
	return said
}
