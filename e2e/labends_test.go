//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// reloads reloads the page in the midst of a cell. What the cell prints is in the kernel's journal, with the cell's id.
func (l *lab) reloads(t *testing.T, p person, id string) {
	one := l.run(t, counting(300))
	l.shows(t, one, "\n40\n")
	l.do(t, "reload", nil)
	var text string
	eventually(t, cellTime, func() string {
		var over bool
		text, over = p.lastCell(t, id)
		if !over {
			return "the cell has not ended"
		}
		return ""
	})
	if text != counted(300) {
		t.Errorf("the journal's lines of the cell end in %q", end(text))
	}
	l.shot(t, "reloaded")
}

// lastCell reads from a kernel's journal what the notebook cell has printed that ran last, and whether it has ended.
func (p person) lastCell(t *testing.T, id string) (text string, over bool) {
	t.Helper()
	var cell string
	for since, more := 0, true; more; {
		got := p.call(t, "GET", fmt.Sprintf("/api/kernels/%s/journal?since=%d", id, since), "")
		var page struct {
			Next     int  `json:"next"`
			More     bool `json:"more"`
			Messages []struct {
				message
				CellID string `json:"cell_id"`
			} `json:"messages"`
		}
		if err := json.Unmarshal([]byte(got.body), &page); err != nil || got.status != http.StatusOK {
			t.Fatalf("journal: %d %v", got.status, err)
		}
		for _, m := range page.Messages {
			if m.Header.Type == "execute_input" {
				cell, text, over = m.CellID, "", false
			}
			if m.CellID == "" || m.CellID != cell {
				continue
			}
			text += m.Content.Text
			over = over || m.Header.Type == "execute_reply"
		}
		since, more = page.Next, page.More
	}
	return text, over
}

// refused has a start refused for the quota. Lab's dialog shows the whole sentence.
func (l *lab) refused(t *testing.T, g *gateway) {
	g.cli(t, "user", "add", "alice", "--exist-ok", "--max-kernels", "1")
	l.do(t, "launch", nil)
	said := fmt.Sprint(l.do(t, "dialog", what{"shot": "refused"}))
	if !strings.Contains(said, "Quota reached: 2 of 1 kernels are running. Stop one first.\n") {
		t.Errorf("Lab says: %s", said)
	}
	if said = fmt.Sprint(l.do(t, "dialog", nil)); !strings.Contains(said, "Select Kernel") {
		t.Errorf("then Lab says: %s", said)
	}
	l.do(t, "front", what{"name": "Untitled1.ipynb"})
}

// signal returns a check that sends a signal to the process of the gateway whose command line has these words in it.
func (g *gateway) signal(words string, signal syscall.Signal) func() string {
	return func() string {
		for _, line := range mentioning(g.name) {
			var pid int
			if _, err := fmt.Sscanf(line, "process %d", &pid); err == nil && strings.Contains(line, words) && syscall.Kill(pid, signal) == nil {
				return ""
			}
		}
		return "no process has " + words + " in its command line"
	}
}

// restartsAnyway restarts the kernel while Podman's service is away. Lab would say nothing of a refusal.
func (l *lab) restartsAnyway(t *testing.T, g *gateway) {
	l.result(t, "x = 1; print(x)", "^1\n$")
	for range 6 { // each time it stays away for longer
		eventually(t, cellTime, g.signal("system service", syscall.SIGKILL))
	}
	l.do(t, "restart", nil)
	l.result(t, "print('x' in globals())", "^False\n$")
	l.shot(t, "restart-without-engine")
}

// connected waits until Lab's server is back: what the browser sends before, it drops without a word.
func (p person) connected(t *testing.T, id string) {
	t.Helper()
	eventually(t, reconnectTime, func() string {
		if n := p.expect(t, http.StatusOK, "GET", "/api/kernels/"+id, "")["connections"]; n != 1.0 {
			return fmt.Sprintf("%v clients are connected", n)
		}
		return ""
	})
}

// comesBackAnyway cuts the connection to the gateway while Redis is away, so that the gateway has to refuse the new one.
func (l *lab) comesBackAnyway(t *testing.T, g *gateway, network *proxy, p person, id string) {
	l.result(t, "kept = 42", "^$")
	eventually(t, commandTime, g.signal("redis-server", syscall.SIGSTOP))
	network.reset()
	eventually(t, reconnectTime, func() string {
		for line := range strings.Lines(g.tail()) {
			if strings.Contains(line, "/channels") && strings.Contains(line, "status=503") {
				return ""
			}
		}
		return "the gateway has not refused a WebSocket"
	})
	eventually(t, commandTime, g.signal("redis-server", syscall.SIGCONT))
	p.connected(t, id)
	l.result(t, "print(kept)", "^42\n$")
	l.shot(t, "socket-without-redis")
}

// culled has the kernel culled. Clients are warned before, read at the end why, and can ask later.
func (l *lab) culled(t *testing.T, g *gateway, p person, id string) {
	l.result(t, "kept = 42", "^$")
	g.stop(t)
	g.settings = "cull: {idle_timeout: 15s, interval: 1s, connected: true}"
	g.configure(t)
	g.start(t)
	const warning = `This kernel was idle for 1\d s and will be shut down in 1 s to free its memory\. Run a cell to keep it\.`
	p.connected(t, id)
	one := l.run(t, "print(kept)")
	l.shown(t, one, "^42\n"+warning+"\n")
	l.shot(t, "warned")
	two := l.run(t, "print(kept)")
	l.shown(t, two, "^42\n"+warning+`
This kernel was idle for 1\d s and was shut down to free its memory\. Run a cell to start a new one\.`+"\n$")
	l.shot(t, "culled")

	const why = " and was shut down to free its memory. Run a cell to start a new one."
	eventually(t, goneTime, func() string { // until it has ended it is being ended
		message, _ := p.expect(t, http.StatusNotFound, "GET", "/api/kernels/"+id, "")["message"].(string)
		if !strings.HasPrefix(message, "Kernel does not exist: "+id+". It ended on ") || !strings.HasSuffix(message, why) {
			return "the owner reads " + message
		}
		return ""
	})
	bob := person{g.url, g.user(t, "bob")}
	unknown := strings.Repeat("0", 8) + id[8:]
	if got, want := bob.call(t, "GET", "/api/kernels/"+id, "").body, bob.call(t, "GET", "/api/kernels/"+unknown, "").body; strings.Replace(got, id, unknown, 1) != want {
		t.Errorf("somebody else reads %s", got)
	}
	if list := g.cli(t, "kernels", "list", "--ended"); !strings.Contains(list, id) || !strings.Contains(list, why) {
		t.Errorf("the administrator reads %s", list)
	}
}
