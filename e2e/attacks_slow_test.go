//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"cellblock.io/cellblock/kernels/kernelstest"
)

const (
	revokedTime = 60 * time.Second // until a WebSocket without a credential has ended
	silentConns = 5000
	slowConns   = 20
	herdSize    = 2000
	herdAtOnce  = 100
	herdTime    = 60 * time.Second
	floodSize   = 60_000 // messages
)

// revoke opens WebSockets with credentials of all kinds and takes these away. The function that it returns waits for
// their end; the time until then may be used.
func (s *siege) revoke(t *testing.T) func(*testing.T) {
	t.Helper()
	g := s.g
	dora, erin := person{g.url, g.user(t, "dora")}, person{g.url, g.user(t, "erin")}
	kernel, removed := dora.lastingKernel(t), erin.lastingKernel(t)
	create := func(flags ...string) (p person, id string) {
		var token struct {
			ID  string `json:"id"`
			Raw string `json:"token"`
		}
		out := g.cli(t, append([]string{"token", "create", "--json"}, flags...)...)
		if err := json.Unmarshal([]byte(out), &token); err != nil {
			t.Fatal(err)
		}
		return person{g.url, token.Raw}, token.ID
	}
	taken, id := create("--user", "dora")
	brief, _ := create("--user", "dora", "--expires", "15s")
	session, _ := logIn(t, &contract{g: g, alice: dora}, "token")
	_, xsrf := logIn(t, &contract{g: g, alice: dora}, "token")

	ended := map[string]<-chan string{
		"a token that is revoked": waitEnd(taken.peer(t, kernel, randomHex(t, 16)).conn),
		"a token that expires":    waitEnd(brief.peer(t, kernel, randomHex(t, 16)).conn),
		"a user who is removed":   waitEnd(erin.peer(t, removed, randomHex(t, 16)).conn),
	}
	for i := range 3 {
		ended[fmt.Sprint("tab ", i, " of a session that ends")] = waitEnd(s.tab(t, kernel, session))
	}
	stays := dora.connect(t, kernel, randomHex(t, 16))

	g.cli(t, "token", "revoke", id)
	g.cli(t, "user", "remove", "erin")
	logout, _ := ask(t, "POST", g.url+"/logout", "_xsrf="+xsrf, "Cookie", session+"; _xsrf="+xsrf, "Content-Type", "application/x-www-form-urlencoded")
	if logout.status != http.StatusFound {
		t.Fatalf("logout: %d %s", logout.status, logout.body)
	}
	late := time.After(15*time.Second + revokedTime)
	return func(t *testing.T) {
		for name, end := range ended {
			select {
			case how := <-end:
				t.Logf("%s: %s", name, how)
			case <-late:
				t.Fatalf("%s: still open", name)
			}
		}
		if got := stays.execute(t, "print('stays')"); got != "stays\n" {
			t.Errorf("who did nothing wrong reads %q", got)
		}
	}
}

// waitEnd reads a connection to its end in the background, and says then how it ended.
func waitEnd(conn *websocket.Conn) <-chan string {
	ended, began := make(chan string, 1), time.Now()
	go func() {
		for {
			if _, _, err := conn.ReadMessage(); err != nil {
				ended <- fmt.Sprintf("%v after %v", err, time.Since(began).Round(time.Second))
				return
			}
		}
	}()
	return ended
}

