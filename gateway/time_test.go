package gateway_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cellblock.io/cellblock/gateway"
)

// took measures how long do takes on the clock of the test.
func took(do func()) time.Duration {
	began := time.Now()
	do()
	return time.Since(began)
}

// ended waits for the other side to close.
func ended(c net.Conn) error {
	_, err := io.Copy(io.Discard, c)
	return err
}

func TestSlowClientsAreLeft(t *testing.T) {
	// Each sends its text a byte per second and then nothing.
	for name, row := range map[string]struct {
		text, answer string
		within       time.Duration
	}{
		"silence":            {"", "", 5 * time.Second},
		"slow headers":       {"GET /api HTTP/1.1\r\nHost: x\r\n", "", 6 * time.Second},
		"slow body":          {"POST /api/kernels HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nAuthorization: token alice-token\r\n\r\n", "408", 10 * time.Second},
		"body without token": {"POST /api/kernels HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", "401", 10 * time.Second},
		"body nobody wants":  {"GET /api/kernels HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nAuthorization: token alice-token\r\n\r\n", "200", 10 * time.Second},
		"login's body":       {"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", "408", 10 * time.Second},
		"idle":               {"GET /api HTTP/1.1\r\nHost: x\r\n\r\n", "200", 2 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := serveInMemory(t, nil)
			c, err := l.dial()
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			defer wg.Wait()
			defer c.Close()
			wg.Go(func() {
				if name != "slow headers" {
					_, _ = io.WriteString(c, row.text)
					return
				}
				for _, b := range []byte(row.text) {
					if _, err := c.Write([]byte{b}); err != nil {
						return
					}
					time.Sleep(time.Second) // on the clock of the test
				}
			})
			var answer strings.Builder
			d := took(func() { _, _ = io.Copy(&answer, c) })
			status, _, _ := strings.Cut(strings.TrimPrefix(answer.String(), "HTTP/1.1 "), " ")
			if d > row.within+time.Second || row.answer != "" && status != row.answer || row.answer == "" && status == "200" {
				t.Errorf("%s: closed after %v with %.40q", name, d, answer.String())
			}
		})
	}
}

func TestHeadIsBounded(t *testing.T) {
	l := serve(t, nil)
	for name, head := range map[string]string{
		"request line": "GET /" + strings.Repeat("a", 30<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"one header":   "GET /api HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 30<<10) + "\r\n\r\n",
		"many headers": "GET /api HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: y\r\n", 10<<10) + "\r\n",
	} {
		c, err := l.dial()
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.WriteString(c, head) }()
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != 431 {
			t.Errorf("%s: %v %v", name, resp, err)
		}
		_ = c.Close()
	}
}

func TestBridgeIsNotWaitedForForEver(t *testing.T) {
	never := func(ctx context.Context, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	for name, row := range map[string]struct {
		dial   dialFunc // or
		bridge func(visit)
		status int
	}{
		"never listens":  {noDial, nil, 503},
		"never connects": {never, nil, 503},
		"ends at once":   {nil, func(visit) {}, 503},
		"never answers":  {nil, func(v visit) { _ = ended(v) }, 503},
		"answers slowly": {nil, slowly, 502},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := serveInMemory(t, func(c *gateway.Config) {
				if c.Dial = row.dial; c.Dial == nil {
					c.Dial = inMemory(t, row.bridge)
				}
			})
			var c *client
			d := took(func() { c = l.open(t, nil, "") })
			if c.resp.StatusCode != row.status || d > 41*time.Second {
				t.Errorf("%s: %s after %v", name, c.resp.Status, d)
			}
		})
	}
}

// slowly sends the answer a byte per second.
func slowly(v visit) {
	for _, b := range []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n") {
		if _, err := v.Write([]byte{b}); err != nil {
			return
		}
		time.Sleep(time.Second) // on the clock of the test
	}
}

func TestClientThatLeavesWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := serveInMemory(t, nil)
		c, err := l.dial()
		if err != nil {
			t.Fatal(err)
		}
		head := "GET " + channelsPath + "&token=alice-token HTTP/1.1\r\nHost: x\r\n"
		for i := 0; i+1 < len(upgrade); i += 2 {
			head += upgrade[i] + ": " + upgrade[i+1] + "\r\n"
		}
		if _, err := io.WriteString(c, head+"\r\n"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		_ = c.Close()
		time.Sleep(2 * time.Second) // on the clock of the test
		before := l.domain.count("Get")
		time.Sleep(10 * time.Second)
		if after := l.domain.count("Get"); after != before {
			t.Errorf("still looking for its bridge: %d, %d", before, after)
		}
	})
}

