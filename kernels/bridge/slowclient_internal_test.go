package bridge

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cellblock.io/cellblock/kernels/wire"
)

// memory is a listener for connections within the test.
type memory struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *memory) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memory) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *memory) Addr() net.Addr { return &net.TCPAddr{} }

// slowRig is a bridge without a kernel, in a bubble of its own time.
type slowRig struct {
	*testing.T
	hub *hub
	l   *memory
}

func inBubble(t *testing.T, do func(r *slowRig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &slowRig{T: t, l: &memory{conns: make(chan net.Conn), closed: make(chan struct{})}}
		log := slog.New(slog.NewTextHandler(io.Discard, nil))
		r.hub = newHub(log, newJournal(journalBytes, journalCount))
		ctx, stop := context.WithCancel(context.Background())
		s := &server{hub: r.hub, cfg: Config{KernelID: "a-b-c-d-e", Log: log}}
		var all sync.WaitGroup
		all.Go(func() {
			if err := s.run(ctx, corkable{r.l}); err != nil {
				t.Error(err)
			}
		})
		do(r)
		stop()
		all.Wait()
	})
}

// connect upgrades a connection; nothing is read from it behind the answer's head.
func (r *slowRig) connect() (net.Conn, *bufio.Reader) {
	ours, theirs := net.Pipe()
	r.l.conns <- theirs
	go io.WriteString(ours, "GET /api/kernels/a-b-c-d-e/channels HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"+ //nolint:errcheck // the answer tells
		"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	in := bufio.NewReaderSize(ours, 16)
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		r.Fatalf("upgrade: %v %v", resp, err)
	}
	return ours, in
}

// readUntilEnd returns how long it takes until the bridge has closed c, whose client reads everything.
func readUntilEnd(in io.Reader) time.Duration {
	began := time.Now()
	io.Copy(io.Discard, in) //nolint:errcheck // the end is what counts
	return time.Since(began)
}

// send writes the next of b after each pause, the last again and again, until the connection ends.
func send(c net.Conn, pause time.Duration, b ...[]byte) {
	defer c.Close()
	for i := range 1000 {
		if _, err := c.Write(b[min(i, len(b)-1)]); err != nil {
			return
		}
		time.Sleep(pause) // on the clock of the test
	}
}

const grace = 5 * time.Second // what closing may take

func TestSlowClientsAreClosed(t *testing.T) {
	pong := []byte{0x8a, 0x80, 0, 0, 0, 0}
	begin, more := []byte{0x01, 0x81, 0, 0, 0, 0, '{'}, []byte{0x00, 0x81, 0, 0, 0, 0, ' '}
	large := append(binary.BigEndian.AppendUint64([]byte{0x01, 0x80 | 127}, smallRequest+1), make([]byte, 4+smallRequest+1)...)
	for name, row := range map[string]struct {
		pause  time.Duration
		script [][]byte
		within time.Duration
	}{
		"silent":                           {time.Hour, [][]byte{nil}, pongWait},
		"a byte a second":                  {time.Second, [][]byte{{0x81, 0xfe, 0xff, 0xff, 0, 0, 0, 0}, {'x'}}, messageTime},
		"fragments for ever":               {time.Second, [][]byte{begin, more}, messageTime},
		"fragments, and pongs among them":  {time.Second, [][]byte{begin, append(pong[:6:6], more...)}, messageTime},
		"large fragments, and pongs":       {time.Second, [][]byte{large, append(pong[:6:6], more...)}, messageTime},
		"half a head":                      {time.Hour, [][]byte{{0x81}}, pongWait},
		"pongs between head and payload":   {time.Second, [][]byte{{0x81, 0xfe}, pong}, messageTime},
		"a ping a second within a message": {time.Second, [][]byte{begin, {0x89, 0x80, 0, 0, 0, 0}}, messageTime},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(r *slowRig) {
				c, in := r.connect()
				defer c.Close()
				go send(c, row.pause, row.script...)
				if took := readUntilEnd(in); took > row.within+grace || took < row.within/2 {
					t.Errorf("closed after %v, want %v", took, row.within)
				}
				c.Close()
				time.Sleep(2 * time.Hour) // lets send end
			})
		})
	}
}

// A client that answers pings and asks nothing stays.
func TestQuietClientsStay(t *testing.T) {
	inBubble(t, func(r *slowRig) {
		c, in := r.connect()
		var all sync.WaitGroup
		all.Go(func() {
			for {
				head := make([]byte, 2)
				if _, err := io.ReadFull(in, head); err != nil {
					return
				}
				body := make([]byte, head[1])
				if _, err := io.ReadFull(in, body); err != nil {
					return
				}
				if head[0] == 0x89 {
					c.Write(append([]byte{0x8a, 0x80 | head[1], 0, 0, 0, 0}, body...)) //nolint:errcheck // it would be gone
				}
			}
		})
		time.Sleep(24 * time.Hour) // on the clock of the test
		if n := r.hub.status().Connections; n != 1 {
			t.Errorf("%d connections", n)
		}
		c.Close()
		all.Wait()
	})
}

// A client that reads nothing is let go, and holds nobody up before that.
func TestClientThatNeverReads(t *testing.T) {
	inBubble(t, func(r *slowRig) {
		stalled, _ := r.connect()
		defer stalled.Close()
		reader, in := r.connect()
		read := make(chan struct{})
		go func() { defer close(read); readUntilEnd(in) }()
		synctest.Wait()
		for range 1000 {
			r.hub.mu.Lock()
			r.hub.publish(entry{header: wire.Header{MsgType: "stream"}, message: wire.Message{
				Channel: wire.IOPub, Header: []byte("{}"), Parent: []byte("{}"), Metadata: []byte("{}"), Content: []byte("{}")}})
			r.hub.mu.Unlock()
		}
		began := time.Now()
		for r.hub.status().Connections == 2 && time.Since(began) < time.Hour {
			time.Sleep(time.Second) // on the clock of the test
		}
		if took := time.Since(began); took > clientWriteTime+grace {
			t.Errorf("let go after %v", took)
		}
		reader.Close()
		<-read
	})
}
