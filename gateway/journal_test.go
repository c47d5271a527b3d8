package gateway_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cellblock.io/cellblock/gateway"
)

const journalPath = "/api/kernels/" + aliceKernel + "/journal"

// answering is a bridge that says text, whatever it is asked.
func answering(text string) func(visit) {
	return func(v visit) { _, _ = io.WriteString(v, text) }
}

// withLength is a whole answer.
func withLength(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nServer: secret/1\r\nSet-Cookie: a=b\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// askAlice sends a request of alice's and returns the answer, whose body is the caller's.
func (l *live) askAlice(t *testing.T, path string) *http.Response {
	t.Helper()
	c, err := l.dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(5 * time.Minute)) // a hang fails the test
	if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: x\r\nAuthorization: token alice-token\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestJournalPassesThrough(t *testing.T) {
	asked := make(chan *http.Request, 1)
	l := serve(t, func(c *gateway.Config) {
		c.Dial = onSocket(t, func(v visit) { asked <- v.req; answering(withLength(`{"messages":[]}`))(v) })
	})
	for query, want := range map[string]string{
		"":        "",
		"?since=": "400", "?since=-1": "400", "?since=0x1": "400", "?since=18446744073709551616": "400", "?since=1%00": "400",
		"?since=18446744073709551615": "since=18446744073709551615",
		"?since=007&limit=1000":       "limit=1000&since=7",
		"?limit=1&x=y&token=t":        "limit=1",
		"?limit=0":                    "400", "?limit=1001": "400", "?limit=": "400",
		"?since=1&journal=0af": "journal=0af&since=1",
		"?journal=":            "", "?journal=a%26b": "400", "?journal=" + strings.Repeat("a", 65): "400",
	} {
		answer := l.askAlice(t, journalPath+query)
		body, err := io.ReadAll(answer.Body)
		if want == "400" {
			if answer.StatusCode != 400 || !strings.Contains(string(body), "must be") {
				t.Errorf("%s: %s %s", query, answer.Status, body)
			}
			continue
		}
		req := <-asked
		if err != nil || answer.StatusCode != 200 || string(body) != `{"messages":[]}` || answer.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %s %v %s", query, answer.Status, answer.Header, body)
		}
		if answer.Header.Get("Set-Cookie")+answer.Header.Get("Server") != "" {
			t.Errorf("the bridge's own headers arrive: %v", answer.Header)
		}
		if req.URL.RawQuery != want || req.URL.Path != journalPath || req.Method != "GET" || req.Header.Get("Authorization") != "" {
			t.Errorf("%s arrives as %s %s %v", query, req.Method, req.RequestURI, req.Header)
		}
	}
}

// Where a WebSocket begins in the journal is the client's to say, and nothing else.
func TestPositionReachesTheBridge(t *testing.T) {
	seen := make(chan *http.Request, 1)
	l := serve(t, func(c *gateway.Config) { c.Dial = onSocket(t, func(v visit) { seen <- v.req; v.accept() }) })
	path := "/api/kernels/" + aliceKernel + "/channels?session_id=s"
	for query, want := range map[string]string{
		"&since=5&journal=abc&seq=1&since=6": "journal=abc&seq=1&session_id=s&since=5",
		"&seq=0&limit=1":                     "session_id=s",
		"&since=0":                           "session_id=s&since=0",
	} {
		c := l.openAt(t, path+query, alice, "")
		if c.resp.StatusCode != 101 {
			t.Errorf("%s: %s", query, c.resp.Status)
			continue
		}
		_ = c.Close()
		if req := <-seen; req.URL.RawQuery != want {
			t.Errorf("%s arrives as %s", query, req.RequestURI)
		}
	}
	for _, query := range []string{"&since=x", "&since=", "&seq=2", "&journal=%0d%0a"} {
		if c := l.openAt(t, path+query, alice, ""); c.resp.StatusCode != 400 {
			t.Errorf("%s: %s", query, c.resp.Status)
		}
	}
}