// Neither a client nor a bridge that stops reading keeps a pipe for ever.
func TestStalledPipesEnd(t *testing.T) {
	flood := func(w io.Writer) error {
		for {
			time.Sleep(time.Millisecond) // lets the clock of the test go on
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return err
			}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		over := make(chan error, 1)
		l := serveInMemory(t, func(c *gateway.Config) {
			c.Dial = inMemory(t, func(v visit) { v.accept(); over <- flood(v) })
		})
		l.open(t, nil, "") // and reads nothing
		if d := took(func() { <-over }); d > 91*time.Second {
			t.Errorf("bridge of a client that does not read is held for %v", d)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		l := serveInMemory(t, func(c *gateway.Config) {
			c.Dial = inMemory(t, func(v visit) { v.accept(); time.Sleep(time.Hour) }) // on the clock of the test
		})
		c := l.open(t, nil, "")
		_ = c.SetDeadline(time.Time{})
		if d := took(func() { _ = flood(c) }); d > 97*time.Second {
			t.Errorf("client of a bridge that does not read is held for %v", d)
		}
	})
}

func TestStubbornBridgesDoNotHoldUpADrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := serveInMemory(t, func(c *gateway.Config) {
			c.Dial = func(context.Context, string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				go met(theirs, func(v visit) { v.accept(); _ = ended(v) })
				return deafHalf{ours}, nil
			}
		})
		l.open(t, nil, "")
		l.stop()
		if d := took(func() { <-l.ended }); d > 11*time.Second {
			t.Errorf("drained after %v", d)
		}
	})
}

// deafHalf is a connection whose other end does not notice that a half was closed.
type deafHalf struct{ net.Conn }

func (deafHalf) CloseWrite() error { return nil }

func TestSlowRequestsDoNotHoldUpADrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := serveInMemory(t, nil)
		c, err := l.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "POST /api/kernels HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nAuthorization: token alice-token\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		l.stop()
		go func() { _ = ended(c) }()
		if d := took(func() { <-l.ended }); d > 11*time.Second {
			t.Errorf("drained after %v", d)
		}
	})
}

// A credential that is no longer valid takes its open WebSockets with it, within a minute; one that cannot be checked
// does not.
func TestRevokedCredentialsLoseTheirWebSockets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := serveInMemory(t, func(c *gateway.Config) { c.Dial = inMemory(t, echo) })
		tokens := l.open(t, nil, "")
		cookies := l.openAt(t, channelsPath, header{"Cookie", cookie, "Origin", "http://example.com"}, "")
		other := l.openAt(t, channelsPath, header{"Authorization", "token bob-token"}, "")
		if tokens.resp.StatusCode != 101 || cookies.resp.StatusCode != 101 || other.resp.StatusCode != 404 {
			t.Fatalf("%s, %s, %s", tokens.resp.Status, cookies.resp.Status, other.resp.Status)
		}
		for _, c := range []*client{tokens, cookies} {
			_ = c.SetDeadline(time.Time{})
		}
		l.people.setDown(true)
		time.Sleep(5 * time.Minute) // on the clock of the test
		go func() { _, _ = io.WriteString(tokens, "still there") }()
		tokens.expect(t, "still there")

		l.people.setDown(false)
		l.people.revoke("alice-token")
		if d := took(func() { _ = ended(tokens) }); d > time.Minute {
			t.Errorf("open for %v after the token's end", d)
		}
		go func() { _, _ = io.WriteString(cookies, "still there") }()
		cookies.expect(t, "still there")
		l.people.revoke("alice-session")
		if d := took(func() { _ = ended(cookies) }); d > time.Minute {
			t.Errorf("open for %v after logout", d)
		}
	})
}

func TestRunTellsWhyItEnded(t *testing.T) {
	ln := newMemoryListener()
	_ = ln.Close()
	if err := newRig(t, nil).Run(context.Background(), ln); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Run: %v", err)
	}
}
