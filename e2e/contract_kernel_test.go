//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// interrupts ends cells that do not end by themselves, and looks that nothing else ended with them.
func interrupts(t *testing.T, c *contract) {
	p, pid := c.alice.peer(t, c.kernel, randomHex(t, 16)), c.g.processOf(t, c.kernel, "kernel", "ipykernel")
	for _, row := range []struct{ name, code string }{
		{"a busy loop", "while True: pass"},
		{"time.sleep", "import time; time.sleep(120)"},
		// It lets no other thread of the kernel run, and so must not begin before that has sent what was printed.
		{computing, "import time; time.sleep(0.2); import re; re.match('(a+)+$', 'a' * 60 + 'b')"},
		{"C code that waits", "import ctypes; ctypes.CDLL(None).pause()"},
		{"a subprocess", "import subprocess; subprocess.run(['sleep', '120'])"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p.T = t
			id := p.execute("kept = '" + row.name + "'\nprint('begun', flush=True)\n" + row.code)
			p.until(cellTime, "the cell's begin", func(m parts) bool { return m.Header.Type == "stream" && m.Parent.ID == id })
			for began := ticks(t, pid); row.name == computing && ticks(t, pid) < began+20; {
				<-time.After(pollPause)
			}
			interrupted(t, c, p, id)
			if got := p.run("print(kept)"); got.text != row.name+"\n" {
				t.Errorf("afterwards the kernel says %q", got.text)
			}
		})
	}
	t.Run("subshells are busy at once", func(t *testing.T) { subshells(t, c) })
	t.Run("debugger at a breakpoint", func(t *testing.T) { debugger(t, c) })
}

const computing = "C code that computes"

// ticks is the processor time that a process has used, in hundredths of a second.
func ticks(t *testing.T, pid int) int {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	var user, system int
	_, rest, _ := strings.Cut(string(stat), ") ") // the program's name is in brackets
	if _, err := fmt.Sscanf(rest, "%s %d %d %d %d %d %d %d %d %d %d %d %d", new(string), new(int), new(int), new(int), new(int),
		new(int), new(int), new(int), new(int), new(int), new(int), &user, &system); err != nil {
		t.Fatalf("%s: %v", stat, err)
	}
	return user + system
}

// subshells keeps a cell in the main shell and one in a subshell busy at the same time: the kernel is idle only when
// both are.
func subshells(t *testing.T, c *contract) {
	p := c.alice.peer(t, c.kernel, randomHex(t, 16), subprotocolV1)
	created := p.finish(p.write(request{channel: "control", kind: "create_subshell_request"}), cellTime).reply
	shell := created.field(t, "subshell_id")
	if shell == "" {
		t.Fatalf("no subshell: %s", created.Content)
	}
	busy := func(state string) {
		t.Helper()
		if got := c.alice.state(t, c.kernel); got != state {
			t.Errorf("the kernel is %s and not %s", got, state)
		}
	}
	p.run("import threading; main, sub = threading.Event(), threading.Event()")
	first := p.execute("print('main', flush=True); main.wait()")
	p.until(cellTime, "the cell's begin", func(m parts) bool { return m.Header.Type == "stream" && m.Parent.ID == first })
	wait := "print('sub', flush=True); sub.wait()"
	second := p.write(request{channel: "shell", kind: "execute_request", subshell: shell, content: cellOf(wait)})
	p.until(cellTime, "the subshell's cell to begin", func(m parts) bool { return m.Header.Type == "stream" && m.Parent.ID == second })
	busy("busy")
	// A third subshell ends the waiting of the others.
	other := p.finish(p.write(request{channel: "control", kind: "create_subshell_request"}), cellTime).reply.field(t, "subshell_id")
	set := func(event string) {
		p.write(request{channel: "shell", kind: "execute_request", subshell: other, content: cellOf(event + ".set()")})
	}
	set("sub")
	p.finish(second, cellTime)
	busy("busy")
	set("main")
	p.finish(first, cellTime)
	eventually(t, noticeTime, func() string {
		if got := c.alice.state(t, c.kernel); got != "idle" {
			return "the kernel is " + got
		}
		return ""
	})
	for _, id := range []string{shell, other} {
		gone := p.finish(p.write(request{channel: "control", kind: "delete_subshell_request", content: map[string]any{"subshell_id": id}}), cellTime)
		if gone.reply.field(t, "status") != "ok" {
			t.Errorf("delete_subshell_request: %s", gone.reply.Content)
		}
	}
}

// debugSession is a debug adapter's session over the control channel.
type debugSession struct {
	*peer
	seq int
}

