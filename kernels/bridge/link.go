package bridge

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/go-zeromq/zmq4"
	"golang.org/x/sync/errgroup"

	"cellblock.io/cellblock/kernels/wire"
)

// Bounds on what waits to be written to the kernel, per socket.
const (
	maxQueued      = 4096
	maxQueuedBytes = 64 << 20
	redialPause    = 10 * time.Millisecond // a kernel that starts binds its sockets one by one
	redialPauseMax = 250 * time.Millisecond
)

// errQueueFull: the kernel reads so slowly that its queue is full.
var errQueueFull = errors.New("kernel does not read its requests")

// channels are the sockets of a link, in the order in which they are dialled.
var channels = []wire.Channel{wire.IOPub, wire.Control, wire.Shell, wire.Stdin}

// link is one set of sockets to one kernel process.
type link struct {
	dialer  dialer
	signer  *wire.Signer
	sockets map[wire.Channel]*socket
}

// socket is one ZeroMQ connection: a SUB for iopub, DEALERs for the others. shell and stdin have the same routing id,
// as the kernel asks for input at the identity that sent the request.
type socket struct {
	channel wire.Channel
	guard   *guard
	conn    *zmq4.Conn
	queue   chan outgoing
	queued  atomic.Int64 // bytes
}

// outgoing is a message that waits to be written to the kernel.
type outgoing struct {
	frames [][]byte
	size   int64
}

// dialer is how the sockets of one link are reached.
type dialer struct {
	file  *connectionFile
	id    zmq4.SocketIdentity
	reach func(listens bool) // told at each attempt
}

// dialLink connects all sockets, waiting until the kernel has bound them or ctx ends. reach is told at each attempt
// whether somebody listens.
func dialLink(ctx context.Context, file *connectionFile, reach func(listens bool)) (*link, error) {
	l := &link{signer: wire.NewSigner(file.Key), sockets: make(map[wire.Channel]*socket)}
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, fmt.Errorf("routing id: %w", err)
	}
	l.dialer = dialer{file, zmq4.SocketIdentity("cellblock-" + hex.EncodeToString(id[:])), reach}
	for _, ch := range channels {
		s, err := l.dialer.dial(ctx, ch)
		if err != nil {
			l.close()
			return nil, fmt.Errorf("dial %s: %w", ch, err)
		}
		l.sockets[ch] = s
	}
	if err := l.subscribe(); err != nil {
		l.close()
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	return l, nil
}

// dial tries again until the kernel listens; what it says in the handshake is final.
func (d *dialer) dial(ctx context.Context, ch wire.Channel) (*socket, error) {
	for pause := redialPause; ; pause = min(2*pause, redialPauseMax) {
		s, listens, err := d.open(ctx, ch)
		if ctx.Err() == nil {
			d.reach(listens)
		}
		if listens {
			return s, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// open connects one socket, and reports whether the kernel listens there.
func (d *dialer) open(ctx context.Context, ch wire.Channel) (s *socket, listens bool, err error) {
	network, address := d.file.address(ch)
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, false, err
	}
	var g *guard
	switch ch {
	case wire.IOPub:
		g = newGuard(c, zmq4.Sub)
	case heartbeat:
		g = newEchoGuard(c)
	default:
		g = newGuard(c, zmq4.Dealer)
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	conn, err := g.open(d.id)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		c.Close()
		return nil, true, err
	}
	return &socket{channel: ch, guard: g, conn: conn, queue: make(chan outgoing, maxQueued)}, true, nil
}

// subscribe asks for everything on iopub (ZMTP 3.0 subscriptions are messages).
func (l *link) subscribe() error {
	s := l.sockets[wire.IOPub]
	if err := s.conn.SendMsg(zmq4.NewMsg([]byte{1})); err != nil {
		return err
	}
	return s.guard.Flush()
}

// send queues m for the kernel and returns at once; errQueueFull when the bounds are met.
func (l *link) send(m *wire.Message) error {
	s := l.sockets[m.Channel]
	size := int64(m.Size())
	if s.queued.Add(size) > maxQueuedBytes {
		s.queued.Add(-size)
		return errQueueFull
	}
	select {
	case s.queue <- outgoing{l.signer.Frames(m), size}:
		return nil
	default:
		s.queued.Add(-size)
		return errQueueFull
	}
}

// run reads and writes all sockets until one of them ends or ctx does, then closes them all. receive is called from
// one goroutine per channel, in the order of that channel; malformed is told of each message that had to be dropped.
func (l *link) run(ctx context.Context, receive func(wire.Message), malformed func(wire.Channel, error)) error {
	g, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, l.close)
	defer stop()
	for _, s := range l.sockets {
		g.Go(func() error { return l.readLoop(s, receive, malformed) })
		if s.channel != wire.IOPub {
			g.Go(func() error { return s.writeLoop(ctx) })
		}
	}
	err := g.Wait()
	l.close()
	return err
}

func (l *link) readLoop(s *socket, receive func(wire.Message), malformed func(wire.Channel, error)) error {
	for {
		frames, err := s.guard.readMessage()
		var m wire.Message
		if err == nil {
			m, err = l.signer.DecodeFrames(s.channel, frames)
		}
		var large *tooLargeError
		switch {
		case err == nil:
			receive(m)
		case errors.As(err, &large) || errors.Is(err, wire.ErrMalformed):
			malformed(s.channel, err)
		default:
			return fmt.Errorf("read %s: %w", s.channel, err)
		}
	}
}

// writeLoop sends what is queued; what is there at one time leaves as one write.
func (s *socket) writeLoop(ctx context.Context) error {
	for {
		var next outgoing
		select {
		case next = <-s.queue:
		default:
			if err := s.guard.Flush(); err != nil {
				return fmt.Errorf("write %s: %w", s.channel, err)
			}
			select {
			case next = <-s.queue:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := s.conn.SendMsg(zmq4.NewMsgFrom(next.frames...)); err != nil {
			return fmt.Errorf("write %s: %w", s.channel, err)
		}
		s.queued.Add(-next.size)
	}
}

func (l *link) close() {
	for _, s := range l.sockets {
		s.guard.Conn.Close()
	}
}
