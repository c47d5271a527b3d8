package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"cellblock.io/cellblock/kernels"
)

// pipe carries the bytes of one WebSocket between its client and its kernel's bridge, and never looks into them.
type pipe struct {
	client, bridge net.Conn
	// greeting is our answer to the client's upgrade request; it goes first.
	greeting []byte
	// fromClient and fromBridge are bytes that were read together with the heads of the upgrade.
	fromClient, fromBridge []byte
	who                    caller
	receipts               *teller
	leave                  func() error // asks the bridge to take leave of the client

	checked time.Time // when who's credential was last seen to be valid; only the watch touches it
}

// half is a connection whose writing side can be closed alone.
type half interface{ CloseWrite() error }

// run copies both ways until one side ends, then ends the other. It blocks, and owns both connections.
func (p *pipe) run() {
	var wg sync.WaitGroup
	wg.Go(p.toBridge)
	p.toClient()
	wg.Wait()
	p.receipts.finish(abandon(p.client))
	_ = p.client.Close()
	_ = p.bridge.Close()
}

// toClient copies until the bridge ends or the client takes nothing. Then the bridge is let go, and the client gets a
// moment to read the rest: closing at once, with bytes of its own unread, would reset the connection and could
// destroy the close frame on its way.
func (p *pipe) toClient() {
	early := append(p.greeting, p.fromBridge...)
	p.greeting, p.fromBridge = nil, nil
	_ = pump(p.client, p.bridge, early, p.receipts)
	_ = p.bridge.Close()
	if c, ok := p.client.(half); ok {
		_ = c.CloseWrite()
	}
	_ = p.client.SetReadDeadline(time.Now().Add(lingerTimeout))
}

// toBridge copies until the client ends. When the bridge takes no more, it has a moment to say its last, and what the
// client still sends is thrown away until toClient has done its part.
func (p *pipe) toBridge() {
	err := pump(p.bridge, p.client, p.fromClient, nil)
	if errors.Is(err, errWrite) {
		_ = p.bridge.SetReadDeadline(time.Now().Add(goodbyeTimeout))
		_ = discard(p.client)
	}
	_ = p.bridge.Close()
}

// goodbye has the bridge take leave of the client (close code 1012, come back). The pipe ends soon after. It blocks for
// at most leaveTimeout.
func (p *pipe) goodbye() {
	_ = p.bridge.SetReadDeadline(time.Now().Add(goodbyeTimeout))
	if err := p.leave(); err != nil {
		_ = p.bridge.Close() // the client sees an end without a word, and comes back as well
	}
}

// leaver returns a function that asks the bridge of a handle to take leave of the client of that connection.
func (g *Gateway) leaver(handle, connection string) func() error {
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
		defer cancel()
		conn, err := g.cfg.Dial(ctx, handle)
		if err != nil {
			return fmt.Errorf("dial: %w", err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(leaveTimeout))
		answer, err := askBridge(conn, http.MethodPost, kernels.LeavePath+connection)
		if err == nil && answer.StatusCode != http.StatusNoContent {
			err = fmt.Errorf("%w: answer %s", errBridge, answer.Status)
		}
		return err
	}
}

// errWrite marks the end of a pump whose destination took no more.
var errWrite = errors.New("write")

// pump moves early and then all that comes from src to dst, until one fails, and tells how much dst took. It never
// returns nil.
func pump(dst, src net.Conn, early []byte, tell *teller) error {
	s := newSource(src)
	for b := early; ; {
		if len(b) > 0 {
			_ = dst.SetWriteDeadline(time.Now().Add(stallTimeout))
			n, err := dst.Write(b)
			tell.add(n)
			if err != nil {
				s.release()
				return errors.Join(errWrite, err)
			}
			s.release()
		}
		var err error
		if b, err = s.next(); err != nil {
			return err
		}
	}
}

// discard reads until the end or the deadline.
func discard(conn net.Conn) error {
	s := newSource(conn)
	for {
		if _, err := s.next(); err != nil {
			return err
		}
		s.release()
	}
}
