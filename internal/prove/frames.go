package prove

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// frame is one line of inside/runner.py.
type frame struct {
	Kind   string `json:"kind"`
	Probe  string `json:"probe"`
	Data   []byte `json:"data"`
	Why    string `json:"why"`  // "timeout" or "flood": why a probe was ended
	Code   int    `json:"code"` // how it ended: an exit status, or minus a signal
	Hidden bool   `json:"hidden"`
	What   string `json:"what"`
	Detail string `json:"detail"`
}

const (
	keyWord   = "cellblock key "
	frameWord = "cellblock "
)

// reader takes the runner's lines out of what a place has written. Everything in there may come from a probe; only lines
// with the right code count, each number once.
type reader struct {
	key    []byte
	frames map[int]frame
}

// read takes in the whole output so far. The first line has the key: it was written before the first probe ran.
func (r *reader) read(output []byte) {
	if r.frames == nil {
		r.frames = map[int]frame{}
	}
	for line := range strings.Lines(string(output)) {
		line = strings.TrimSuffix(line, "\n")
		if r.key == nil {
			key, ok := strings.CutPrefix(line, keyWord)
			if !ok {
				return
			}
			var err error
			if r.key, err = hex.DecodeString(key); err != nil || len(r.key) != sha256.Size {
				r.key = make([]byte, 0) // nobody has that one: HMAC of it is refused below
				return
			}
			continue
		}
		if n, f, ok := r.line(line); ok {
			r.frames[n] = f
		}
	}
}

// line checks and decodes one line.
func (r *reader) line(line string) (int, frame, bool) {
	text, code, ok := cutLast(line, " ")
	if !ok || !strings.HasPrefix(text, frameWord) || len(r.key) == 0 {
		return 0, frame{}, false
	}
	got, err := hex.DecodeString(code)
	mac := hmac.New(sha256.New, r.key)
	mac.Write([]byte(text))
	if err != nil || !hmac.Equal(got, mac.Sum(nil)) {
		return 0, frame{}, false
	}
	number, body, _ := strings.Cut(strings.TrimPrefix(text, frameWord), " ")
	n, err := strconv.Atoi(number)
	if err != nil {
		return 0, frame{}, false
	}
	raw, err := base64.StdEncoding.DecodeString(body)
	if err != nil {
		return 0, frame{}, false
	}
	var f frame
	if json.Unmarshal(raw, &f) != nil {
		return 0, frame{}, false
	}
	return n, f, true
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// has reports whether a frame of that kind has come.
func (r *reader) has(kind string) bool {
	for _, f := range r.frames {
		if f.Kind == kind {
			return true
		}
	}
	return false
}

// ended is how many probes have ended.
func (r *reader) ended() int {
	n := 0
	for _, f := range r.frames {
		if f.Kind == "end" {
			n++
		}
	}
	return n
}

// hidden reports whether the runner is sure that no probe can read its key.
func (r *reader) hidden() bool {
	for _, f := range r.frames {
		if f.Kind == "ready" {
			return f.Hidden
		}
	}
	return false
}

// outcome is what the runner says of one probe.
type outcome struct {
	begun, ended bool
	output       []byte
	words        []word
	why          string
	code         int
}

// word is one line of a probe about itself.
type word struct {
	Kind string `json:"kind"`
	What string `json:"what"`
	Why  string `json:"why"`
}

// outcomes puts the frames together, in the order of their numbers. A number that is missing ends it: what came after may
// lack a part.
func (r *reader) outcomes() map[string]*outcome {
	all := map[string]*outcome{}
	said := map[string][]byte{}
	for n := 1; ; n++ {
		f, ok := r.frames[n]
		if !ok {
			break
		}
		if f.Probe == "" {
			continue
		}
		o := all[f.Probe]
		if o == nil {
			o = new(outcome)
			all[f.Probe] = o
		}
		switch f.Kind {
		case "begin":
			o.begun = true
		case "output":
			o.output = append(o.output, f.Data...)
		case "words":
			said[f.Probe] = append(said[f.Probe], f.Data...)
		case "end":
			o.ended, o.why, o.code = true, f.Why, f.Code
		}
	}
	for probe, text := range said {
		all[probe].words = parseWords(text)
	}
	return all
}

// parseWords reads what a probe says of itself. A line that is none is kept as such.
func parseWords(text []byte) []word {
	var words []word
	for line := range bytes.Lines(text) {
		var w word
		if err := json.Unmarshal(line, &w); err != nil {
			w = word{Kind: "garbled", What: fmt.Sprintf("%.60q", line)}
		}
		words = append(words, w)
	}
	return words
}
