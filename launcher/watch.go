package launcher

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"cellblock.io/cellblock/kernels"
)

// watch tells the other side of ends until it goes away, the engine's watch breaks, or this side ends.
func (s *Server) watch(ending context.Context, w http.ResponseWriter, r *http.Request) {
	if _, err := read[nothing](w, r); err != nil {
		refuse(w, err)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(ending, cancel)()
	exits, broken := make(chan kernels.Exit), make(chan error, 1)
	go func() {
		broken <- s.cfg.Engine.Watch(ctx, func(e kernels.Exit) {
			select {
			case exits <- e:
			case <-ctx.Done():
			}
		})
	}()
	err := tell(ctx, w, exits, broken)
	cancel()
	if err == nil {
		err = <-broken // the engine's watch has come to its end
	}
	if ending.Err() != nil {
		err = fmt.Errorf("the launcher ends: %w", kernels.ErrUnavailable)
	}
	f, _ := failed(err)
	_ = write(w, line{Failure: &f})
}

// tell writes lines until the other side takes no more, ctx ends (nil), or the engine's watch breaks (its error).
func tell(ctx context.Context, w http.ResponseWriter, exits <-chan kernels.Exit, broken <-chan error) error {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	next := line{} // that the watch has begun
	for {
		if write(w, next) != nil {
			return nil
		}
		next = line{}
		select {
		case e := <-exits:
			next.Exit = &e
		case <-tick.C:
		case err := <-broken:
			if err == nil {
				err = errors.New("the engine's watch has ended")
			}
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

func write(w http.ResponseWriter, l line) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	conn := http.NewResponseController(w)
	_ = conn.SetWriteDeadline(time.Now().Add(lineLimit))
	if _, err := w.Write(append(text, '\n')); err != nil {
		return err
	}
	return conn.Flush()
}

// errSilent ends a watch whose other side has stopped, but not gone.
var errSilent = errors.New("the launcher says nothing any more")

// Watch implements kernels.Observer. It sees every end from the moment on at which the launcher heard of it, each once.
// fn is called from this goroutine and delays later ends while it runs. Errors: those of the engine, kernels.ErrUnavailable
// also when the launcher has ended.
func (c *Client) Watch(ctx context.Context, fn func(kernels.Exit)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer silent.Stop()
	body, err := c.post(ctx, "watch", nothing{})
	if err != nil {
		return silenced(ctx, err)
	}
	defer body.Close()
	return silenced(ctx, lost(ctx, "watch", follow(body, func(e *kernels.Exit) {
		silent.Stop()
		if e != nil {
			fn(*e)
		}
		silent.Reset(silence)
	})))
}

// silenced makes the end of a watch that fell silent an error of the launcher's.
func silenced(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errSilent) {
		return fmt.Errorf("watch: %w: %w", kernels.ErrUnavailable, errSilent)
	}
	return err
}

// follow reads lines to their end, and never returns nil.
func follow(lines io.Reader, heard func(*kernels.Exit)) error {
	read := bufio.NewScanner(lines)
	read.Buffer(nil, maxLine)
	for read.Scan() {
		var l line
		if err := json.Unmarshal(read.Bytes(), &l); err != nil {
			return fmt.Errorf("read an end: %w", err)
		}
		switch {
		case l.Failure != nil:
			return &answered{l.Failure.error()}
		case l.Exit != nil && !kernels.ValidHandle(l.Exit.Handle):
			return fmt.Errorf("an end of %.80q", l.Exit.Handle)
		}
		heard(l.Exit)
	}
	if err := read.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}
