//go:build e2e

package e2e_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// echoTarget is a cell that makes the kernel send back what a comm gets, with its buffers.
const echoTarget = `def echo(comm, opened):
    comm.on_msg(lambda m: comm.send(m['content']['data'], buffers=m['buffers']))
get_ipython().kernel.comm_manager.register_target('echo', echo)`

// bothFormats lets a real kernel echo buffers to clients of either format, and to one that sends its binary frames as
// text, as jupyter_server does in gateway mode.
func bothFormats(t *testing.T, c *contract) {
	for _, row := range []struct {
		name    string
		offered []string
		chosen  string
	}{
		{"nothing offered", nil, ""},
		{"v1 offered", []string{subprotocolV1}, subprotocolV1},
		{"another offered", []string{"v9.example"}, ""},
		{"v1 among others", []string{"v9.example", subprotocolV1}, subprotocolV1},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := c.alice.peer(t, c.kernel, randomHex(t, 16), row.offered...)
			if got := p.conn.Subprotocol(); got != row.chosen {
				t.Fatalf("the gateway chose %q", got)
			}
			p.run(echoTarget)
			echoes(p, func(r request) string { return p.write(r) })
			if p.v1 {
				return
			}
			t.Run("raw bytes in a text frame", func(t *testing.T) {
				echoes(p, func(r request) string {
					frame, id := rawFrame(p, r)
					p.send(websocket.TextMessage, frame)
					return id
				})
			})
		})
	}
}

// echoes opens a comm and sends buffers through it, which must come back in one binary frame.
func echoes(p *peer, send func(request) string) {
	p.Helper()
	comm := randomHex(p.T, 8)
	p.write(request{channel: "shell", kind: "comm_open",
		content: map[string]any{"comm_id": comm, "target_name": "echo", "data": struct{}{}}})
	sent := [][]byte{{1, 2, 3}, {}, []byte("AB"), {0xff, 0xfe, 0, 0x80}, bytes.Repeat([]byte{0xc3}, 300_000)}
	before := p.binary
	id := send(request{channel: "shell", kind: "comm_msg", buffers: sent,
		content: map[string]any{"comm_id": comm, "data": map[string]any{"é": "ü"}}})
	m := p.until(cellTime, "the comm's echo", func(m parts) bool { return m.Header.Type == "comm_msg" && m.Parent.ID == id })
	if len(m.Buffers) != len(sent) || !strings.Contains(string(m.Content), "\u00fc") && !strings.Contains(string(m.Content), `\u00fc`) {
		p.Fatalf("%d buffers came back, with %s", len(m.Buffers), m.Content)
	}
	for i, b := range m.Buffers {
		if !bytes.Equal(b, sent[i]) {
			p.Errorf("buffer %d came back as %.20q", i, b)
		}
	}
	if !p.v1 && p.binary != before+1 {
		p.Errorf("%d binary frames for one message with buffers", p.binary-before)
	}
}

// rawFrame is the binary frame of the JSON format for a request.
func rawFrame(p *peer, r request) (frame []byte, id string) {
	id = randomHex(p.T, 16)
	envelope := p.json(map[string]any{"channel": r.channel, "parent_header": struct{}{}, "metadata": struct{}{}, "content": r.content,
		"header": fullHeader{ID: id, Type: r.kind, Session: p.session, Username: "e2e", Version: "5.3"}})
	return legacyFrame(append([][]byte{envelope}, r.buffers...)), id
}

// topLevelFields reads one message of each kind; that all have the fields is checked with every message that is read.
func topLevelFields(t *testing.T, c *contract) {
	p := c.alice.peer(t, c.kernel, randomHex(t, 16))
	wanted := map[string]string{"status": "iopub", "stream": "iopub", "display_data": "iopub", "execute_input": "iopub",
		"error": "iopub", "input_request": "stdin", "execute_reply": "shell", "kernel_info_reply": "control"}
	p.write(request{channel: "control", kind: "kernel_info_request"})
	p.execute("print('x'); display(1); 1/int(input())")
	for deadline := time.Now().Add(cellTime); len(wanted) > 0; {
		m := p.next(deadline, fmt.Sprint(wanted))
		if m.Type == "input_request" {
			p.write(request{channel: "stdin", kind: "input_reply", parent: m.RawHeader, content: map[string]any{"value": "0"}})
		}
		if m.Channel == wanted[m.Type] {
			delete(wanted, m.Type)
		}
		if h := m.Header; h.Session == "" || h.Version == "" || h.Username == "" {
			t.Errorf("the header of %s lacks a string: %s", m.Type, m.RawHeader)
		}
	}
}