// tab is a page of alice's browser that is open on a kernel.
func (s *siege) tab(t *testing.T, kernel, session string) *websocket.Conn {
	t.Helper()
	address := strings.Replace(s.g.url, "http", "ws", 1) + "/api/kernels/" + kernel + "/channels"
	conn, _, err := websocket.DefaultDialer.Dial(address, http.Header{"Cookie": {session}, "Origin": {s.g.url}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// hold begins what lasts: connections in the midst of a frame that they send byte by byte (WS-12), and some that answer
// no ping (WS-14). They are closed after 90 s, which unit tests measure; here nobody else may notice them.
func (s *siege) hold(t *testing.T) (release func()) {
	t.Helper()
	stop, all := make(chan struct{}), sync.WaitGroup{}
	for i := range slowConns {
		c := s.open(t)
		_ = c.SetDeadline(time.Time{})
		if i%2 == 0 { // this one reads nothing, and so answers nothing
			continue
		}
		all.Go(func() {
			drip(c, append(kernelstest.Declaring(1<<20), make([]byte, 100)...), time.Second, stop)
		})
		t.Cleanup(func() { c.Close() })
	}
	return func() { close(stop); all.Wait() }
}

// neverReads prints much to a client that reads nothing. The kernel and its other client lose nothing by it.
func (s *siege) neverReads(t *testing.T) {
	deaf := s.open(t)
	c := s.mallory.connect(t, s.own, randomHex(t, 16))
	const lines = 20_000
	text := c.execute(t, fmt.Sprintf("for i in range(%d): print('x' * 1000)", lines))
	if got := strings.Count(text, "\n"); got != lines {
		t.Errorf("beside a client that never reads %d lines of %d came", got, lines)
	}
	s.work.goesOn(t)
	deaf.Close()
}

// flood sends requests as fast as they are taken, until the bridge has enough.
func (s *siege) flood(t *testing.T) {
	c := s.open(t)
	sent := make(chan int, 1)
	go func() {
		n := 0
		defer func() { sent <- n }()
		for ; n < floodSize; n++ {
			if _, err := c.Write(kernelstest.Masked(0x81, fmt.Sprintf(`{"channel":"shell","header":{"msg_id":"f%d","msg_type":"comm_open"},"content":{}}`, n))); err != nil {
				return
			}
		}
	}()
	if code := c.code(); code != websocket.ClosePolicyViolation {
		t.Errorf("closed with %d", code)
	}
	c.Close()
	t.Logf("after %d messages", <-sent)
	s.work.goesOn(t)
	s.mallory.connect(t, s.own, randomHex(t, 16)).execute(t, "1") // her own kernel serves her again
}

// slowHeaders sends the head of a request byte by byte.
func (s *siege) slowHeaders(t *testing.T) {
	t.Parallel()
	c := s.plain(t)
	began := time.Now()
	stop := make(chan struct{})
	defer close(stop)
	go drip(c, []byte("GET /api HTTP/1.1\r\nHost: x\r\n"+strings.Repeat("X: y\r\n", 20)), 200*time.Millisecond, stop)
	if _, err := io.Copy(io.Discard, c.in); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("not closed after %v: %v", time.Since(began), err)
	}
	t.Logf("closed after %v", time.Since(began).Round(time.Second))
	s.work.goesOn(t)
}

// silent opens connections that say nothing. Others come in all the same, and these go.
func (s *siege) silent(t *testing.T) {
	t.Parallel()
	conns := make([]net.Conn, 0, silentConns)
	for range silentConns {
		c, err := net.DialTimeout("tcp", strings.TrimPrefix(s.g.url, "http://"), rawTime)
		if err != nil {
			t.Fatalf("after %d: %v", len(conns), err)
		}
		conns = append(conns, c)
	}
	began := time.Now()
	s.strike(t, strikeRow{text: s.request("GET", "/api/kernels", "Authorization: token "+s.bob.token), want: []int{http.StatusOK}})
	t.Logf("beside %d silent connections a newcomer was answered within %v", silentConns, time.Since(began))
	s.work.goesOn(t)
	deadline := time.Now().Add(rawTime)
	for i, c := range conns {
		if err := c.SetReadDeadline(deadline); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
			t.Fatalf("connection %d is still open after %v: %v", i, time.Since(began), err)
		}
		c.Close()
	}
}

// herd kills the gateway and has many come back at once. All are let in or told to wait, and who works goes on.
func (s *siege) herd(t *testing.T) {
	s.g.kill(t)
	s.g.start(t)
	var in, later, other atomic.Int64
	gate := make(chan struct{}, herdAtOnce)
	var all sync.WaitGroup
	began := time.Now()
	dialer := websocket.Dialer{HandshakeTimeout: herdTime}
	address := strings.Replace(s.g.url, "http", "ws", 1) + "/api/kernels/" + s.own + "/channels?session_id="
	for i := range herdSize {
		gate <- struct{}{}
		all.Go(func() {
			defer func() { <-gate }()
			conn, response, err := dialer.Dial(address+fmt.Sprint("herd", i%500), http.Header{"Authorization": {"token " + s.mallory.token}})
			switch {
			case err == nil:
				in.Add(1)
				conn.Close()
			case response != nil && response.StatusCode == http.StatusServiceUnavailable && response.Header.Get("Retry-After") != "":
				later.Add(1)
			default:
				other.Add(1)
				t.Log(err)
			}
		})
	}
	p := s.alice.connect(t, s.hers, randomHex(t, 16))
	if got := p.execute(t, "print('in')"); got != "in\n" {
		t.Errorf("in the midst of the herd her kernel says %q", got)
	}
	t.Logf("her first cell in the herd took %v", time.Since(began).Round(time.Millisecond))
	all.Wait()
	t.Logf("%d were let in, %d told to come later, in %v", in.Load(), later.Load(), time.Since(began).Round(time.Millisecond))
	if other.Load() > 0 || in.Load() == 0 {
		t.Errorf("%d got neither an upgrade nor a time to come again", other.Load())
	}
}

// drip writes a byte at a time until stop is closed or nobody takes any more.
func drip(to io.Writer, text []byte, every time.Duration, stop <-chan struct{}) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for _, b := range text {
		if _, err := to.Write([]byte{b}); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-stop:
			return
		}
	}
}
