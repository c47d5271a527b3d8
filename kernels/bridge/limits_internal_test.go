package bridge

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zeromq/zmq4"

	"cellblock.io/cellblock/kernels/kernelstest"
)

// zeros is a reader of n zero bytes, without memory for them.
func zeros(n int) io.Reader { return io.LimitReader(zero{}, int64(n)) }

type zero struct{}

func (zero) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// frameOf is a frame of n zero bytes.
func frameOf(flags byte, n int) io.Reader {
	return io.MultiReader(bytes.NewReader(kernelstest.FrameHead(flags, uint64(n))), zeros(n))
}

// verdictOn says what a guard makes of a peer: what it sends after a good handshake and then closes, or instead of one.
func verdictOn(kind zmq4.SocketType, handshake []byte, script ...io.Reader) string {
	g := newGuard(scripted{r: io.MultiReader(append([]io.Reader{bytes.NewReader(handshake)}, script...)...)}, kind)
	if _, err := g.open(zmq4.SocketIdentity("x")); err != nil {
		if errors.Is(err, errProtocol) {
			return "refused"
		}
		return "no handshake"
	}
	said := "nothing"
	for {
		_, err := g.readMessage()
		var large *tooLargeError
		switch {
		case err == nil:
			said = "message"
		case errors.As(err, &large):
			said = "left out"
		case errors.Is(err, errProtocol):
			return "refused"
		default:
			return said
		}
	}
}

func shakenAs(socketType string) []byte {
	return append(kernelstest.Greeting(nil), kernelstest.Ready(socketType)...)
}

// Each limit of the guard at one below, at it and one above. A message that is too large costs only itself; everything
// else above a limit costs the link.
func TestGuardLimits(t *testing.T) {
	hello := kernelstest.Greeting(nil)
	router := kernelstest.Property("Socket-Type", "ROUTER")
	readyOf := func(n int) []byte { // a READY command with a body of n bytes
		const rest = len("\x05READY") + 1 + len("Socket-Type") + 4 + len("ROUTER") + 1 + len("x") + 4
		return kernelstest.Command("\x05READY" + router + kernelstest.Property("x", strings.Repeat("x", n-rest)))
	}
	dealer := func(script func(n int) []io.Reader) func(int) string {
		return func(n int) string { return verdictOn(zmq4.Dealer, shakenAs("ROUTER"), script(n)...) }
	}
	sub := func(script func(n int) []io.Reader) func(int) string {
		return func(n int) string { return verdictOn(zmq4.Sub, shakenAs("XPUB"), script(n)...) }
	}
	repeat := func(b []byte, n int) io.Reader { return bytes.NewReader(bytes.Repeat(b, n)) }
	for name, row := range map[string]struct {
		limit       int
		meet        func(n int) string
		below, over string
	}{
		"bytes of READY": {maxReady, func(n int) string { return verdictOn(zmq4.Dealer, append(hello[:64:64], readyOf(n)...)) }, "nothing", "refused"},
		"properties of READY": {maxProperties, func(n int) string {
			return verdictOn(zmq4.Dealer, append(hello[:64:64], kernelstest.Command("\x05READY"+router+strings.Repeat(kernelstest.Property("x", ""), n-1))...))
		}, "nothing", "refused"},
		"bytes of a command": {maxReady, dealer(func(n int) []io.Reader {
			return []io.Reader{bytes.NewReader(kernelstest.Command("\x04PING" + strings.Repeat("x", n-5)))}
		}), "nothing", "refused"},
		"commands": {maxCommands, dealer(func(n int) []io.Reader {
			return []io.Reader{repeat(kernelstest.Command("\x04PING"), n)}
		}), "nothing", "refused"},
		"frames in a message": {maxFrames, dealer(func(n int) []io.Reader {
			return []io.Reader{repeat([]byte("\x01\x00"), n-1), bytes.NewReader([]byte("\x00\x00"))}
		}), "message", "refused"},
		"bytes of a reply": {int(maxFrame[zmq4.Dealer]), dealer(func(n int) []io.Reader { return []io.Reader{frameOf(0, n)} }), "message", "left out"},
		"bytes of output":  {int(maxFrame[zmq4.Sub]), sub(func(n int) []io.Reader { return []io.Reader{frameOf(0, n)} }), "message", "left out"},
		"bytes of a message": {maxMessageBytes, sub(func(n int) []io.Reader {
			return []io.Reader{frameOf(1, n/2), frameOf(0, n-n/2)}
		}), "message", "left out"},
		"bytes read over": {maxSkipped, sub(func(n int) []io.Reader { return []io.Reader{frameOf(1, n-1), frameOf(0, 1)} }), "left out", "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			for n, want := range map[int]string{row.limit - 1: row.below, row.limit: row.below, row.limit + 1: row.over} {
				if got := row.meet(n); got != want {
					t.Errorf("%d: %s, want %s", n, got, want)
				}
			}
		})
	}
}

