package bridge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/gorilla/websocket"
)

// BenchmarkReplay brings a new session to the end of a journal of 10 000 outputs of 100 bytes: over a WebSocket that
// resumes by number, with and without places, and in pages.
func BenchmarkReplay(b *testing.B) {
	const messages = 10_000
	k, ws := bridgedSocket(b, nil)
	go func() {
		for i := range messages {
			k.Publish("stream", nil, map[string]string{"name": "stdout", "text": fmt.Sprintf("%0100d", i)})
		}
	}()
	for range messages {
		if _, _, err := ws.ReadMessage(); err != nil {
			b.Fatal(err)
		}
	}
	dial := func(string, string) (net.Conn, error) { return net.Dial("unix", filepath.Join(k.Dir(), "b")) }
	for name, query := range map[string]string{"plain": "", "numbered": "&seq=1"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				d := websocket.Dialer{NetDial: dial}
				ws, _, err := d.Dial(fmt.Sprintf("ws://bridge/api/kernels/a-b-c-d-e/channels?session_id=%s%d&since=1%s", name, n%10, query), nil)
				for range messages {
					if err == nil {
						_, _, err = ws.ReadMessage()
					}
				}
				if err != nil {
					b.Fatal(err)
				}
				ws.Close()
			}
		})
	}
	b.Run("pages", func(b *testing.B) {
		b.ReportAllocs()
		client := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return dial("", "") }}}
		defer client.CloseIdleConnections()
		for b.Loop() {
			p := page{Next: 1, More: true}
			for got := 0; p.More; got += len(p.Messages) {
				answer, err := client.Get(fmt.Sprint("http://bridge/api/kernels/a-b-c-d-e/journal?since=", p.Next))
				if err != nil {
					b.Fatal(err)
				}
				p = page{}
				err = json.NewDecoder(answer.Body).Decode(&p)
				answer.Body.Close()
				if err != nil || !p.More && got+len(p.Messages) != messages {
					b.Fatalf("%d messages, %v", got+len(p.Messages), err)
				}
			}
		}
	})
}
