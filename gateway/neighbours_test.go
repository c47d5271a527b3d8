package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"

	"cellblock.io/cellblock/gateway"
	"cellblock.io/cellblock/kernels/kernelstest"
)

// What a bridge's container gives it (containers/spec.go).
const (
	bridgeMemory = 256 << 20
	bridgeHeap   = "GOMEMLIMIT=200MiB"
	bridgeCPUs   = "GOMAXPROCS=1"
)

// bridgeProgram builds the bridge once for all tests, without what the tests themselves may be built with.
var bridgeProgram = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "bridge")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "bridge")
	build := exec.Command("go", "build", "-o", path, "../kernels/bridge/testdata/bridge")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build bridge: %w: %s", err, out)
	}
	return path, nil
})

// process is a bridge of its own for one kernel.
type process struct {
	*exec.Cmd
	socket string
	log    bytes.Buffer // to be read when it has ended
}

// startBridge starts one for the kernel of that connection file, in that directory.
func startBridge(t testing.TB, dir, connectionFile, id string) *process {
	t.Helper()
	program, err := bridgeProgram()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{socket: filepath.Join(dir, "b")}
	p.Cmd = exec.Command(program, "-connection-file", connectionFile, "-listen", "unix:"+p.socket, "-kernel-id", id)
	p.Env = append(os.Environ(), bridgeHeap, bridgeCPUs)
	p.Stderr = &p.log
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.end(t) })
	return p
}

// end ends the process and fails when it had ended by itself.
func (p *process) end(t testing.TB) {
	if p.ProcessState != nil {
		return
	}
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Errorf("bridge is gone: %v", err)
	}
	kill := time.AfterFunc(20*time.Second, func() { _ = p.Process.Kill() })
	defer kill.Stop()
	var exit *exec.ExitError
	if err := p.Wait(); err != nil && !(errors.As(err, &exit) && exit.ExitCode() == -1 && kill.Stop()) {
		t.Errorf("bridge: %v\n%s", err, p.log.Bytes())
	}
}

// peak is the most memory that the process has had, in bytes.
func (p *process) peak(t testing.TB) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
	if err != nil {
		t.Fatalf("bridge is gone: %v", err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		t.Fatalf("no memory in %s", status)
	}
	n, _ := strconv.Atoi(string(m[1]))
	return n << 10
}

// house is a gateway with kernels, each with a bridge of its own.
type house struct {
	*live
	mu      sync.Mutex
	sockets map[string]string // of bridges, by handle
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{sockets: map[string]string{}}
	h.live = serve(t, func(c *gateway.Config) { c.Dial = h.dialBridge })
	return h
}

func (h *house) dialBridge(ctx context.Context, handle string) (net.Conn, error) {
	h.mu.Lock()
	path := h.sockets[handle]
	h.mu.Unlock()
	return new(net.Dialer).DialContext(ctx, "unix", path)
}

// moveIn adds a kernel of alice's with a bridge, and returns its id.
func (h *house) moveIn(t testing.TB, k *kernelstest.HostileKernel) (id string, bridge *process) {
	t.Helper()
	id = uuid.NewString()
	bridge = startBridge(t, k.Dir(), k.ConnectionFile(), id)
	h.domain.mu.Lock()
	handle := h.domain.put("alice", id).Handle
	h.domain.mu.Unlock()
	h.mu.Lock()
	h.sockets[handle] = bridge.socket
	h.mu.Unlock()
	return id, bridge
}

// tab is a client of one kernel, through the gateway.
type tab struct {
	*websocket.Conn
	wanted   string // of what kernel or bridge say as a stream
	found    bool
	restarts int
	replies  map[string]int // by the msg_id of their request
	wild     error          // what it was sent that no client may be sent
	drained  chan struct{}  // closed when drain has returned
}

// said is what a tab looks at.
type said struct {
	Channel string `json:"channel"`
	MsgType string `json:"msg_type"`
	Parent  struct {
		MsgID string `json:"msg_id"`
	} `json:"parent_header"`
	Content json.RawMessage `json:"content"`
}

// word is the telling part of the content, if it has one.
func (s said) word() string {
	var c struct {
		State string `json:"execution_state"`
		Text  string `json:"text"`
	}
	_ = json.Unmarshal(s.Content, &c) // a hostile kernel's may be anything
	return c.State + c.Text
}

func (h *house) visit(t testing.TB, id, session string) *tab {
	t.Helper()
	d := websocket.Dialer{HandshakeTimeout: time.Minute, NetDial: func(string, string) (net.Conn, error) { return h.dial() }}
	ws, _, err := d.Dial("ws://example.com/api/kernels/"+id+"/channels?session_id="+session, http.Header{"Authorization": {"token alice-token"}})
	if err != nil {
		t.Fatalf("connect %s: %v", session, err)
	}
	t.Cleanup(func() { ws.Close() })
	return &tab{Conn: ws, replies: map[string]int{}, drained: make(chan struct{})}
}

// ask sends a request and returns its msg_id.
func (b *tab) ask(channel, msgType, code string) (string, error) {
	id := uuid.NewString()
	return id, b.WriteJSON(map[string]any{
		"channel": channel, "header": map[string]string{"msg_id": id, "msg_type": msgType, "session": "tab", "version": "5.3"},
		"parent_header": map[string]any{}, "metadata": map[string]any{}, "content": map[string]string{"code": code},
	})
}

// largeFrame is the size above which a frame is looked at from outside only.
const largeFrame = 256 << 10

// hear returns the next message, and takes note of it.
func (b *tab) hear(deadline time.Time) (said, error) {
	var s said
	if err := b.SetReadDeadline(deadline); err != nil {
		return s, err
	}
	kind, frame, err := b.ReadMessage()
	switch {
	case err != nil:
		return s, err
	case kind == websocket.BinaryMessage, len(frame) > largeFrame:
		return said{Channel: "iopub"}, nil
	}
	if err := json.Unmarshal(frame, &s); err != nil || !utf8.Valid(frame) {
		b.wild = fmt.Errorf("not JSON: %.200q: %w", frame, err)
	}
	if s.MsgType == "execute_reply" {
		b.replies[s.Parent.MsgID]++
	}
	word := s.word()
	if s.MsgType == "status" && word == "restarting" {
		b.restarts++
	}
	b.found = b.found || s.MsgType == "stream" && strings.Contains(word, b.wanted)
	return s, nil
}

// trip asks the kernel to echo a word, and waits until output, reply and idle have come back.
func (b *tab) trip(word string, patience time.Duration) error {
	id, err := b.ask("shell", "execute_request", word)
	if err != nil {
		return err
	}
	left := map[string]bool{"stream": true, "execute_reply": true, "idle": true}
	for deadline := time.Now().Add(patience); len(left) > 0; {
		s, err := b.hear(deadline)
		if err != nil {
			return fmt.Errorf("%v missing: %w", left, err)
		}
		if s.Parent.MsgID == id {
			delete(left, s.MsgType)
			delete(left, strings.ReplaceAll(s.word(), word, ""))
		}
	}
	return nil
}

// drain reads until the connection ends, and takes note of what a client that has asked nothing may not be sent.
func (b *tab) drain() {
	defer close(b.drained)
	for {
		s, err := b.hear(time.Now().Add(5 * time.Minute))
		if err != nil {
			return
		}
		if s.Channel != "iopub" {
			b.wild = fmt.Errorf("%s on %q", s.MsgType, s.Channel)
		}
	}
}
