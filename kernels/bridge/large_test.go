package bridge_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
)

// heap is what is in use after all garbage has gone.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// One large output is in memory once, however many clients have not read it yet, and arrives whole in both formats.
func TestLargeOutputIsNotCopiedForEachClient(t *testing.T) {
	const size, clients = 8 << 20, 20
	r := startedRig(t)
	for i := range clients {
		r.connect(fmt.Sprint("stalled", i))
	}
	legacy, newer := r.connect("legacy"), r.connect("v1", v1)
	before := heap()
	text := strings.Repeat("x", size)
	r.kernel.Publish("stream", nil, map[string]string{"name": "stdout", "text": text})
	for _, c := range []*conn{legacy, newer} {
		if got := c.receive().Content.Text; got != text {
			t.Errorf("%d bytes arrived, want %d", len(got), size)
		}
	}
	if grown := heap() - before; grown > 4*size {
		t.Errorf("%d bytes of output took %d bytes of memory", size, grown)
	}
}

// Clients that send large requests slowly do not fill the memory together, and none of their requests is lost.
func TestLargeRequestsAreReadOneAfterTheOther(t *testing.T) {
	const size, clients = 1 << 20, 16
	r := startedRig(t)
	reader := r.connect("reader")
	before := heap()
	type upload struct{ begun, finish, done chan struct{} }
	var uploads []upload
	for i := range clients {
		c, u := r.connect(fmt.Sprint(i)), upload{make(chan struct{}), make(chan struct{}), make(chan struct{})}
		uploads = append(uploads, u)
		header := map[string]string{"msg_id": uuid.NewString(), "msg_type": "execute_request", "session": "s"}
		whole, err := json.Marshal(map[string]any{"channel": "shell", "header": header, "parent_header": map[string]any{},
			"metadata": map[string]any{}, "content": map[string]string{"code": fmt.Sprint("upload ", i), "padding": strings.Repeat(" ", size)}})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			defer close(u.done)
			if err := c.ws.SetWriteDeadline(time.Now().Add(patience)); err != nil {
				t.Error(err)
			}
			w, err := c.ws.NextWriter(websocket.TextMessage)
			if err != nil {
				t.Error(err)
				return
			}
			close(u.begun)
			half := len(whole) / 2
			if _, err := w.Write(whole[:half]); err != nil {
				t.Errorf("first half: %v", err)
			}
			<-u.finish
			if _, err := w.Write(whole[half:]); err != nil {
				t.Errorf("second half: %v", err)
			}
			if err := w.Close(); err != nil {
				t.Errorf("end: %v", err)
			}
		}()
	}
	for _, u := range uploads {
		<-u.begun
	}
	ours := clients * size // what the test itself keeps
	if grown := heap() - before - ours; grown > clients*size/2 {
		t.Errorf("%d half requests of %d bytes took %d bytes of memory", clients, size, grown)
	}
	for _, u := range uploads {
		close(u.finish)
	}
	for range clients {
		for !strings.HasPrefix(reader.receive().Content.Text, "upload ") {
			continue
		}
	}
	for _, u := range uploads {
		<-u.done
	}
}