const (
	large    = 20 << 20 // beyond what other gateways take
	tooLarge = 64<<20 + 1
	flood    = 150 // MB, far more than is kept for anybody
	// What a bridge is told to keep its heap under; its container has 256 MiB.
	bridgeHeap = 200 << 20
)

func largeAndSlow(t *testing.T, c *contract) {
	for name, offered := range map[string][]string{"JSON": nil, "v1": {subprotocolV1}} {
		t.Run("20 MiB both ways in "+name, func(t *testing.T) {
			p := c.alice.peer(t, c.kernel, randomHex(t, 16), offered...)
			code := fmt.Sprintf("print(len(%q)); print('y' * %d)", strings.Repeat("x", large), large)
			got := p.run(code)
			if want := len(strconv.Itoa(large)) + 1 + large + 1; len(got.text) != want || !strings.HasPrefix(got.text, strconv.Itoa(large)) {
				t.Errorf("%d bytes of output instead of %d", len(got.text), want)
			}
		})
	}
	t.Run("over 64 MiB is too big", func(t *testing.T) {
		p := c.alice.peer(t, c.kernel, randomHex(t, 16))
		head := binary.BigEndian.AppendUint64([]byte{0x82, 0xff}, tooLarge) // a masked binary frame of that length
		if _, err := p.conn.NetConn().Write(append(head, 0, 0, 0, 0)); err != nil {
			t.Fatal(err)
		}
		if code := p.closed(endTime); code != websocket.CloseMessageTooBig {
			t.Errorf("close code %d", code)
		}
	})
	t.Run("who does not read is told what went, and disturbs nobody", func(t *testing.T) { slowReader(t, c) })
}

// slowReader lets a client that asks for much output read none of it until another one has seen the end.
func slowReader(t *testing.T, c *contract) {
	slow, quick := c.alice.peer(t, c.kernel, randomHex(t, 16)), c.alice.peer(t, c.kernel, randomHex(t, 16), subprotocolV1)
	id := slow.execute(printing(10 * flood))
	seen := 0
	quick.until(countTime, "the other client's cell to end", func(m parts) bool {
		if m.Header.Type == "stream" && m.Parent.ID == id {
			seen += len(m.field(t, "text"))
		}
		return m.is("idle") && m.Parent.ID == id
	})
	if seen != flood*1_000_000 {
		t.Errorf("the client that reads got %d bytes of %d MB", seen, flood)
	}
	if size := c.g.bridgeMemory(t, c.kernel); size > bridgeHeap {
		t.Errorf("the bridge holds %d MB", size>>20)
	}
	last := slow.finish(id, countTime)
	if !strings.Contains(last.text, "dropped here") || last.reply.field(t, "status") != "ok" {
		t.Errorf("after %d bytes: %s", len(last.text), last.reply.Content)
	}
	inOrder(t, last.text, 10*flood)
}

// printing is a cell that prints n numbered lines of 100 KB. It pauses, so that a client that reads at all keeps up.
func printing(n int) string {
	return fmt.Sprintf("import time\nfor i in range(%d):\n print(f'{i:06d}' + 'x' * 99_993, flush=True)\n if i %% 50 == 0: time.sleep(0.1)", n)
}

// inOrder fails the test unless the numbers at the begin of lines rise to n-1, none twice, some missing.
func inOrder(t *testing.T, text string, n int) {
	t.Helper()
	count, before := 0, -1
	for line := range strings.Lines(text) {
		i, err := strconv.Atoi(line[:min(6, len(line))])
		if err != nil {
			continue // the notice
		}
		if i <= before {
			t.Fatalf("line %d follows line %d", i, before)
		}
		count, before = count+1, i
	}
	if before != n-1 || count == n {
		t.Errorf("%d of %d lines, the last is %d", count, n, before)
	}
}

