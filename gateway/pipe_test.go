package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"

	"cellblock.io/cellblock/gateway"
	"cellblock.io/cellblock/kernels"
)

func TestBytesPassBothWays(t *testing.T) {
	l := serve(t, func(c *gateway.Config) { c.Dial = onSocket(t, echo) })
	c := l.open(t, nil, "sent ahead of the answer")
	if c.resp.StatusCode != 101 {
		t.Fatalf("status %s", c.resp.Status)
	}
	c.expect(t, "sent ahead of the answer")
	data := make([]byte, 5<<20)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for rest := data; len(rest) > 0; {
			n := min(len(rest), 1+rand.IntN(200<<10))
			if _, err := c.Write(rest[:n]); err != nil {
				t.Error(err)
				return
			}
			rest = rest[n:]
		}
	})
	back := make([]byte, len(data))
	if _, err := io.ReadFull(c.in, back); err != nil || !bytes.Equal(back, data) {
		t.Errorf("echo differs (%v)", err)
	}
	wg.Wait()
}

func TestBytesBehindTheBridgesAnswerArrive(t *testing.T) {
	l := serve(t, func(c *gateway.Config) {
		c.Dial = onSocket(t, func(v visit) { v.accept("\r\nfirst words"); _, _ = io.Copy(io.Discard, v.in) })
	})
	c := l.open(t, nil, "")
	c.expect(t, "first words\r\n\r\n")
}

// The bridge sees a request made anew: nothing of the client's but what it needs.
func TestBridgeSeesNoneOfTheClientsSecrets(t *testing.T) {
	seen := make(chan *http.Request, 1)
	l := serve(t, func(c *gateway.Config) {
		c.Dial = onSocket(t, func(v visit) { seen <- v.req; v.accept("Sec-WebSocket-Protocol: v1.kernel.websocket.jupyter.org") })
	})
	protocols := []string{"v1.token.websocket.jupyter.org", "v1.token.websocket.jupyter.org.alice-token", "v1.kernel.websocket.jupyter.org"}
	for i := range 50 {
		protocols = append(protocols, fmt.Sprint("other", i))
	}
	c := l.openAt(t, channelsPath+"&token=alice-token&other=x", header{
		"Cookie", cookie, "X-Forwarded-For", "1.2.3.4", "X-Evil", "1", "Origin", "http://evil.example", "Accept-Encoding", "gzip",
		"Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits",
		"Sec-WebSocket-Protocol", strings.Join(protocols[:2], ", "), "Sec-WebSocket-Protocol", strings.Join(protocols[2:], ","),
		"User-Agent", "Tornado/6.5.2 \xc3\xa9" + strings.Repeat("x", 300),
	}, "")
	if c.resp.StatusCode != 101 {
		t.Fatalf("status %s", c.resp.Status)
	}
	req := <-seen
	if req.RequestURI != channelsPath || req.Host != "bridge" || req.Method != "GET" {
		t.Errorf("request %s %s of %s", req.Method, req.RequestURI, req.Host)
	}
	if name := req.Header.Get(kernels.ConnectionHeader); len(name) != 32 {
		t.Errorf("connection %q", name)
	}
	req.Header.Del(kernels.ConnectionHeader)
	want := http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="}, "Sec-Websocket-Protocol": {"v1.kernel.websocket.jupyter.org"},
		"User-Agent": {("Tornado/6.5.2 " + strings.Repeat("x", 300))[:256]},
	}
	if fmt.Sprint(req.Header) != fmt.Sprint(want) {
		t.Errorf("header %v, want %v", req.Header, want)
	}
	var names []string
	for name := range c.resp.Header {
		names = append(names, name)
	}
	sort.Strings(names)
	if got := fmt.Sprint(names); got != "[Connection Sec-Websocket-Accept Sec-Websocket-Protocol Upgrade]" ||
		c.resp.Header.Get("Sec-Websocket-Protocol") != "v1.kernel.websocket.jupyter.org" {
		t.Errorf("answer %v", c.resp.Header)
	}
}

func TestSubprotocolIsOnlyEverTheOneOffered(t *testing.T) {
	const v1 = "v1.kernel.websocket.jupyter.org"
	for _, row := range []struct {
		offered, chosen, want string
		status                int
	}{
		{"", "", "", 101},
		{v1, v1, v1, 101},
		{v1, "", "", 101},
		{"x, " + v1, v1, v1, 101},
		{"", v1, "", 502},
		{"x", "x", "", 502},
		{strings.ToUpper(v1), v1, "", 502},
		{v1, "other", "", 502},
	} {
		l := serve(t, func(c *gateway.Config) {
			c.Dial = onSocket(t, func(v visit) {
				if row.chosen == "" {
					v.accept()
				} else {
					v.accept("Sec-WebSocket-Protocol: " + row.chosen)
				}
				_, _ = io.Copy(io.Discard, v.in)
			})
		})
		var h header
		if row.offered != "" {
			h = header{"Sec-WebSocket-Protocol", row.offered}
		}
		c := l.open(t, h, "")
		_, has := c.resp.Header["Sec-Websocket-Protocol"]
		if c.resp.StatusCode != row.status || c.resp.Header.Get("Sec-Websocket-Protocol") != row.want || has != (row.want != "") {
			t.Errorf("offered %q, chosen %q: %d %v", row.offered, row.chosen, c.resp.StatusCode, c.resp.Header)
		}
	}
}