func TestJournalOfABadBridge(t *testing.T) {
	for name, row := range map[string]struct {
		bridge func(visit)
		status int
		reason string
	}{
		"gone":         {answering("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), 404, "not_found"},
		"busy":         {answering("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"), 503, "busy"},
		"fault":        {answering("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), 502, "bridge"},
		"redirect":     {answering("HTTP/1.1 302 Found\r\nLocation: http://evil.example\r\nContent-Length: 0\r\n\r\n"), 502, "bridge"},
		"garbage":      {answering("\x00\x01\x02 garbage\r\n\r\n"), 502, "bridge"},
		"endless head": {answering("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 64<<10)), 502, "bridge"},
		"no length":    {answering("HTTP/1.1 200 OK\r\n\r\n{}"), 502, "bridge"},
		"chunked":      {answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"), 502, "bridge"},
		"too long":     {answering(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n{", 160<<20+1)), 502, "bridge"},
		"no answer":    {func(visit) {}, 503, "starting"},
	} {
		w := newRig(t, func(c *gateway.Config) { c.Dial = onSocket(t, row.bridge) }).do("GET", journalPath, "", alice)
		if reason, _ := reasonOf(t, w); w.Code != row.status || reason != row.reason {
			t.Errorf("%s: %d %s, want %d %s", name, w.Code, w.Body, row.status, row.reason)
		}
	}
	w := newRig(t, nil).do("GET", journalPath, "", alice)
	if reason, _ := reasonOf(t, w); w.Code != 503 || reason != "starting" {
		t.Errorf("without a bridge: %d %s", w.Code, w.Body)
	}
}

// A page goes through the gateway as the client takes it, and never lies in it; one that breaks off is seen as such.
func TestJournalIsNotBuffered(t *testing.T) {
	const size, ahead = 100 << 20, 16 << 20 // ahead is what sockets hold
	var written atomic.Int64
	l := serve(t, func(c *gateway.Config) {
		c.Dial = onSocket(t, func(v visit) {
			fmt.Fprintf(v, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size+1)
			block := bytes.Repeat([]byte("x"), 64<<10)
			for range size / len(block) {
				n, err := v.Write(block)
				written.Add(int64(n))
				if err != nil {
					return
				}
			}
		})
	})
	answer := l.askAlice(t, journalPath)
	for read := int64(0); read < size; read += 1 << 20 {
		if _, err := io.CopyN(io.Discard, answer.Body, 1<<20); err != nil {
			t.Fatal(err)
		}
		if n := written.Load(); n > read+1<<20+ahead {
			t.Fatalf("the gateway has taken %d bytes when the client had %d", n, read)
		}
	}
	if _, err := answer.Body.Read(make([]byte, 1)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the missing end shows as %v", err)
	}
}

// Neither a bridge that stalls in its answer nor a client that does not read holds a request for ever.
func TestJournalHasATimeLimit(t *testing.T) {
	for name, begin := range map[string]string{"silent": "", "half a head": "HTTP/1.1 200", "half a page": "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"} {
		synctest.Test(t, func(t *testing.T) {
			l := serveInMemory(t, func(c *gateway.Config) {
				c.Dial = inMemory(t, func(v visit) { _, _ = io.WriteString(v, begin); _, _ = io.Copy(io.Discard, v.in) })
			})
			d := took(func() {
				answer := l.askAlice(t, journalPath)
				_, _ = io.Copy(io.Discard, answer.Body)
			})
			if d > 90*time.Second {
				t.Errorf("%s: ended after %v", name, d)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan struct{})
		l := serveInMemory(t, func(c *gateway.Config) {
			c.Dial = inMemory(t, func(v visit) {
				fmt.Fprintf(v, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 1<<20)
				_, _ = v.Write(make([]byte, 1<<20))
				close(ended)
			})
		})
		d := took(func() { l.askAlice(t, journalPath); <-ended })
		if d > 2*time.Minute {
			t.Errorf("a client that does not read: ended after %v", d)
		}
	})
}
