package bridge

import (
	"bufio"
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/go-zeromq/zmq4"

	"cellblock.io/cellblock/kernels/wire"
)

// heartbeat is the socket on which a kernel echoes whatever it is sent (Jupyter messaging, "Heartbeat for kernels").
const heartbeat wire.Channel = "hb"

// Times and limits of the heartbeat.
const (
	beatEvery = 2 * time.Second
	maxMissed = 4    // beats in a row without an echo: 8 s
	maxBeats  = 8    // beats of which an echo still counts
	maxEcho   = 64   // bytes of an echo
	maxEchoes = 1000 // between two beats; what comes beyond it waits
	echoAhead = 8 << 10
)

// errSilent ends the link to a kernel that has echoed its heartbeat and does so no more: its process is stopped or hangs.
var errSilent = errors.New("kernel does not echo its heartbeat any more")

// untiring is the implementation of kernels that echo while they are busy (ipykernel does it in a thread of its own).
// Others have to show it.
const untiring = "ipython"

// pulse is what is known of the heart of one process. Beats are counted, not timed: while the bridge itself stands
// still it sends none, and none is missed. Some kernels do everything in one thread; what they miss while they are busy
// does not count.
type pulse struct {
	mu         sync.Mutex
	untiring   bool     // it is known to echo while it is busy
	heard      bool     // it has echoed a beat; otherwise nothing is asked of it
	open       []string // beats that were sent and not echoed yet
	unanswered bool     // no echo since the last beat
	missed     int      // beats in a row
	witness    string   // a request that the kernel was busy with at the last beat
}

// next is called at each beat, with a request that the kernel is busy with, if any, and whether it still is with
// witness. It returns what is to be sent, which may be nothing, or errSilent.
func (p *pulse) next(busy string, still bool) (beat string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.untiring = p.untiring || still && p.heard && len(p.open) == 0
	p.witness = ""
	if excused := busy != "" && !p.untiring; excused || !p.heard {
		p.missed = 0
		if len(p.open) > 0 {
			return "", nil // it has one to answer when it finds the time
		}
	} else if p.unanswered {
		if p.missed++; p.missed >= maxMissed {
			return "", errSilent
		}
	}
	p.unanswered, p.witness = true, busy
	beat = newID()
	if p.open = append(p.open, beat); len(p.open) > maxBeats {
		p.open = p.open[1:]
	}
	return beat, nil
}

// echo takes what came back. Anything but one of the last beats is nothing.
func (p *pulse) echo(beat []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.open, string(beat)); i >= 0 {
		p.open = p.open[i+1:]
		p.heard, p.unanswered, p.missed = true, false, 0
	}
}

// cut is called when the connection has gone, and all beats on it.
func (p *pulse) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open, p.witness = nil, ""
}

func (p *pulse) watched() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.witness
}

// heart sends beats and hears echoes over one connection after the other: one that cannot be had is a beat missed.
type heart struct {
	pulse
	dial func(context.Context) (*guard, error) // within beatEvery
	busy func(with string) (still bool, now string)
	g    *guard     // nil while there is no connection
	lost chan error // why the connection has ended
}

// run beats until ctx ends, or until the kernel misses too many beats (errSilent) or sends what it may not
// (errProtocol).
func (t *heart) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		if t.g != nil {
			<-t.lost
		}
	}()
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	t.lost = make(chan error, 1)
	for due := true; ; {
		if due {
			if err := t.beat(ctx); err != nil {
				return err
			}
		}
		due = false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-t.lost:
			t.g = nil
			t.cut()
			if errors.Is(err, errProtocol) {
				return err
			}
		case <-ticker.C:
			due = true
		}
	}
}

// beat sends the next beat, over a new connection if there is none.
func (t *heart) beat(ctx context.Context) error {
	still, now := t.busy(t.watched())
	beat, err := t.next(now, still)
	if err != nil {
		return err
	}
	if t.g == nil {
		g, err := t.dial(ctx)
		if err != nil {
			t.cut()
			return nil //nolint:nilerr // a beat missed, or a kernel without a heartbeat
		}
		t.g = g
		go func() { t.lost <- t.hear(ctx, g) }()
	}
	if beat == "" {
		return nil
	}
	message := append([]byte{flagMore, 0, 0, byte(len(beat))}, beat...) // an empty frame for kernels with a REP socket
	if _, err := t.g.w.Write(message); err != nil || t.g.Flush() != nil {
		t.g.Conn.Close() // hear tells
	}
	return nil
}

// hear reads echoes until the connection or ctx ends.
func (t *heart) hear(ctx context.Context, g *guard) error {
	defer g.Conn.Close()
	stop := context.AfterFunc(ctx, func() { g.Conn.Close() })
	defer stop()
	for n := 1; ; n++ {
		frames, err := g.readMessage()
		if err != nil {
			return err
		}
		t.echo(frames[len(frames)-1])
		if n%maxEchoes > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(beatEvery):
		}
	}
}

// followHeartbeat follows the heartbeat of the process that l is linked to, if it has one.
func (h *hub) followHeartbeat(ctx context.Context, l *link, implementation string) error {
	if l.dialer.file.HeartbeatPort == 0 {
		return nil
	}
	t := &heart{busy: h.busyWith, dial: func(ctx context.Context) (*guard, error) {
		ctx, cancel := context.WithTimeout(ctx, beatEvery)
		defer cancel()
		s, _, err := l.dialer.open(ctx, heartbeat)
		if err != nil {
			return nil, err
		}
		return s.guard, nil
	}}
	t.untiring = implementation == untiring
	return t.run(ctx)
}

// busyWith reports whether the kernel is busy with that request, and names one that it is busy with, if any.
func (h *hub) busyWith(msgID string) (still bool, now string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, still = h.activity.busy[msgID]
	for now = range h.activity.busy {
		break
	}
	return still, now
}

// newEchoGuard is newGuard for a heartbeat, on which there is little to read.
func newEchoGuard(c net.Conn) *guard {
	return &guard{Conn: c, r: bufio.NewReaderSize(c, echoAhead), w: bufio.NewWriterSize(patientWriter{c}, 2*maxEcho),
		kind: zmq4.Dealer, most: maxEcho}
}