// piece is what a peer sends after a pause.
type piece struct {
	after time.Duration
	bytes []byte
}

// endedAfter returns when a guard gives a peer up that sends these pieces, on the clock of the test; zero if it read
// them all and went on waiting for a day.
func endedAfter(t *testing.T, pieces ...piece) (took time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		var all sync.WaitGroup
		defer all.Wait()
		all.Go(func() { io.Copy(io.Discard, theirs) }) //nolint:errcheck // ends with the pipe
		all.Go(func() {
			for _, p := range pieces {
				time.Sleep(p.after) // on the clock of the test
				if _, err := theirs.Write(p.bytes); err != nil {
					return
				}
			}
			time.Sleep(24 * time.Hour)
			theirs.Close()
		})
		began := time.Now()
		g := newGuard(ours, zmq4.Dealer)
		_, err := g.open(zmq4.SocketIdentity("x"))
		for err == nil {
			_, err = g.readMessage()
		}
		ours.Close()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			took = time.Since(began)
		}
	})
	return took
}

// Each time at a moment before it is over, and a moment after.
func TestGuardTimes(t *testing.T) {
	const moment = time.Millisecond
	hello, ready := kernelstest.Greeting(nil), kernelstest.Ready("ROUTER")
	shaken := piece{0, shakenAs("ROUTER")}
	head := kernelstest.FrameHead(0, 1000)
	steadily := func(n int, pause time.Duration) []piece { // a frame of 1 000 bytes, one byte at a time
		list := []piece{shaken, {0, head}}
		for range n {
			list = append(list, piece{pause, []byte("x")})
		}
		return list
	}
	for name, row := range map[string]struct {
		pieces []piece
		ended  time.Duration
	}{
		"greeting in time":         {[]piece{{greetingTime - moment, hello}, {0, ready}}, 0},
		"greeting too late":        {[]piece{{greetingTime + moment, hello}, {0, ready}}, greetingTime},
		"greeting in two halves":   {[]piece{{greetingTime - moment, hello[:32]}, {2 * moment, hello[32:]}, {0, ready}}, greetingTime},
		"READY in time":            {[]piece{{greetingTime - moment, hello}, {readyTime - moment, ready}}, 0},
		"READY too late":           {[]piece{{time.Second, hello}, {readyTime + moment, ready}}, time.Second + readyTime},
		"pause between messages":   {[]piece{shaken, {time.Hour, []byte("\x00\x00")}, {time.Hour, []byte("\x00\x00")}}, 0},
		"pause within a head":      {[]piece{shaken, {0, head[:1]}, {progressTime - moment, head[1:]}, {0, make([]byte, 1000)}}, 0},
		"stall within a head":      {[]piece{shaken, {0, head[:1]}, {progressTime + moment, head[1:]}}, progressTime},
		"pause within a frame":     {[]piece{shaken, {0, head}, {progressTime - moment, make([]byte, 1000)}}, 0},
		"stall within a frame":     {[]piece{shaken, {0, head}, {0, []byte("x")}, {progressTime + moment, make([]byte, 999)}}, progressTime},
		"pause within a message":   {[]piece{shaken, {0, []byte("\x01\x00")}, {progressTime - moment, []byte("\x00\x00")}}, 0},
		"stall within a message":   {[]piece{shaken, {0, []byte("\x01\x00")}, {progressTime + moment, []byte("\x00\x00")}}, progressTime},
		"stall within a command":   {[]piece{shaken, {0, []byte("\x04\x10\x04PING")}}, progressTime},
		"stall after a message":    {[]piece{shaken, {time.Hour, []byte("\x00\x00\x01")}}, time.Hour + progressTime},
		"a frame slowly, in time":  {append(steadily(6, 9*time.Second), piece{5 * time.Second, make([]byte, 994)}), 0},
		"a frame slowly, too late": {steadily(20, 9*time.Second), frameTime},
	} {
		if got := endedAfter(t, row.pieces...); got != row.ended {
			t.Errorf("%s: ended after %v, want %v", name, got, row.ended)
		}
	}
}