// firstOutput asks a kernel that has only just been asked for.
func firstOutput(t *testing.T, c *contract) {
	id := c.alice.newKernel(t)
	p := c.alice.peer(t, id, randomHex(t, 16))
	if state := c.alice.state(t, id); state != "starting" {
		t.Errorf("the WebSocket was opened only when the kernel was %s", state)
	}
	info := p.write(request{channel: "shell", kind: "kernel_info_request"})
	cell := p.execute("print('first')")
	if got := p.finish(info, cellTime); got.reply.field(t, "implementation") != "ipython" {
		t.Errorf("kernel_info_reply: %s", got.reply.Content)
	}
	if got := p.finish(cell, cellTime); got.text != "first\n" {
		t.Errorf("the first cell printed %q", got.text)
	}
	t.Run("what the kernel said before anybody came", func(t *testing.T) {
		p.run("from pathlib import Path; hello = Path('~/.ipython/profile_default/startup/00-hello.py').expanduser()\n" +
			"hello.parent.mkdir(parents=True, exist_ok=True); hello.write_text('print(\"hello\", flush=True)')")
		id := c.alice.newKernel(t)
		eventually(t, revivalTime, func() string {
			if state := c.alice.state(t, id); state != "idle" {
				return "the kernel is " + state
			}
			return ""
		})
		p.run("hello.unlink()")
		c.alice.peer(t, id, randomHex(t, 16)).until(endTime, "the start-up file's line", func(m parts) bool {
			return m.Header.Type == "stream" && m.field(t, "text") == "hello\n"
		})
	})
}

func replay(t *testing.T, c *contract) {
	survivesCuts(t, c.alice)
	t.Run("a second connection replaces the first", func(t *testing.T) {
		session := randomHex(t, 16)
		first := c.alice.peer(t, c.kernel, session)
		first.run("x = 1")
		second := c.alice.peer(t, c.kernel, session)
		if code := first.closed(endTime); code != websocket.ClosePolicyViolation {
			t.Errorf("close code %d", code)
		}
		if got := second.run("print(x)"); got.text != "1\n" {
			t.Errorf("the second connection got %q", got.text)
		}
	})
	t.Run("more than is kept", func(t *testing.T) { overflow(t, c) })
	t.Run("statuses of an earlier process are not replayed", func(t *testing.T) { generations(t, c) })
}

// overflow prints more than the journal keeps while its client is away.
func overflow(t *testing.T, c *contract) {
	session := randomHex(t, 16)
	p, watcher := c.alice.peer(t, c.kernel, session), c.alice.peer(t, c.kernel, randomHex(t, 16), subprotocolV1)
	id := p.execute("print('here', flush=True)\nimport time; time.sleep(0.5)\n" + printing(1000))
	p.until(cellTime, "the cell's begin", func(m parts) bool { return m.Header.Type == "stream" })
	p.conn.NetConn().Close()
	watcher.until(countTime, "the cell's end", func(m parts) bool { return m.is("idle") && m.Parent.ID == id })
	last := c.alice.peer(t, c.kernel, session).finish(id, countTime)
	if !strings.Contains(last.text, "dropped here") || last.reply.field(t, "status") != "ok" {
		t.Errorf("after %d bytes: %s", len(last.text), last.reply.Content)
	}
	inOrder(t, strings.TrimPrefix(last.text, "here\n"), 1000)
}