func TestBridgeThatDoesNotUpgrade(t *testing.T) {
	answer := func(text string) func(visit) {
		return func(v visit) { _, _ = io.WriteString(v, text) }
	}
	for name, row := range map[string]struct {
		do     func(visit)
		status int
		reason string
	}{
		"gone":          {answer("HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n<htm>"), 404, "not_found"},
		"busy":          {answer("HTTP/1.1 503 Service Unavailable\r\n\r\n"), 503, "unavailable"},
		"fault":         {answer("HTTP/1.1 500 No\r\n\r\n"), 502, "bridge"},
		"redirect":      {answer("HTTP/1.1 302 Found\r\nLocation: http://evil.example\r\n\r\n"), 502, "bridge"},
		"garbage":       {answer("\x00\x01\x02 garbage\r\n\r\n"), 502, "bridge"},
		"endless head":  {answer("HTTP/1.1 101 Switching Protocols\r\nX: " + strings.Repeat("x", 64<<10)), 502, "bridge"},
		"endless lines": {answer("HTTP/1.1 101 Switching Protocols\r\n" + strings.Repeat("X: y\r\n", 4<<10)), 502, "bridge"},
		"half a head":   {answer("HTTP/1.1 101 Switching"), 502, "bridge"},
		"no accept":     {answer("HTTP/1.1 101 Switching Protocols\r\n\r\n"), 502, "bridge"},
		"extension":     {func(v visit) { v.accept("Sec-WebSocket-Extensions: permessage-deflate") }, 502, "bridge"},
	} {
		l := serve(t, func(c *gateway.Config) { c.Dial = onSocket(t, row.do) })
		c := l.open(t, nil, "")
		body, _ := io.ReadAll(c.resp.Body)
		if c.resp.StatusCode != row.status || !strings.Contains(string(body), `"reason":"`+row.reason+`"`) {
			t.Errorf("%s: %s %s", name, c.resp.Status, body)
		}
	}
}

func TestStartingKernelIsWaitedFor(t *testing.T) {
	var mu sync.Mutex
	tries := 0
	inner := onSocket(t, func(v visit) {
		mu.Lock()
		early := tries < 6
		mu.Unlock()
		if !early { // the first ones find a bridge that ends at once
			echo(v)
		}
	})
	l := serve(t, func(c *gateway.Config) {
		c.Dial = func(ctx context.Context, handle string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			if tries++; tries < 4 {
				return nil, errors.New("no such socket")
			}
			return inner(ctx, handle)
		}
	})
	c := l.open(t, nil, "hello")
	if c.resp.StatusCode != 101 {
		t.Fatalf("status %s", c.resp.Status)
	}
	c.expect(t, "hello")
}

func TestKernelThatGoesWhileStarting(t *testing.T) {
	var l *live
	l = serve(t, func(c *gateway.Config) {
		c.Dial = func(context.Context, string) (net.Conn, error) {
			l.domain.failing("Get", kernels.ErrNotFound)
			return nil, errors.New("no such socket")
		}
	})
	c := l.open(t, nil, "")
	body, _ := io.ReadAll(c.resp.Body)
	if c.resp.StatusCode != 404 || !strings.Contains(string(body), "Kernel does not exist: "+aliceKernel) {
		t.Errorf("%s %s", c.resp.Status, body)
	}
}

func TestEitherEndEndsTheOther(t *testing.T) {
	ended := make(chan error, 1)
	l := serve(t, func(c *gateway.Config) {
		c.Dial = onSocket(t, func(v visit) {
			v.accept()
			_, err := v.in.ReadByte()
			ended <- err
		})
	})
	c := l.open(t, nil, "")
	_ = c.Close()
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("the bridge reads %v after the client's end", err)
	}
	c = l.open(t, nil, "x") // this bridge ends after one byte
	<-ended
	if rest, err := io.ReadAll(c.in); err != nil || len(rest) > 0 {
		t.Errorf("the client reads %q, %v after the bridge's end", rest, err)
	}
}

// Closing a connection with unread bytes resets it, and a reset can overtake the last bytes: the close frame.
func TestLastBytesReachAClientThatKeepsSending(t *testing.T) {
	last := strings.Repeat("last words ", 20000)
	l := serve(t, func(c *gateway.Config) {
		c.Dial = onSocket(t, func(v visit) { v.accept(); _, _ = io.WriteString(v, last) }) // reads nothing
	})
	for range 20 {
		c := l.open(t, nil, strings.Repeat("x", 64<<10))
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				if _, err := c.Write(make([]byte, 16<<10)); err != nil {
					return
				}
			}
		})
		got, err := io.ReadAll(c.in)
		if err != nil || string(got) != last {
			t.Errorf("read %d of %d bytes: %v", len(got), len(last), err)
		}
		_ = c.Close()
		wg.Wait()
	}
}

