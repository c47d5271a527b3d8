package bridge_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"cellblock.io/cellblock/internal/unixsocket"
	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/kernels/kernelstest"
	"cellblock.io/cellblock/kernels/receipt"
)

// gateway stands between a client and the bridge, as far as receipts go.
type gateway struct {
	*rig
	raw  *net.UnixConn // the WebSocket's, after its 101
	slip *receipt.Slip
	// ping is the payload of the last one that frame has read, pong that of the last pong.
	ping, pong []byte
}

// through opens a WebSocket whose receipts are the test's.
func (r *rig) through(session string) *gateway {
	r.Helper()
	conn, err := r.dial(context.Background())
	if err != nil {
		r.Fatal(err)
	}
	g := &gateway{rig: r, raw: conn.(*net.UnixConn)}
	r.Cleanup(func() { g.raw.Close() })
	if err := g.raw.SetReadDeadline(time.Now().Add(patience)); err != nil {
		r.Fatal(err)
	}
	slip, file, err := receipt.New()
	if err != nil {
		r.Fatal(err)
	}
	g.slip = slip
	r.Cleanup(slip.Close)
	defer file.Close()
	head := "GET /api/kernels/a-b-c-d-e/channels?session_id=" + session + " HTTP/1.1\r\nHost: bridge\r\nConnection: Upgrade\r\n" +
		kernels.ConnectionHeader + ": of-" + session + "\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	if _, _, err := g.raw.WriteMsgUnix([]byte(head), unixsocket.Pass(file.Fd()), nil); err != nil {
		r.Fatal(err)
	}
	g.readHead()
	return g
}

// readHead reads the bridge's answer byte by byte.
func (g *gateway) readHead() {
	g.Helper()
	head := ""
	for b := make([]byte, 1); !strings.HasSuffix(head, "\r\n\r\n"); head += string(b) {
		if _, err := g.raw.Read(b); err != nil {
			g.Fatal(err)
		}
	}
}