// ask sends one request of the debug adapter protocol and returns its message id.
func (d *debugSession) ask(command string, arguments any) string {
	d.Helper()
	d.seq++
	return d.write(request{channel: "control", kind: "debug_request",
		content: map[string]any{"type": "request", "seq": d.seq, "command": command, "arguments": arguments}})
}

// call is ask with the body of its answer.
func (d *debugSession) call(command string, arguments any) (body map[string]any) {
	d.Helper()
	id := d.ask(command, arguments)
	m := d.until(cellTime, command, func(m parts) bool { return m.Header.Type == "debug_reply" && m.Parent.ID == id })
	var answer struct {
		Success bool           `json:"success"`
		Body    map[string]any `json:"body"`
	}
	if err := json.Unmarshal(m.Content, &answer); err != nil || !answer.Success {
		d.Fatalf("%s: %s", command, m.Content)
	}
	return answer.Body
}

// debugger stops a cell at a breakpoint. Until it goes on only the control channel is answered.
func debugger(t *testing.T, c *contract) {
	d := &debugSession{peer: c.alice.peer(t, c.kernel, randomHex(t, 16))}
	const code = "before = 1\nafter = before + 1\nprint('went on', after)"
	d.call("initialize", map[string]any{"clientID": "e2e", "clientName": "e2e", "adapterID": "", "pathFormat": "path",
		"linesStartAt1": true, "columnsStartAt1": true, "supportsVariableType": true})
	// The answer to attach comes only after configurationDone.
	d.ask("attach", struct{}{})
	d.until(cellTime, "the event initialized", event("initialized"))
	path := d.call("dumpCell", map[string]any{"code": code})["sourcePath"]
	d.call("setBreakpoints", map[string]any{"breakpoints": []any{map[string]any{"line": 2}}, "source": map[string]any{"path": path},
		"sourceModified": false})
	d.call("configurationDone", struct{}{})
	cell := d.execute(code)
	stopped := d.until(cellTime, "the breakpoint", event("stopped"))
	var at struct{ Body struct{ ThreadID int } }
	if err := json.Unmarshal(stopped.Content, &at); err != nil {
		t.Fatal(err)
	}
	if state := c.alice.state(t, c.kernel); state != "busy" {
		t.Errorf("at the breakpoint the kernel is %s", state)
	}
	info := d.finish(d.write(request{channel: "control", kind: "kernel_info_request"}), noticeTime)
	if info.reply.field(t, "status") != "ok" {
		t.Errorf("kernel_info on control at the breakpoint: %s", info.reply.Content)
	}
	// Who comes only now is served too.
	late := c.alice.peer(t, c.kernel, randomHex(t, 16), subprotocolV1)
	late.finish(late.write(request{channel: "control", kind: "kernel_info_request"}), noticeTime)
	d.ask("continue", map[string]any{"threadId": at.Body.ThreadID}) // whose answer may come behind the cell's end
	if got := d.finish(cell, cellTime); got.text != "went on 2\n" {
		t.Errorf("after the breakpoint: %q", got.text)
	}
	d.call("disconnect", map[string]any{"restart": false, "terminateDebuggee": false})
}

// event returns whether a message is that event of the debugger.
func event(name string) func(parts) bool {
	return func(m parts) bool {
		var content struct{ Event string }
		return m.Channel == "iopub" && m.Header.Type == "debug_event" && json.Unmarshal(m.Content, &content) == nil && content.Event == name
	}
}

const (
	noticeTime  = 2 * time.Second  // until clients must know that their kernel has died
	revivalTime = 30 * time.Second // until the next process must be idle
	goneTime    = 10 * time.Second // until an ended kernel must be 404
	endedTime   = time.Second      // the same when a client itself has shut it down
	toldTime    = 10 * time.Second // until a client must know that another one has restarted the kernel
)