func TestCapsOnWebSockets(t *testing.T) {
	const second = "aaaaaaaa-0000-4000-8000-000000000002"
	l := serve(t, func(c *gateway.Config) {
		c.MaxWebSockets, c.MaxWebSocketsPerOwner = 3, 2
		dial := onSocket(t, echo)
		c.Dial = func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx, "handle-"+aliceKernel) }
	})
	bobs := func() *client {
		return l.openAt(t, "/api/kernels/"+bobKernel+"/channels?token=bob-token", nil, "")
	}
	one, two := l.open(t, nil, ""), l.open(t, nil, "")
	three := l.open(t, nil, "")
	body, _ := io.ReadAll(three.resp.Body)
	if one.resp.StatusCode != 101 || two.resp.StatusCode != 101 || three.resp.StatusCode != 503 ||
		!strings.Contains(string(body), `"reason":"too_many_websockets"`) || three.resp.Header.Get("Retry-After") == "" {
		t.Errorf("%s, %s, %s %s", one.resp.Status, two.resp.Status, three.resp.Status, body)
	}
	if a, b := bobs(), bobs(); a.resp.StatusCode != 101 || b.resp.StatusCode != 503 {
		t.Errorf("bob: %s, %s", a.resp.Status, b.resp.Status)
	}
	if w := l.do("GET", "/api/kernels/"+second+"/channels", "", append(upgrade, alice...)); w.Code != 404 {
		t.Errorf("an unknown kernel when full: %d", w.Code)
	}
	_ = one.Close()
	until(t, "a place is free again", func() bool {
		c := l.open(t, nil, "")
		defer c.Close()
		return c.resp.StatusCode == 101
	})
}

// With real frames on both sides: a draining gateway sends clients away with 1012, and Run ends.
func TestDrainSendsClientsAwayToComeBack(t *testing.T) {
	var mu sync.Mutex
	open := map[string]visit{}
	l := serve(t, func(c *gateway.Config) {
		c.Dial = onSocketWithLeaves(t, func(v visit) {
			if connection, ok := strings.CutPrefix(v.req.URL.Path, kernels.LeavePath); ok {
				mu.Lock()
				leaving, ok := open[connection]
				mu.Unlock()
				if !ok || v.req.Method != "POST" {
					t.Errorf("%s %s", v.req.Method, v.req.URL)
				}
				frame := websocket.FormatCloseMessage(websocket.CloseServiceRestart, "again")
				_, _ = leaving.Write(append([]byte{0x88, byte(len(frame))}, frame...))
				_, _ = io.WriteString(v, "HTTP/1.1 204 No Content\r\n\r\n")
				return
			}
			mu.Lock()
			open[v.req.Header.Get(kernels.ConnectionHeader)] = v
			mu.Unlock()
			v.accept()
			_, _ = io.Copy(io.Discard, v.in)
		})
	})
	var conns []*websocket.Conn
	for range 5 {
		u := url.URL{Scheme: "ws", Host: l.ln.Addr().String(), Path: "/api/kernels/" + aliceKernel + "/channels"}
		ws, _, err := websocket.DefaultDialer.Dial(u.String(), http.Header{"Authorization": {"token alice-token"}})
		if err != nil {
			t.Fatal(err)
		}
		defer ws.Close()
		conns = append(conns, ws)
	}
	waiting := l.waitingUpgrade(t)
	l.stop()
	for _, ws := range conns {
		var closed *websocket.CloseError
		if _, _, err := ws.ReadMessage(); !errors.As(err, &closed) || closed.Code != websocket.CloseServiceRestart {
			t.Errorf("client sees %v", err)
		}
	}
	if code := <-waiting; code != 503 {
		t.Errorf("an upgrade in progress gets %d", code)
	}
	if err := <-l.ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if w := l.do("GET", "/healthz", "", nil); w.Code != 503 || !strings.Contains(w.Body.String(), "draining") {
		t.Errorf("health: %d %s", w.Code, w.Body)
	}
	if _, err := l.dial(); err == nil {
		t.Error("still listening")
	}
}

// waitingUpgrade begins an upgrade for a kernel whose bridge never listens, and returns its status when it is over.
func (l *live) waitingUpgrade(t *testing.T) <-chan int {
	l.domain.mu.Lock()
	k := l.domain.put("alice", nobodys)
	l.domain.mu.Unlock()
	before := l.domain.count("Get")
	code := make(chan int, 1)
	go func() {
		code <- l.openAt(t, "/api/kernels/"+k.ID+"/channels", alice, "").resp.StatusCode
	}()
	until(t, "the bridge is waited for", func() bool { return l.domain.count("Get") > before+1 })
	return code
}
