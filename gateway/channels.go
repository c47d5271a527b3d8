package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"cellblock.io/cellblock/kernels"
)

// channels upgrades a request to the kernel's WebSocket, whose bytes are carried from then on. Whose kernel it is is
// looked up before anything else about the request is.
func (g *Gateway) channels(c *call) error {
	k, err := g.kernel(c)
	if err != nil {
		return err
	}
	h, err := readHandshake(c.r, k.ID)
	if err != nil {
		return err
	}
	if err := g.pipes.admit(c.owner()); err != nil {
		return err
	}
	began := time.Now()
	p, err := g.connect(c, k, &h)
	if err != nil {
		g.pipes.dismiss(c.owner())
		return err
	}
	c.w.status = http.StatusSwitchingProtocols
	g.metrics.request(c, time.Since(began))
	g.pipes.start(p)
	return nil
}

// connect makes a pipe of the client's connection and a new one to the kernel's bridge.
func (g *Gateway) connect(c *call, k kernels.Kernel, h *handshake) (p *pipe, err error) {
	p = &pipe{who: c.who, checked: time.Now()}
	p.who.raw = strings.Clone(c.who.raw) // without the rest of the request's headers
	if p.bridge, p.fromBridge, err = g.bridge(c, k, h); err != nil {
		return nil, err
	}
	p.greeting = h.response()
	p.receipts = h.receipts
	p.leave = g.leaver(k.Handle, h.connection)
	p.receipts.greet(len(p.greeting))
	if err := p.take(c.w); err != nil {
		_ = p.bridge.Close()
		p.receipts.finish(0)
		return nil, err
	}
	return p, nil
}

// bridge connects to the kernel's bridge and upgrades that connection. A kernel that is still starting may have none
// yet: then it is tried again until there is one, the kernel is gone, or bridgeWait is over.
func (g *Gateway) bridge(c *call, k kernels.Kernel, h *handshake) (net.Conn, []byte, error) {
	ctx, cancel := context.WithTimeoutCause(c.ctx(), bridgeWait,
		refuse(http.StatusServiceUnavailable, "starting", "The kernel is not reachable yet. Try again."))
	defer cancel()
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	defer context.AfterFunc(g.pipes.leave, func() { leave(errDraining) })()
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		conn, early, err := g.upgradeBridge(ctx, k, h)
		if !errors.Is(err, errNoBridge) {
			return conn, early, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		if k, err = g.cfg.Kernels.Get(ctx, c.owner(), k.ID); err != nil {
			return nil, nil, ofKernel(h.kernelID, err)
		}
	}
}

// upgradeBridge is one try.
func (g *Gateway) upgradeBridge(ctx context.Context, k kernels.Kernel, h *handshake) (net.Conn, []byte, error) {
	conn, err := g.cfg.Dial(ctx, k.Handle)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: dial: %w", errNoBridge, err)
	}
	early, status, err := h.offer(ctx, conn)
	if err == nil && status == http.StatusSwitchingProtocols {
		return conn, early, nil
	}
	_ = conn.Close()
	switch {
	case errors.Is(err, errNoBridge):
		return nil, nil, err
	case err != nil || status != http.StatusNotFound && status != http.StatusServiceUnavailable:
		if err == nil {
			err = fmt.Errorf("%w: status %d", errBridge, status)
		}
		return nil, nil, badBridge(err)
	case status == http.StatusNotFound:
		return nil, nil, kernelGone(k.ID)
	}
	return nil, nil, fmt.Errorf("bridge refuses: %w", kernels.ErrUnavailable)
}

// take takes the client's connection over from the HTTP server, with what the client sent ahead of the answer.
func (p *pipe) take(w http.ResponseWriter) error {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return fmt.Errorf("take over connection: %w", err)
	}
	p.client = conn
	if early, err := rw.Reader.Peek(rw.Reader.Buffered()); err == nil {
		p.fromClient = bytes.Clone(early)
	}
	if c, ok := conn.(*net.TCPConn); ok {
		_ = c.SetNoDelay(true) // as it is by default; the contract of every socket here
		_ = c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3})
	}
	return nil
}
