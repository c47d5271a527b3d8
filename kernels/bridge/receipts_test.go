package bridge_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"

	"cellblock.io/cellblock/kernels"
)

// gateway stands between a client and the bridge, as far as receipts go.
type gateway struct {
	*rig
	raw  net.Conn // the WebSocket's, after its 101
	tell net.Conn
}

// through opens a WebSocket and the connection for its receipts.
func (r *rig) through(session string) *gateway {
	r.Helper()
	raw, err := r.dial(context.Background())
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { raw.Close() })
	head := "GET /api/kernels/a-b-c-d-e/channels?session_id=" + session + " HTTP/1.1\r\nHost: bridge\r\nConnection: Upgrade\r\n" +
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	if _, err := io.WriteString(raw, head); err != nil {
		r.Fatal(err)
	}
	g := &gateway{rig: r, raw: raw}
	id := g.readHead()
	if g.tell, err = r.dial(context.Background()); err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { g.tell.Close() })
	if _, err := fmt.Fprintf(g.tell, "POST %s%s HTTP/1.1\r\nHost: bridge\r\nContent-Length: %d\r\n\r\n", kernels.ReceiptsPath, id, 1<<62); err != nil {
		r.Fatal(err)
	}
	return g
}

// readHead reads the bridge's answer byte by byte and returns the id for receipts.
func (g *gateway) readHead() (id string) {
	g.Helper()
	line := ""
	for b := make([]byte, 1); ; {
		if _, err := g.raw.Read(b); err != nil {
			g.Fatal(err)
		}
		line += string(b)
		if b[0] != '\n' {
			continue
		}
		if line == "\r\n" {
			return id
		}
		fmt.Sscanf(line, kernels.ReceiptsHeader+": %s", &id) //nolint:errcheck // of most lines it is none
		line = ""
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

// handed tells the bridge.
func (g *gateway) handed(r kernels.Receipt) {
	g.Helper()
	b := r.Encode()
	if _, err := g.tell.Write(b[:]); err != nil {
		g.Fatal(err)
	}
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
	g.handed(kernels.Receipt{Handed: uint64(size)})
	g.handed(kernels.Receipt{Handed: uint64(size + half - 1)})
	g.messages(2) // were taken from the bridge, and lost
	g.raw.Close()
	g.tell.Close()
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
		g.handed(kernels.Receipt{Handed: uint64(g.messages(60)), Complete: complete})
		g.raw.Close()
		g.tell.Close()
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

func TestReceiptsAreForPresentConnectionsOnly(t *testing.T) {
	r := startedRig(t)
	for _, path := range []string{"0123456789abcdef0123456789abcdef", "x"} {
		c, err := r.dial(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "POST %s%s HTTP/1.1\r\nHost: bridge\r\nContent-Length: 8\r\n\r\n12345678", kernels.ReceiptsPath, path)
		answer := make([]byte, len("HTTP/1.1 404"))
		if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "HTTP/1.1 404" {
			t.Errorf("%s: %s, %v", path, answer, err)
		}
		c.Close()
	}
}
