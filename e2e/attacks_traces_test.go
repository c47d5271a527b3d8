//go:build e2e

package e2e_test

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

const maxLine4 = 4 << 10 // bytes of one line in the log

// secretsAreNowhere looks for tokens wherever something could have written one.
func (s *siege) secretsAreNowhere(t *testing.T) {
	_, session, _ := strings.Cut(s.session, "=")
	secrets := []string{s.alice.token, s.bob.token, s.mallory.token, session, s.xsrf, s.jwt.secret}
	places := map[string]string{}
	for name, path := range map[string]string{"metrics": "/metrics", "an error page": "/nothing?token=" + s.alice.token, "the login page": "/login?token=" + s.alice.token} {
		response, err := http.Get(s.g.url + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		places[name] = string(body)
	}
	seen := s.mallory.connect(t, s.own, randomHex(t, 16)).execute(t, `
import glob
for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline") + glob.glob("/run/**", recursive=True):
    try: print(path, open(path, "rb").read()[:100_000])
    except OSError as e: print(path, e)`)
	if !strings.Contains(seen, "/proc/1/environ") {
		t.Errorf("the kernel looked at nothing: %.200s", seen)
	}
	places["a kernel's environment and files"] = seen
	own := []string{"ps", "--all", "--quiet", "--filter", "label=io.cellblock.instance=" + s.g.name}
	places["podman inspect"] = strings.Join(s.g.podman(t, append([]string{"inspect"}, s.g.podman(t, own...)...)...), "\n")
	for place, text := range places {
		for i, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s has secret %d in it", place, i)
			}
		}
		if place == "metrics" && (strings.Contains(text, "alice") || strings.Contains(text, s.hers)) {
			t.Error("metrics name a person or a kernel")
		}
	}
	s.g.notLogged(t, secrets...)
}

// logIsWhole holds the gateway's log, after all that was sent to be written into it, to one short line for each entry.
func (s *siege) logIsWhole(t *testing.T) {
	// What a kernel sends is somebody's text, too.
	c := s.mallory.connect(t, s.own, randomHex(t, 16))
	c.execute(t, `get_ipython().kernel.session.send(get_ipython().kernel.iopub_socket, "a\nlevel=ERROR\x1b[2J" + "x" * 100_000, {}, parent={})`)
	file, err := os.Open(s.g.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, maxLine)
	n := 0
	for lines.Scan() {
		n++
		line := lines.Text()
		if !strings.HasPrefix(line, "time=") || strings.Count(line, " level=") != 1 && !strings.Contains(line, `"`) {
			t.Errorf("line %d is no entry: %.200q", n, line)
		}
		if len(line) > maxLine4 || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\u202e' }) {
			t.Errorf("line %d has %d bytes, or control characters: %.200q", n, len(line), line)
		}
	}
	if err := lines.Err(); err != nil || n < 100 {
		t.Errorf("%d lines, %v", n, err)
	}
}