// restarts restarts a kernel for one of two clients.
func restarts(t *testing.T, c *contract) {
	id := c.alice.newKernel(t)
	asker, other := c.alice.peer(t, id, randomHex(t, 16)), c.alice.peer(t, id, randomHex(t, 16), subprotocolV1)
	asker.run("x = 1")
	other.run("x")
	model := c.alice.expect(t, http.StatusOK, "POST", "/api/kernels/"+id+"/restart", "")
	if model["id"] != id {
		t.Errorf("the restarted kernel is %v", model)
	}
	if got := asker.run("print('x' in globals())"); got.text != "False\n" {
		t.Errorf("the WebSocket that stayed open says %q", got.text)
	}
	other.until(toldTime, "word of the restart", func(m parts) bool { return m.is("restarting") })
	other.until(toldTime, "the end of the restart", func(m parts) bool { return m.is("idle") })

	c1 := c.alice.connect(t, id, randomHex(t, 16))
	for range 2 {
		c1.execute(t, "x = 1")
		c.alice.expect(t, http.StatusOK, "POST", "/api/kernels/"+id+"/restart", "")
		if got := c1.execute(t, "print('x' in globals())"); got != "False\n" {
			t.Fatalf("a cell sent at once after the restart gave %q", got)
		}
	}
	asker.run("y = 2")
	if got := asker.run("print(x_ := 'y' in globals())"); got.text != "True\n" {
		t.Errorf("the first client says %q", got.text)
	}
}

// shutdownByClient shuts kernels down as jupyter-kernel-client does: by a request on control, then it asks for 404.
func shutdownByClient(t *testing.T, c *contract) {
	t.Run("of a kernel that runs", func(t *testing.T) {
		id := c.alice.newKernel(t)
		p := c.alice.peer(t, id, randomHex(t, 16))
		p.run("x = 1")
		p.write(request{channel: "control", kind: "shutdown_request", content: map[string]any{"restart": false}})
		eventually(t, endedTime, gone(t, c.alice, id))
		if code := p.closed(goneTime); code != websocket.CloseNormalClosure {
			t.Errorf("close code %d", code)
		}
	})
	t.Run("of a kernel that starts", func(t *testing.T) {
		id := c.alice.newKernel(t)
		p := c.alice.peer(t, id, randomHex(t, 16))
		p.write(request{channel: "control", kind: "shutdown_request", content: map[string]any{"restart": false}})
		eventually(t, revivalTime, gone(t, c.alice, id))
	})
	t.Run("by DELETE", func(t *testing.T) {
		id := c.alice.newKernel(t)
		p := c.alice.peer(t, id, randomHex(t, 16))
		p.run("x = 1")
		c.alice.expect(t, http.StatusNoContent, "DELETE", "/api/kernels/"+id, "")
		p.until(goneTime, "status dead", func(m parts) bool { return m.is("dead") })
		if code := p.closed(goneTime); code != websocket.CloseNormalClosure {
			t.Errorf("close code %d", code)
		}
	})
}

func deaths(t *testing.T, c *contract) {
	t.Run("the next cell runs", func(t *testing.T) {
		id := c.alice.newKernel(t)
		p, other := c.alice.connect(t, id, randomHex(t, 16)), c.alice.connect(t, id, randomHex(t, 16))
		p.execute(t, "x = 1")
		c.g.killKernel(t, id)
		p.waitStatus(t, "restarting", noticeTime)
		early := p.start(t, "print('x' in globals())") // before the new process is there
		other.waitStatus(t, "restarting", noticeTime)
		other.waitStatus(t, "idle", revivalTime)
		if got := p.finish(t, early, cellTime); got != "False\n" {
			t.Errorf("the cell sent right after the death gave %q", got)
		}
		if got := p.execute(t, "print(6 * 7)"); got != "42\n" {
			t.Errorf("the next cell gave %q", got)
		}
	})
	t.Run("the sixth is final", func(t *testing.T) { diesForGood(t, c.g, c.alice) })
	t.Run("alive and hung", func(t *testing.T) { hungs(t, c) })
}

// diesForGood kills a kernel as often as it comes back: five times it is started again, the sixth death is its last.
func diesForGood(t *testing.T, g *gateway, p person) {
	id := p.newKernel(t)
	c := p.connect(t, id, randomHex(t, 16))
	c.execute(t, "x = 1")
	for range 5 {
		g.killKernel(t, id)
		c.waitStatus(t, "restarting", noticeTime)
		c.waitStatus(t, "idle", revivalTime)
	}
	g.killKernel(t, id)
	c.waitStatus(t, "dead", noticeTime)
	if code := c.drain(t, endTime, nil); code != websocket.CloseNormalClosure {
		t.Errorf("close code %d instead of %d, after which clients do not come back", code, websocket.CloseNormalClosure)
	}
	eventually(t, goneTime, gone(t, p, id))
	if _, err := p.dial(id, randomHex(t, 16)); err == nil {
		t.Error("the dead kernel accepts a WebSocket")
	}
}

// gone returns a check that a kernel is 404.
func gone(t *testing.T, p person, id string) func() string {
	return func() string {
		if state := p.state(t, id); state != "404" {
			return "the kernel is " + state + " and not 404"
		}
		return ""
	}
}