// leave asks the bridge to take leave of the client of a connection and returns the status of its answer.
func (r *rig) leave(connection string) int {
	r.Helper()
	conn, err := r.dial(context.Background())
	if err != nil {
		r.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s%s HTTP/1.0\r\nContent-Length: 0\r\n\r\n", kernels.LeavePath, connection)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		r.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// frame reads one frame of the bridge's and returns its size as a whole and whether it is a message.
func (g *gateway) frame() (size int, message bool) {
	g.Helper()
	head := make([]byte, 4)
	if _, err := io.ReadFull(g.raw, head[:2]); err != nil {
		g.Fatal(err)
	}
	length, size := int(head[1]), 2
	if length == 126 {
		if _, err := io.ReadFull(g.raw, head[2:]); err != nil {
			g.Fatal(err)
		}
		length, size = int(head[2])<<8|int(head[3]), 4
	}
	payload := make([]byte, length)
	if _, err := io.ReadFull(g.raw, payload); err != nil {
		g.Fatal(err)
	}
	switch head[0] & 0xf {
	case websocket.PingMessage:
		g.ping = payload
	case websocket.PongMessage:
		g.pong = payload
	}
	return size + length, head[0]&0xf == 1
}

// closeCode reads until the close frame and returns its code.
func (g *gateway) closeCode() int {
	g.Helper()
	for {
		head := make([]byte, 4)
		if _, err := io.ReadFull(g.raw, head[:2]); err != nil {
			g.Fatal(err)
		}
		rest := make([]byte, head[1])
		if _, err := io.ReadFull(g.raw, rest); err != nil {
			g.Fatal(err)
		}
		if head[0] == 0x88 {
			return int(rest[0])<<8 | int(rest[1])
		}
	}
}

// messages reads until n messages have come and returns how many bytes that was.
func (g *gateway) messages(n int) (size int) {
	for n > 0 {
		bytes, message := g.frame()
		size += bytes
		if message {
			n--
		}
	}
	return size
}

// A gateway that is killed takes what it had not handed on with it. The session continues with exactly that.
func TestWhatAGatewayDidNotHandOnIsSentAgain(t *testing.T) {
	r := startedRig(t)
	g := r.through("a")
	for i := range 6 {
		r.kernel.Publish("stream", nil, map[string]string{"text": fmt.Sprint(i)})
	}
	size := g.messages(3)
	half, _ := g.frame() // of the next one, only a part went on
	g.slip.Write(receipt.Receipt{Handed: int64(size)})
	g.slip.Write(receipt.Receipt{Handed: int64(size + half - 1)})
	g.messages(2) // were taken from the bridge, and lost
	g.raw.Close()
	r.until("gone", func() bool { return r.status().Connections == 0 })

	again := r.connect("a")
	for i := 3; i < 6; i++ {
		if got := again.receive().short(); got != fmt.Sprintf("iopub.stream %d", i) {
			t.Errorf("got %s, want %d", got, i)
		}
	}
}

// What was on its way to a client that lagged is sent again, whatever the gateway handed on: a proxy may have taken it.
func TestWhatAClientThatLaggedDidNotConfirmIsSentAgain(t *testing.T) {
	r := startedRig(t)
	g := r.through("a")
	for i := range 60 {
		r.kernel.Publish("stream", nil, map[string]string{"text": fmt.Sprintf("%d %0100d", i, 0)})
	}
	g.slip.Write(receipt.Receipt{Handed: int64(g.messages(60)), Last: true})
	g.raw.Close()
	r.until("gone", func() bool { return r.status().Connections == 0 })
	again := r.connect("a")
	if got, want := again.receive().short(), fmt.Sprintf("iopub.stream 0 %0100d", 0); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A gateway that goes away has the bridge send its clients away. Who answers that has had everything.
func TestLeave(t *testing.T) {
	for _, answers := range []bool{true, false} {
		r := startedRig(t)
		g := r.through("a")
		for i := range 60 {
			r.kernel.Publish("stream", nil, map[string]string{"text": fmt.Sprintf("%d %0100d", i, 0)})
		}
		g.messages(60)
		if code := r.leave("of-a"); code != http.StatusNoContent {
			t.Fatalf("status %d", code)
		}
		if code := g.closeCode(); code != websocket.CloseServiceRestart {
			t.Errorf("close code %d", code)
		}
		g.slip.Write(receipt.Receipt{Last: true}) // it is believed only where nothing better is known
		if answers {
			if _, err := g.raw.Write([]byte("\x88\x82\x00\x00\x00\x00\x03\xf4")); err != nil { // masked, 1012
				t.Fatal(err)
			}
			r.until("gone", func() bool { return r.status().Connections == 0 })
		}
		g.raw.Close()
		again := r.connect("a")
		r.kernel.Publish("stream", nil, map[string]string{"text": "next"})
		want := "iopub.stream next"
		if !answers {
			want = fmt.Sprintf("iopub.stream 0 %0100d", 0)
		}
		if got := again.receive().short(); got != want {
			t.Errorf("answers %v: got %s, want %s", answers, got, want)
		}
		if code := r.leave("of-a"); code != http.StatusNotFound {
			t.Errorf("status %d for one that is gone", code)
		}
		if code := r.leave(""); code == http.StatusNoContent {
			t.Error("a connection without a name was found")
		}
	}
}

// A client that ends its connection, or opens another one, does not look any more at what it is sent on the first. Which
// of the pings it has answered before tells what it has read, whatever the gateway handed on.
func TestWhatAClientThatLeftHadNotReadIsSentAgain(t *testing.T) {
	for _, closes := range []bool{true, false} {
		r := startedRig(t)
		g := r.through("a")
		publish := func(text string) {
			r.kernel.Publish("stream", nil, map[string]string{"text": text})
		}
		size := 0
		for _, text := range []string{"read", "on its way"} {
			publish(text)
			size += g.messages(1)
			for g.ping = nil; g.ping == nil; {
				more, _ := g.frame()
				size += more
			}
			if text == "read" {
				g.send(kernelstest.Masked(0x8a, string(g.ping)))
				g.send(kernelstest.Masked(0x89, "?")) // its pong tells that ours has been read
				for g.pong == nil {
					more, _ := g.frame()
					size += more
				}
			}
			g.slip.Write(receipt.Receipt{Handed: int64(size)})
		}
		g.slip.Write(receipt.Receipt{Handed: int64(size), Last: true})
		if closes {
			g.send(kernelstest.Masked(0x88, ""))
			r.until("gone", func() bool { return r.status().Connections == 0 })
		}
		again := r.connect("a")
		publish("next")
		for _, want := range []string{"on its way", "next"} {
			if got := again.receive().short(); got != "iopub.stream "+want {
				t.Errorf("closes %v: got %s, want %s", closes, got, want)
			}
		}
	}
}

// send writes a client's bytes.
func (g *gateway) send(b []byte) {
	g.Helper()
	if _, err := g.raw.Write(b); err != nil {
		g.Fatal(err)
	}
}

// The file of a connection that never becomes a WebSocket is not kept, and one that is no slip ends its connection.
func TestReceiptsOfRefusedConnectionsAreGivenUp(t *testing.T) {
	r := startedRig(t)
	mappings := func() int {
		maps, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Count(maps, []byte("memfd:receipts"))
	}
	before := mappings()
	for range 10 {
		conn, err := r.dial(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		slip, file, err := receipt.New()
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := conn.(*net.UnixConn).WriteMsgUnix([]byte("GET /nowhere HTTP/1.0\r\n\r\n"), unixsocket.Pass(file.Fd()), nil); err != nil {
			t.Fatal(err)
		}
		if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.0 404") {
			t.Errorf("%s, %v", answer, err)
		}
		conn.Close()
		slip.Close()
		file.Close()
	}
	r.until("given up", func() bool { return mappings() <= before })

	conn, err := r.dial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	file, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, _, err := conn.(*net.UnixConn).WriteMsgUnix([]byte("GET /healthz HTTP/1.0\r\n\r\n"), unixsocket.Pass(file.Fd()), nil); err != nil {
		t.Fatal(err)
	}
	if answer, _ := io.ReadAll(conn); bytes.Contains(answer, []byte("200 OK")) {
		t.Errorf("answered %s", answer)
	}
}
