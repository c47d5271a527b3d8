//go:build e2e

package e2e_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const (
	rawTime   = 20 * time.Second // for an answer to bytes that a test wrote by hand
	roundTime = 30 * time.Second // for one cell of the person who is not to be disturbed
	pause     = 20 * time.Millisecond
)

// siege is a gateway with a person who works on it all the time, and others who have no good in mind.
type siege struct {
	g *gateway
	// alice works; bob owns nothing; mallory has an account and a kernel for what it gives her.
	alice, bob, mallory person
	hers, own           string // alice's kernel, mallory's
	jwt                 key
	session, xsrf       string // alice's cookies: the first whole, the second its value
	work                *work
}

// besiege starts a gateway with these people.
func besiege(t *testing.T, settings string) *siege {
	t.Helper()
	g := startGateway(t, settings)
	s := &siege{g: g}
	for name, p := range map[string]*person{"alice": &s.alice, "bob": &s.bob, "mallory": &s.mallory} {
		*p = person{g.url, g.user(t, name)}
	}
	// Ended by the administrator: whoever owns them may have lost every token by then.
	t.Cleanup(func() { g.cli(t, "kernels", "stop", "--all") })
	s.hers, s.own = s.alice.lastingKernel(t), s.mallory.lastingKernel(t)
	s.session, s.xsrf = logIn(t, &contract{g: g, alice: s.alice}, "token")
	s.mallory.connect(t, s.own, randomHex(t, 16)).execute(t, "1")
	s.work = s.alice.atWork(t, s.hers)
	return s
}

// lastingKernel starts a kernel that no cleanup of its owner's ends.
func (p person) lastingKernel(t *testing.T) string {
	t.Helper()
	id, _ := p.expect(t, http.StatusCreated, "POST", "/api/kernels", "{}")["id"].(string)
	return id
}

// work is one cell after the other, for as long as it is not stopped.
type work struct {
	rounds atomic.Int64
	worst  atomic.Int64 // nanoseconds of the longest round
	failed chan error   // why it ended
}

// atWork begins to run cells on a kernel. It ends with the test.
func (p person) atWork(t *testing.T, kernel string) *work {
	t.Helper()
	c := p.connect(t, kernel, randomHex(t, 16))
	c.execute(t, "count = 0")
	w := &work{failed: make(chan error, 1)}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	t.Cleanup(func() { stop(); <-ended })
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			began := time.Now()
			if err := c.round(ctx); err != nil {
				w.failed <- err
				return
			}
			w.worst.Store(max(w.worst.Load(), int64(time.Since(began))))
			w.rounds.Add(1)
		}
	}()
	return w
}

// round runs one cell and waits for its text; a short pause follows, as between two keys.
func (c *channels) round(ctx context.Context) error {
	id, err := c.request("shell", "execute_request", cellOf("count += 1; print('round', count)"))
	if err != nil {
		return err
	}
	one, late := &cell{id: id}, time.After(roundTime)
	for one.status == "" || !one.idle {
		select {
		case m, open := <-c.messages:
			if !open {
				return fmt.Errorf("the connection ended: %w", c.ended)
			}
			one.take(m)
		case <-late:
			return fmt.Errorf("no answer within %v", roundTime)
		case <-ctx.Done():
			return nil
		}
	}
	if !strings.HasPrefix(one.text.String(), "round ") {
		return fmt.Errorf("the cell printed %q", one.text.String())
	}
	select {
	case <-time.After(pause):
	case <-ctx.Done():
	}
	return nil
}

// goesOn fails the test unless the work has not failed and comes further.
func (w *work) goesOn(t *testing.T) {
	t.Helper()
	before := w.rounds.Load()
	eventually(t, roundTime, func() string {
		select {
		case err := <-w.failed:
			t.Fatalf("the honest person's work: %v", err)
		default:
		}
		if w.rounds.Load() > before {
			return ""
		}
		return fmt.Sprintf("the honest person's work stands still after %d rounds", before)
	})
}

// wire is a connection whose bytes the test writes.
type wire struct {
	net.Conn
	in   *bufio.Reader
	head *http.Response
}

// plain connects and says nothing yet.
func (s *siege) plain(t *testing.T) *wire {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(rawTime)); err != nil {
		t.Fatal(err)
	}
	return &wire{Conn: c, in: bufio.NewReader(c)}
}

// send writes a request as it is and reads the head of the answer.
func (s *siege) send(t *testing.T, text string) *wire {
	t.Helper()
	w := s.plain(t)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	var err error
	if w.head, err = http.ReadResponse(w.in, nil); err != nil {
		t.Fatalf("no answer to %.200q: %v", text, err)
	}
	return w
}

// upgrade is a request for a kernel's WebSocket with more header lines; a line that begins with "Host:" replaces ours.
func (s *siege) upgrade(kernel string, lines ...string) string {
	text := "GET /api/kernels/" + kernel + "/channels?session_id=raw HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
	if len(lines) == 0 || !strings.HasPrefix(lines[0], "Host:") {
		text += "Host: " + strings.TrimPrefix(s.g.url, "http://") + "\r\n"
	}
	for _, line := range lines {
		text += line + "\r\n"
	}
	return text + "\r\n"
}

// open upgrades a connection to mallory's own kernel.
func (s *siege) open(t *testing.T, lines ...string) *wire {
	t.Helper()
	w := s.send(t, s.upgrade(s.own, append(lines, "Authorization: token "+s.mallory.token)...))
	if w.head.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("mallory's own kernel: %s", w.head.Status)
	}
	return w
}

// code reads frames until a close frame, and returns its code; 0 when the connection ends without one.
func (w *wire) code() int {
	for {
		var head [2]byte
		if _, err := io.ReadFull(w.in, head[:]); err != nil {
			return 0
		}
		size := uint64(head[1])
		if extra := map[uint64]int{126: 2, 127: 8}[size]; extra > 0 {
			var long [8]byte
			if _, err := io.ReadFull(w.in, long[8-extra:]); err != nil {
				return 0
			}
			size = binary.BigEndian.Uint64(long[:])
		}
		if head[0] == 0x88 && size >= 2 {
			var code [2]byte
			if _, err := io.ReadFull(w.in, code[:]); err != nil {
				return 0
			}
			return int(binary.BigEndian.Uint16(code[:]))
		}
		if _, err := io.CopyN(io.Discard, w.in, int64(size)); err != nil {
			return 0
		}
	}
}
