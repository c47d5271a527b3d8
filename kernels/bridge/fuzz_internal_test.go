package bridge

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/go-zeromq/zmq4"

	"cellblock.io/cellblock/kernels/kernelstest"
)

// readAll lets a guard meet a peer, and returns all messages that it passes on, as the test can compare them, and how
// it ended.
func readAll(peer io.Reader) (messages [][][]byte, end error) {
	g := newGuard(scripted{r: peer}, zmq4.Sub)
	if _, err := g.open(zmq4.SocketIdentity("x")); err != nil {
		return nil, err
	}
	for {
		frames, err := g.readMessage()
		var large *tooLargeError
		switch {
		case errors.As(err, &large):
			frames = nil
		case err != nil:
			return messages, err
		}
		var message [][]byte
		for _, f := range frames {
			message = append(message, bytes.Clone(f))
		}
		messages = append(messages, message)
	}
}

// sane fails when more came out than went in.
func sane(t *testing.T, messages [][][]byte, in int) {
	t.Helper()
	total := 0
	for _, m := range messages {
		if len(m) > maxFrames {
			t.Errorf("message of %d frames", len(m))
		}
		for _, f := range m {
			total += len(f)
		}
	}
	if total > in {
		t.Errorf("%d bytes of messages out of %d", total, in)
	}
}

func FuzzGuard(f *testing.F) {
	f.Add(append(shakenAs("PUB"), "\x01\x01a\x00\x01b"...))
	f.Add(append(shakenAs("XPUB"), kernelstest.FrameHead(0, 1<<40)...))
	f.Add(append(kernelstest.Greeting(nil), kernelstest.Command("\x05READY\x00")...))
	f.Fuzz(func(t *testing.T, script []byte) {
		messages, _ := readAll(bytes.NewReader(script))
		sane(t, messages, len(script))
	})
}

// FuzzGreeting: only one greeting is let through, whatever stands in the places that ZMTP leaves open.
func FuzzGreeting(f *testing.F) {
	f.Add(kernelstest.Greeting(nil))
	f.Add(kernelstest.Greeting(func(b []byte) { b[11] = 1 }))
	f.Add(kernelstest.Greeting(func(b []byte) { copy(b[12:], "CURVE") }))
	f.Fuzz(func(t *testing.T, greeting []byte) {
		_, err := readAll(bytes.NewReader(append(bytes.Clone(greeting), kernelstest.Ready("PUB")...)))
		good := len(greeting) == greetingLength && greeting[0] == 0xff && greeting[9] == 0x7f && greeting[10] == 3 &&
			bytes.Equal(greeting[12:32], append([]byte("NULL"), make([]byte, 16)...))
		if good && greeting[32] == 0 && err != io.EOF || !good && len(greeting) == greetingLength && !errors.Is(err, errProtocol) {
			t.Errorf("%x: %v", greeting, err)
		}
	})
}

// FuzzReady: what checkReady lets through the library reads without a panic, and agrees to.
func FuzzReady(f *testing.F) {
	router := kernelstest.Property("Socket-Type", "ROUTER")
	for _, metadata := range []string{router, router + router, router + kernelstest.Property("Identity", "x"), "\x00", "\xff",
		"\x0bSocket-Type\xff\xff\xff\xff", "\x0bsocket-type\x00\x00\x00\x06ROUTER"} {
		f.Add([]byte("\x05READY" + metadata))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if checkReady(body, zmq4.Dealer) != nil || len(body) > maxReady {
			return
		}
		script := append(kernelstest.Greeting(nil), kernelstest.Frame(4, body)...)
		g := newGuard(scripted{r: bytes.NewReader(script)}, zmq4.Dealer)
		if _, err := g.open(zmq4.SocketIdentity("x")); errors.Is(err, errProtocol) {
			t.Errorf("%q: %v", body, err)
		}
	})
}

// FuzzStream: what comes of a peer's frames and commands does not depend on how they arrive, in one piece or many.
func FuzzStream(f *testing.F) {
	f.Add([]byte("\x01\x01a\x00\x01b\x04\x05\x04PING\x00\x00"))
	f.Add(bytes.Repeat([]byte("\x01\x00"), maxFrames+1))
	f.Add(append(kernelstest.FrameHead(1, 3), "abc\x00\x00"...))
	f.Add(kernelstest.Command("\x04PING"))
	f.Add([]byte("\x08\x00"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		script := append(shakenAs("XPUB"), stream...)
		whole, end := readAll(bytes.NewReader(script))
		sane(t, whole, len(stream))
		pieces, endInPieces := readAll(iotest.OneByteReader(bytes.NewReader(script)))
		if len(whole) != len(pieces) || errors.Is(end, errProtocol) != errors.Is(endInPieces, errProtocol) {
			t.Fatalf("whole: %d messages, %v; in pieces: %d, %v", len(whole), end, len(pieces), endInPieces)
		}
		for i := range whole {
			if !bytes.Equal(bytes.Join(whole[i], []byte{0}), bytes.Join(pieces[i], []byte{0})) {
				t.Fatalf("message %d differs", i)
			}
		}
	})
}
