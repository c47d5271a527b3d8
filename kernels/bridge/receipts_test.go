package bridge_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"cellblock.io/cellblock/kernels/receipt"
)

// gateway stands between a client and the bridge, as far as receipts go.
type gateway struct {
	*rig
	raw  *net.UnixConn // the WebSocket's, after its 101
	slip *receipt.Slip
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
	slip, file, err := receipt.New()
	if err != nil {
		r.Fatal(err)
	}
	g.slip = slip
	r.Cleanup(slip.Close)
	defer file.Close()
	head := "GET /api/kernels/a-b-c-d-e/channels?session_id=" + session + " HTTP/1.1\r\nHost: bridge\r\nConnection: Upgrade\r\n" +
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	if _, _, err := g.raw.WriteMsgUnix([]byte(head), receipt.Pass(file), nil); err != nil {
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
	if _, err := io.CopyN(io.Discard, g.raw, int64(length)); err != nil {
		g.Fatal(err)
	}
	return size + length, head[0]&0xf == 1
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

// What was on its way to a client that lagged is sent again, unless the client has taken it all in the end.
func TestOnlyACompleteReceiptIsBelievedOfAClientThatLags(t *testing.T) {
	for _, complete := range []bool{true, false} {
		r := startedRig(t)
		session := fmt.Sprint(complete)
		g := r.through(session)
		for i := range 60 {
			r.kernel.Publish("stream", nil, map[string]string{"text": fmt.Sprintf("%d %0100d", i, 0)})
		}
		g.slip.Write(receipt.Receipt{Handed: int64(g.messages(60)), Last: true, Complete: complete})
		g.raw.Close()
		r.until("gone", func() bool { return r.status().Connections == 0 })
		again := r.connect(session)
		r.kernel.Publish("stream", nil, map[string]string{"text": "next"})
		want := "iopub.stream next"
		if !complete { // no pong came: nothing is confirmed
			want = fmt.Sprintf("iopub.stream 0 %0100d", 0)
		}
		if got := again.receive().short(); got != want {
			t.Errorf("complete %v: got %s, want %s", complete, got, want)
		}
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
		if _, _, err := conn.(*net.UnixConn).WriteMsgUnix([]byte("GET /nowhere HTTP/1.0\r\n\r\n"), receipt.Pass(file), nil); err != nil {
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
	if _, _, err := conn.(*net.UnixConn).WriteMsgUnix([]byte("GET /healthz HTTP/1.0\r\n\r\n"), receipt.Pass(file), nil); err != nil {
		t.Fatal(err)
	}
	if answer, _ := io.ReadAll(conn); bytes.Contains(answer, []byte("200 OK")) {
		t.Errorf("answered %s", answer)
	}
}
