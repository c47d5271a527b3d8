package bridge

import (
	"io"
	"net"
	"testing"
	"time"
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
