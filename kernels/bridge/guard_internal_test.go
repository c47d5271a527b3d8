package bridge

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zeromq/zmq4"
)

func greeting(change func([]byte)) []byte {
	b := make([]byte, greetingLength)
	b[0], b[9], b[10] = 0xff, 0x7f, 3
	copy(b[12:], "NULL")
	if change != nil {
		change(b)
	}
	return b
}

func command(body string) []byte { return append([]byte{4, byte(len(body))}, body...) }

func prop(name, value string) string {
	return string([]byte{byte(len(name))}) + name + string(binary.BigEndian.AppendUint32(nil, uint32(len(value)))) + value
}

func readyAs(socketType string) []byte {
	return command("\x05READY" + prop("Socket-Type", socketType) + prop("Identity", ""))
}

func long(flags byte, size uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{flags | 2}, size)
}

// scripted is a connection whose peer has sent everything already and reads all that it is sent.
type scripted struct {
	net.Conn
	r io.Reader
}

func (s scripted) Read(p []byte) (int, error)       { return s.r.Read(p) }
func (s scripted) Write(p []byte) (int, error)      { return len(p), nil }
func (s scripted) SetDeadline(time.Time) error      { return nil }
func (s scripted) SetReadDeadline(time.Time) error  { return nil }
func (s scripted) SetWriteDeadline(time.Time) error { return nil }

// meet lets a guard meet a peer that sends script and then closes, and returns what reading messages ends with.
func meet(kind zmq4.SocketType, script ...[]byte) (messages [][][]byte, err error) {
	ours := scripted{r: bytes.NewReader(bytes.Join(script, nil))}
	g := newGuard(ours, kind)
	if _, err := g.open(zmq4.SocketIdentity("x")); err != nil {
		return nil, err
	}
	for {
		frames, err := g.readMessage()
		if err != nil {
			return messages, err
		}
		messages = append(messages, slices.Clone(frames))
	}
}

func TestGuardPassesWhatIsWithinTheLimits(t *testing.T) {
	big := bytes.Repeat([]byte("x"), 300_000)
	messages, err := meet(zmq4.Sub, greeting(nil), readyAs("XPUB"),
		[]byte("\x01\x01a\x00\x00"), command("\x04PINGxx"), long(0, uint64(len(big))), big)
	if !errors.Is(err, io.EOF) || len(messages) != 2 {
		t.Fatalf("%d messages, %v", len(messages), err)
	}
	if string(messages[0][0]) != "a" || len(messages[0]) != 2 || !bytes.Equal(messages[1][0], big) {
		t.Error("messages changed on the way")
	}
}

func TestGuardRefuses(t *testing.T) {
	hello := greeting(nil)
	rows := map[string][][]byte{
		"version 2":             {greeting(func(b []byte) { b[10] = 1 })},
		"another mechanism":     {greeting(func(b []byte) { copy(b[12:], "PLAIN") })},
		"no signature":          {greeting(func(b []byte) { b[0] = 'G' })},
		"message before READY":  {hello, []byte("\x00\x01a")},
		"ERROR command":         {hello, command("\x05ERROR\x03bad")},
		"zero byte as metadata": {hello, command("\x05READY\x00")},
		"metadata beyond end":   {hello, command("\x05READY\x0bSocket-Type\xff\xff\xff\xff")},
		"name beyond end":       {hello, command("\x05READY\xff")},
		"no socket type":        {hello, command("\x05READY")},
		"unknown socket type":   {hello, readyAs("EVIL")},
		"wrong socket type":     {hello, readyAs("PUB")},
		"17 properties":         {hello, command("\x05READY" + strings.Repeat(prop("x", ""), 17))},
		"READY of 4 KiB + 1":    {hello, long(4, maxReady+1)},
		"READY with MORE":       {hello, []byte("\x05\x06\x05READY")},
		"reserved flags":        {hello, readyAs("ROUTER"), []byte("\x08\x00")},
		"frame of 2^49":         {hello, readyAs("ROUTER"), long(0, 1<<49)},
		"frame of 2^63":         {hello, readyAs("ROUTER"), long(0, 1<<63)},
		"frame beyond skipping": {hello, readyAs("ROUTER"), long(0, maxSkipped+1)},
		"message too long":      {hello, readyAs("ROUTER"), long(1, 17<<20), make([]byte, 17<<20), long(0, maxSkipped-1)},
		"endless MORE":          {hello, readyAs("ROUTER"), bytes.Repeat([]byte("\x01\x00"), maxFrames+1)},
		"command in a message":  {hello, readyAs("ROUTER"), []byte("\x01\x00\x04\x00")},
		"101 commands":          {hello, readyAs("ROUTER"), bytes.Repeat(command("\x04PING"), maxCommands+1)},
	}
	for name, script := range rows {
		t.Run(name, func(t *testing.T) {
			if _, err := meet(zmq4.Dealer, script...); !errors.Is(err, errProtocol) {
				t.Errorf("ended with %v", err)
			}
		})
	}
	for name, tail := range map[string][]byte{
		"136 frames":   append(bytes.Repeat([]byte("\x01\x00"), maxFrames-1), 0, 0),
		"100 commands": bytes.Repeat(command("\x04PING"), maxCommands),
	} {
		if _, err := meet(zmq4.Dealer, hello, readyAs("ROUTER"), tail); !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// One message that is too large does not end the link: it is read over, and what comes after it arrives.
func TestGuardReadsOverWhatIsTooLarge(t *testing.T) {
	large := bytes.Repeat([]byte("x"), 16<<20+1)
	script := bytes.Join([][]byte{
		greeting(nil), readyAs("ROUTER"), []byte("\x01\x01a"), long(1, uint64(len(large))), large, []byte("\x00\x01b"),
		[]byte("\x00\x01c"), long(0, 16<<20), large[:16<<20], long(0, uint64(len(large))), large, []byte("\x00\x01d"),
	}, nil)
	g := newGuard(scripted{r: bytes.NewReader(script)}, zmq4.Dealer)
	if _, err := g.open(zmq4.SocketIdentity("x")); err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]string{nil, {"c"}, {string(large[1:])}, nil, {"d"}} {
		frames, err := g.readMessage()
		var over *tooLargeError
		if err != nil && !errors.As(err, &over) || (err == nil) != (want != nil) {
			t.Fatalf("message %d: %v", i, err)
		}
		var got []string
		for _, f := range frames {
			got = append(got, string(f))
		}
		if !slices.Equal(got, want) {
			t.Errorf("message %d: %d frames", i, len(got))
		}
	}
}

// A frame that is read over has a deadline as any other.
func TestStallInWhatIsReadOverEndsTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		defer ours.Close()
		g := newGuard(ours, zmq4.Dealer)
		g.greeted, g.established = true, true
		go func() {
			theirs.Write(long(0, 17<<20))  //nolint:errcheck // the reader's error is looked at
			theirs.Write(make([]byte, 10)) //nolint:errcheck
		}()
		began := time.Now()
		if _, err := g.readMessage(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v", err)
		}
		if took := time.Since(began); took != progressTime {
			t.Errorf("after %v", took)
		}
	})
}

// A peer that accepts and says nothing does not hold dialLink for ever: ctx ends it.
func TestSilentPeerDoesNotHoldTheDial(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	ctx, cancel := context.WithCancel(context.Background())
	g := newGuard(ours, zmq4.Dealer)
	stop := context.AfterFunc(ctx, func() { ours.Close() })
	defer stop()
	go io.Copy(io.Discard, theirs) //nolint:errcheck // ends with the pipe
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := g.open(zmq4.SocketIdentity("x")); err == nil {
		t.Error("opened")
	}
}
