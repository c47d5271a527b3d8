package bridge_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-zeromq/zmq4"
	"github.com/go-zeromq/zmq4/security/null"
	"github.com/google/uuid"
	"github.com/gorilla/websocket"

	"cellblock.io/cellblock/kernels/bridge"
	"cellblock.io/cellblock/kernels/kernelstest"
	"cellblock.io/cellblock/kernels/wire"
)

// BenchmarkRoundTrip asks the fake kernel for kernel_info, in turns directly over ZeroMQ and through a bridge over
// WebSocket, and reports the medians and their ratio. A second fake kernel serves the direct side, as each serves one
// client.
func BenchmarkRoundTrip(b *testing.B) {
	direct := directClient(b)
	ws := bridgedClient(b)
	var plain, bridged []time.Duration
	for b.Loop() {
		start := time.Now()
		direct()
		middle := time.Now()
		ws()
		plain = append(plain, middle.Sub(start))
		bridged = append(bridged, time.Since(middle))
	}
	d, w := median(plain), median(bridged)
	b.ReportMetric(float64(d.Microseconds()), "µs-direct")
	b.ReportMetric(float64(w.Microseconds()), "µs-bridge")
	b.ReportMetric(float64(w)/float64(d), "bridge/direct")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkOutput sends bursts of outputs, in turns directly over ZeroMQ and through a bridge to one WebSocket, and
// reports messages per second and their ratio.
func BenchmarkOutput(b *testing.B) {
	for _, size := range []int{100, 10_000, 1_000_000} {
		for name, protocols := range map[string][]string{"v1": {wire.SubprotocolV1}, "json": nil} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				plain, sub := directOutput(b)
				kernel, ws := bridgedSocket(b, protocols)
				burst := min(20_000, 40_000_000/size) // less than a journal holds
				var direct, bridged time.Duration
				messages := 0
				for b.Loop() {
					direct += timeBurst(b, plain, burst, size, readerOfFrames(sub))
					bridged += timeBurst(b, kernel, burst, size, func() error { return skipMessage(ws) })
					messages += burst
				}
				b.ReportMetric(float64(messages)/direct.Seconds(), "direct-messages/s")
				b.ReportMetric(float64(messages)/bridged.Seconds(), "bridge-messages/s")
				b.ReportMetric(float64(messages*size)/1e6/bridged.Seconds(), "bridge-MB/s")
				b.ReportMetric(direct.Seconds()/bridged.Seconds(), "bridge/direct")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// timeBurst lets a kernel send n outputs of size bytes and returns how long it takes until receive has had them all.
func timeBurst(b *testing.B, k *kernelstest.FakeKernel, n, size int, receive func() error) time.Duration {
	text := strings.Repeat("x", size)
	frames := k.Frames(k.Message(wire.IOPub, "stream", []byte("{}"), map[string]string{"name": "stdout", "text": text}))
	message := kernelstest.Encode(frames)
	block := bytes.Repeat(message, max(1, 64<<10/len(message)))
	conn := k.Raw(wire.IOPub)
	start := time.Now()
	go func() {
		for left := n * len(message); left > 0; {
			sent, err := conn.Write(block[:min(left, len(block))])
			if err != nil {
				b.Error(err)
				return
			}
			left -= sent
		}
	}()
	for range n {
		if err := receive(); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start)
}

// readerOfFrames returns a function that reads one message from a ZeroMQ connection in the cheapest way.
func readerOfFrames(conn net.Conn) func() error {
	r := bufio.NewReaderSize(conn, 64<<10)
	return func() error {
		for {
			head, err := r.Peek(2)
			if err != nil {
				return err
			}
			flags, length := head[0], uint64(head[1])
			if flags&2 == 0 {
				_, err = r.Discard(2 + int(length))
			} else if head, err = r.Peek(9); err == nil {
				_, err = r.Discard(9 + int(binary.BigEndian.Uint64(head[1:])))
			}
			if err != nil || flags&1 == 0 {
				return err
			}
		}
	}
}

// skipMessage reads one WebSocket message.
func skipMessage(ws *websocket.Conn) error {
	_, r, err := ws.NextReader()
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	return err
}

// directOutput returns a kernel and a ZeroMQ connection that is subscribed to its outputs.
func directOutput(b *testing.B) (*kernelstest.FakeKernel, net.Conn) {
	k := kernelstest.NewFakeKernel(b)
	k.Start()
	raw := dialUnix(b, filepath.Join(k.Dir(), "k-2"))
	conn, err := zmq4.Open(raw, null.Security(), zmq4.Sub, nil, false, nil)
	if err == nil {
		err = conn.SendMsg(zmq4.NewMsg([]byte{1}))
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	return k, raw
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// directClient returns a call that asks a kernel over one ZeroMQ connection and waits for the reply.
func directClient(b *testing.B) func() {
	k := kernelstest.NewFakeKernel(b)
	k.OnRequest = func(k *kernelstest.FakeKernel, m wire.Message, _ wire.Header) bool {
		k.Reply(m.Channel, "kernel_info_reply", m.Header, map[string]string{"status": "ok"})
		return true
	}
	k.Start()
	raw := dialUnix(b, filepath.Join(k.Dir(), "k-1"))
	conn, err := zmq4.Open(raw, null.Security(), zmq4.Dealer, zmq4.SocketIdentity("d"), false, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	return func() {
		request := k.Message(wire.Shell, "kernel_info_request", []byte("{}"), struct{}{})
		if err := conn.SendMsg(zmq4.NewMsgFrom(k.Frames(request)...)); err != nil {
			b.Fatal(err)
		}
		if _, err := conn.RecvMsg(); err != nil {
			b.Fatal(err)
		}
	}
}

// dialUnix connects as soon as somebody listens.
func dialUnix(b *testing.B, path string) net.Conn {
	for deadline := time.Now().Add(patience); ; {
		c, err := net.Dial("unix", path)
		if err == nil {
			return c
		}
		if time.Now().After(deadline) {
			b.Fatal(err)
		}
		<-time.After(time.Millisecond)
	}
}

// bridgedClient returns the same call through a bridge.
func bridgedClient(b *testing.B) func() {
	_, ws := bridgedSocket(b, []string{wire.SubprotocolV1})
	return func() {
		id := uuid.NewString()
		m := wire.Message{Channel: wire.Shell, Parent: []byte("{}"), Metadata: []byte("{}"), Content: []byte("{}"),
			Header: fmt.Appendf(nil, `{"msg_id":%q,"msg_type":"kernel_info_request","session":"s","version":"5.3"}`, id)}
		if err := ws.WriteMessage(websocket.BinaryMessage, wire.AppendV1(nil, &m)); err != nil {
			b.Fatal(err)
		}
		for {
			_, frame, err := ws.ReadMessage()
			if err != nil {
				b.Fatal(err)
			}
			if strings.Contains(string(frame), "kernel_info_reply") {
				return
			}
		}
	}
}

// bridgedSocket starts a kernel with a bridge and connects to it.
func bridgedSocket(b *testing.B, protocols []string) (*kernelstest.FakeKernel, *websocket.Conn) {
	k := kernelstest.NewFakeKernel(b)
	socket := filepath.Join(k.Dir(), "b")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- bridge.Run(ctx, bridge.Config{ConnectionFile: k.ConnectionFile(), Listen: "unix:" + socket,
			Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	}()
	b.Cleanup(func() { cancel(); <-done })
	raw := dialUnix(b, socket)
	d := websocket.Dialer{Subprotocols: protocols, NetDial: func(string, string) (net.Conn, error) { return raw, nil }}
	ws, _, err := d.Dial("ws://bridge/api/kernels/a-b-c-d-e/channels?session_id=b", http.Header{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ws.Close() })
	k.Start()
	if _, _, err := ws.ReadMessage(); err != nil { // the idle that says that the kernel is up
		b.Fatal(err)
	}
	return k, ws
}