// generations restarts the kernel while a client is away whose cell is running.
func generations(t *testing.T, c *contract) {
	id, session := c.alice.newKernel(t), randomHex(t, 16)
	p, watcher := c.alice.peer(t, id, session), c.alice.peer(t, id, randomHex(t, 16))
	p.run("x = 1")
	p.conn.Close()
	cell := watcher.execute("print('old', flush=True)\nimport time; time.sleep(60)")
	watcher.until(cellTime, "the cell's begin", func(m parts) bool { return m.Header.Type == "stream" })
	c.alice.expect(t, http.StatusOK, "POST", "/api/kernels/"+id+"/restart", "")
	p = c.alice.peer(t, id, session)
	next := p.execute("print('x' in globals())")
	text := ""
	p.until(cellTime, "the next cell's end", func(m parts) bool {
		if m.is("busy") && m.Parent.ID == cell {
			t.Error("busy with what nobody does any more")
		}
		if m.Header.Type == "stream" {
			text += m.field(t, "text")
		}
		return m.is("idle") && m.Parent.ID == next
	})
	if text != "old\nFalse\n" {
		t.Errorf("what was missed and the next cell gave %q", text)
	}
}

// input asks one of two clients for input: at once, after a new connection, and with an interrupt.
func input(whole *testing.T, c *contract) {
	t, session := whole, randomHex(whole, 16)
	asker, other := c.alice.peer(t, c.kernel, session), c.alice.peer(t, c.kernel, randomHex(t, 16), subprotocolV1)
	asks := func(m parts) bool { return m.Header.Type == "input_request" }
	answer := func(m parts, value string) {
		asker.write(request{channel: "stdin", kind: "input_reply", parent: m.RawHeader, content: map[string]any{"value": value}})
	}
	t.Run("only the requester is asked", func(t *testing.T) {
		id := asker.execute("print(input('name? '))")
		m := asker.until(cellTime, "the question", asks)
		if m.Channel != "stdin" || m.Parent.ID != id || m.field(t, "prompt") != "name? " {
			t.Errorf("asked on %s for %s: %s", m.Channel, m.Parent.ID, m.Content)
		}
		answer(m, "Ada")
		if got := asker.finish(id, cellTime); got.text != "Ada\n" {
			t.Errorf("the cell printed %q", got.text)
		}
		other.until(cellTime, "the cell's end", func(m parts) bool {
			if m.Channel != "iopub" {
				t.Errorf("the other client got %s on %s", m.Header.Type, m.Channel)
			}
			return m.is("idle") && m.Parent.ID == id
		})
	})
	t.Run("asked again after a new connection", func(t *testing.T) {
		id := asker.execute("import time; time.sleep(0.3)\nprint('asking', flush=True)\nprint(input('again? '))")
		other.until(cellTime, "the cell's begin", func(m parts) bool { return m.is("busy") && m.Parent.ID == id })
		asker.conn.NetConn().Close()
		other.until(cellTime, "the question's time", func(m parts) bool { return m.Header.Type == "stream" && m.Parent.ID == id })
		asker = c.alice.peer(whole, c.kernel, session)
		answer(asker.until(cellTime, "the question", asks), "Bob")
		if got := asker.finish(id, cellTime); !strings.HasSuffix(got.text, "Bob\n") {
			t.Errorf("the cell printed %q", got.text)
		}
	})
	t.Run("interrupted while it asks", func(t *testing.T) {
		id := asker.execute("kept = 7\ninput('never answered')")
		asker.until(cellTime, "the question", asks)
		interrupted(t, c, asker, id)
		id = asker.execute("print(kept, input('and now? '))")
		answer(asker.until(cellTime, "the question", asks), "8")
		if got := asker.finish(id, cellTime); got.text != "7 8\n" {
			t.Errorf("the next cell printed %q", got.text)
		}
	})
}

// interrupted interrupts a cell that runs: within a second the request must be answered and the cell have ended.
func interrupted(t *testing.T, c *contract, p *peer, id string) {
	t.Helper()
	began := time.Now()
	c.alice.expect(t, http.StatusNoContent, "POST", "/api/kernels/"+c.kernel+"/interrupt", "")
	answered := time.Since(began)
	r := p.finish(id, cellTime)
	if took := time.Since(began); took > time.Second {
		t.Errorf("the cell ended %v after the interrupt, which was answered after %v", took, answered)
	}
	var content struct{ Status, Ename string }
	if err := json.Unmarshal(r.reply.Content, &content); err != nil || content.Status != "error" || content.Ename != "KeyboardInterrupt" {
		t.Errorf("the interrupted cell's reply is %s", r.reply.Content)
	}
}
