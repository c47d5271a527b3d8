package bridge

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// The deadline of a pong that comes between collected writes is not that of the collected writes.
func TestCollectedWritesHaveTheirOwnDeadline(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	defer ours.Close()
	b := &batchConn{Conn: ours}
	b.cork()
	if _, err := b.Write([]byte("collected ")); err != nil {
		t.Fatal(err)
	}
	if err := b.SetWriteDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Write([]byte("pong")); err != nil {
		t.Fatal(err)
	}
	read := make(chan string, 1)
	go func() {
		p := make([]byte, len("collected pong"))
		_, err := io.ReadFull(theirs, p)
		if err != nil {
			t.Error(err)
		}
		read <- string(p)
	}()
	if err := b.uncork(); err != nil {
		t.Fatal(err)
	}
	if got := <-read; got != "collected pong" {
		t.Errorf("read %q", got)
	}
	if written, given := b.progress(); written != 14 || given != 14 {
		t.Errorf("%d written of %d", written, given)
	}
	if _, err := b.Write([]byte("late")); err == nil {
		t.Error("an uncollected write outlived its deadline")
	}
}

// What follows a frame that was cut off would be taken for the rest of it: nothing does.
func TestNothingFollowsACutFrame(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	defer ours.Close()
	b := &batchConn{Conn: ours}
	taken := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(theirs, make([]byte, 10))
		taken <- err
	}()
	if err := b.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Write(make([]byte, 100)); n != 10 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if err := <-taken; err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, theirs) //nolint:errcheck // ends with the pipe
	if err := b.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Write([]byte("close")); n != 0 || err == nil {
		t.Errorf("%d bytes after a cut frame, %v", n, err)
	}
	if err := b.writeMessage(websocket.TextMessage, []byte("message")); err == nil {
		t.Error("a message after a cut frame")
	}
}
