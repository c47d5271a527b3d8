package gateway

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Run serves ln until ctx ends, then drains: it accepts nobody any more, lets the bridges tell all clients to come back
// (close code 1012), waits for requests and WebSockets for up to ten seconds, cuts what is left, and returns nil. It
// owns ln. TLS is the listener's business. When serving itself fails it drains as well and returns the error. Run is
// called once.
func (g *Gateway) Run(ctx context.Context, ln net.Listener) error {
	requests, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	srv := g.server(requests)
	var failure error
	var parts sync.WaitGroup
	ctx, stop := context.WithCancel(ctx)
	parts.Go(func() {
		defer stop()
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			failure = fmt.Errorf("serve: %w", err)
		}
	})
	parts.Go(func() { g.watch(ctx) })
	<-ctx.Done()

	began := time.Now()
	parts.Go(func() { g.pipes.drain(drainTimeout) })
	draining, cancel := context.WithTimeout(requests, drainTimeout)
	defer cancel()
	if err := srv.Shutdown(draining); err != nil {
		giveUp()
		_ = srv.Close()
	}
	parts.Wait()
	g.log.Info("drained", "took", time.Since(began))
	return failure
}

// server is an HTTP/1.1 server (WebSockets have no other here) with a limit on everything.
func (g *Gateway) server(requests context.Context) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	var conns atomic.Int64
	return &http.Server{
		Handler:           g.handler,
		Protocols:         &protocols,
		ReadHeaderTimeout: headerTimeout,
		WriteTimeout:      writeTimeout, // bodies have a limit of their own: a ReadTimeout would end long requests
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ErrorLog:          log.New(serverLog{g.log}, "", 0),
		ConnState: func(c net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				if conns.Add(1) > maxConns {
					_ = c.Close()
				}
			case http.StateHijacked, http.StateClosed:
				conns.Add(-1)
			}
		},
	}
}

// serverLog gives the HTTP server's own messages a level: a panic is a fault of ours, all else is what peers do.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Write(line []byte) (int, error) {
	level := slog.LevelDebug
	if strings.Contains(string(line), "panic serving") {
		level = slog.LevelError
	}
	l.log.Log(context.Background(), level, "http server", "message", strings.TrimSpace(string(line)))
	return len(line), nil
}
