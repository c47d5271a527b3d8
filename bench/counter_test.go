package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// send is one message that the scripted server sends in answer to a cell: a type and its content.
type send struct{ kind, content string }

func numbered(n int) send {
	return send{"stream", fmt.Sprintf(`{"name":"stdout","text":"burst#%08d %s"}`, n, strings.Repeat("x", 100))}
}

var (
	idle  = send{"status", `{"execution_state":"idle"}`}
	reply = send{"execute_reply", `{"status":"ok","burst_seconds":0.25}`}
)

// script is a server whose kernel answers each request with the same messages, in the format that the client wants.
func script(t *testing.T, answer []send) *server {
	t.Helper()
	upgrader := websocket.Upgrader{Subprotocols: []string{subprotocolV1}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // the client sees it
		}
		defer ws.Close()
		peer := &socket{conn: ws, v1: ws.Subprotocol() != ""}
		for peer.read() == nil {
			id := requestID(t, peer)
			for _, m := range answer {
				header, parent := fmt.Sprintf(`{"msg_id":"k","msg_type":%q}`, m.kind), fmt.Sprintf(`{"msg_id":%q}`, id)
				frame, kind := encodeV1("iopub", header, parent, "{}", m.content), websocket.BinaryMessage
				if !peer.v1 {
					frame, kind = fmt.Appendf(nil, `{"header":%s,"parent_header":%s,"content":%s}`, header, parent, m.content), websocket.TextMessage
				}
				if ws.WriteMessage(kind, frame) != nil {
					return
				}
			}
		}
	}))
	t.Cleanup(s.Close)
	return &server{name: "script", url: s.URL}
}

func requestID(t *testing.T, s *socket) string {
	frame := s.frame
	at := bytes.Index(frame, []byte(`"msg_id":"`))
	if at < 0 {
		t.Errorf("a request without msg_id: %q", frame)
		return ""
	}
	id, _, _ := strings.Cut(string(frame[at+len(`"msg_id":"`):]), `"`)
	return id
}

func TestBurst(t *testing.T) {
	notice := send{"stream", `{"name":"stderr","text":"2 messages were lost"}`}
	for name, c := range map[string]struct {
		answer []send
		want   outcome
	}{
		"whole":    {[]send{numbered(0), numbered(1), numbered(2), reply, idle}, outcome{Received: 3, Idle: true, Reply: true}},
		"lost":     {[]send{numbered(0), numbered(2), idle, reply}, outcome{Received: 2, Lost: 1, Idle: true, Reply: true}},
		"doubled":  {[]send{numbered(0), numbered(0), numbered(1), reply, idle}, outcome{Received: 3, Lost: 1, Doubled: 1, Idle: true, Reply: true}},
		"disorder": {[]send{numbered(1), numbered(0), numbered(2), reply, idle}, outcome{Received: 3, Disordered: 1, Idle: true, Reply: true}},
		"notice":   {[]send{notice, numbered(2), reply, idle}, outcome{Received: 1, Lost: 2, Notices: 1, Idle: true, Reply: true}},
		"no idle":  {[]send{numbered(0), numbered(1), numbered(2), reply}, outcome{Received: 3, Reply: true}},
	} {
		for _, v1 := range []bool{true, false} {
			t.Run(name+" "+formats[v1], func(t *testing.T) {
				t.Parallel()
				s, err := dial(context.Background(), script(t, c.answer), "id", dialOptions{v1: v1})
				if err != nil {
					t.Fatal(err)
				}
				defer s.close()
				got, overdue, err := s.burst(burst{count: 3, bytes: 100})
				if err != nil {
					t.Fatal(err)
				}
				if overdue != (name == "no idle") {
					t.Errorf("overdue is %v", overdue)
				}
				if got.Kernel != 0.25 {
					t.Errorf("the kernel took %v", got.Kernel)
				}
				got.Kernel, got.Seconds, got.first, got.end = 0, 0, time.Time{}, time.Time{}
				if got != c.want {
					t.Errorf("got  %+v\nwant %+v", got, c.want)
				}
			})
		}
	}
}

func TestBurstRefusesWhatItDidNotAskFor(t *testing.T) {
	for name, m := range map[string]send{"number": numbered(3), "size": {"stream", `{"text":"burst#00000001 x"}`}} {
		t.Run(name, func(t *testing.T) {
			s, err := dial(context.Background(), script(t, []send{m, reply, idle}), "id", dialOptions{v1: true})
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			if _, _, err := s.burst(burst{count: 3, bytes: 100_000}); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestQuickClient(t *testing.T) {
	s, err := dial(context.Background(), script(t, []send{reply, idle}), "id", dialOptions{quick: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if _, _, err := s.cell("", time.Minute); err != nil {
		t.Fatal(err)
	}
}
