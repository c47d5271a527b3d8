package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	idleWanted   = 5_000            // WebSockets, over manyKernels kernels
	idleDialers  = 4                // at once
	idleOpen     = 60 * time.Second // for all of them to be opened, before the server is said to have refused
	idleWatch    = 30 * time.Second // while their cost is measured; each is pinged once at least
	idleSettle   = 2 * time.Second
	idleReturn   = 60 * time.Second // for Cellblock's memory to come back after they have closed; others have no such goal
	gatewayGoal  = 25e6             // bytes
	bridgeGoal   = 10e6
	idleInFront  = 24 << 10 // bytes for each WebSocket
	idleInBridge = 32 << 10
	idleCPU      = 2.0 // per cent of the machine
)

// idle measures what servers cost that have nothing to do: fresh ones, one after the other, as they are by default.
func (b *bench) idle(ctx context.Context) error {
	starts := []func() (*server, error){func() (*server, error) { return startCellblock(ctx, b.options, b.logs, "idle") }}
	for _, p := range peers {
		if !b.others {
			break
		}
		starts = append(starts, func() (*server, error) { return p.start(ctx, b, false) })
	}
	for _, start := range starts {
		s, err := start()
		if err != nil {
			return err
		}
		err = b.idleOf(ctx, s)
		s.stop()
		if err != nil {
			b.results.note("%s, idle: %v", s.name, err)
		}
	}
	return nil
}

// idleOf measures one server: its memory at the start, with kernels, with WebSockets, and when they have closed.
func (b *bench) idleOf(ctx context.Context, s *server) error {
	front := []int{s.process.Process.Pid}
	if err := b.memory(s.name, "memory start", front, 1); err != nil {
		return err
	}
	places, err := newPlaces(ctx, s)
	if err != nil {
		return err
	}
	if err := sleep(ctx, idleSettle); err != nil {
		return err
	}
	var beside []int
	if s.bridges != nil {
		beside = s.bridges()
		if err := b.memory(s.name, "memory bridge", beside, float64(len(beside))); err != nil {
			return err
		}
	}
	before, err := privateBytesOf(front, beside)
	if err != nil {
		return err
	}
	held, refusal := openIdle(ctx, places)
	b.results.add("idle held", s.name, float64(len(held.sockets)))
	if refusal != nil {
		b.results.note("%s refused after %d idle WebSockets: %v", s.name, len(held.sockets), refusal)
	}
	defer held.close()
	if len(held.sockets) == 0 {
		return errors.New("it holds none")
	}
	if err := b.costOfIdle(ctx, s, before, len(held.sockets)); err != nil {
		return err
	}
	held.close()
	return b.memoryAfter(ctx, s, front)
}

func (b *bench) memory(name, key string, pids []int, share float64) error {
	bytes, err := privateBytes(pids)
	b.results.add(key, name, bytes/share)
	return err
}

// costOfIdle measures processor time and memory while n WebSockets are open and nothing happens.
func (b *bench) costOfIdle(ctx context.Context, s *server, before [2]float64, n int) error {
	if err := sleep(ctx, idleSettle); err != nil {
		return err
	}
	start, err := cpuSeconds(s.pids())
	if err != nil {
		return err
	}
	if err := sleep(ctx, idleWatch); err != nil {
		return err
	}
	end, err := cpuSeconds(s.pids())
	if err != nil {
		return err
	}
	b.results.add("idle cpu", s.name, (end-start)/idleWatch.Seconds()*100)
	pids := s.pids()
	after, err := privateBytesOf(pids[:1], pids[1:])
	if err != nil {
		return err
	}
	b.results.add("idle front", s.name, (after[0]-before[0])/float64(n))
	if len(pids) > 1 {
		b.results.add("idle beside", s.name, (after[1]-before[1])/float64(n))
	}
	return nil
}

// memoryAfter waits for the memory to come back, and records what there is then.
func (b *bench) memoryAfter(ctx context.Context, s *server, front []int) error {
	var bytes float64
	start := time.Now()
	limit := idleReturn
	if s.name != cellblock {
		limit = idleSettle
	}
	_ = eventually(ctx, limit, func() (err error) { // what it comes to is recorded, whatever it is
		if bytes, err = privateBytes(front); err == nil && bytes > gatewayGoal {
			err = fmt.Errorf("%.0f bytes", bytes)
		}
		return err
	})
	b.results.add("memory after", s.name, bytes)
	b.results.add("memory after wait", s.name, time.Since(start).Seconds())
	return ctx.Err()
}

// privateBytesOf is the memory of two groups of processes.
func privateBytesOf(front, beside []int) (bytes [2]float64, err error) {
	if bytes[0], err = privateBytes(front); err != nil {
		return bytes, err
	}
	bytes[1], err = privateBytes(beside)
	return bytes, err
}

// place is a kernel of somebody.
type place struct {
	*server // as its owner sees it
	kernel  string
}

// newPlaces starts manyKernels kernels, each of a person of its own where a server knows persons: Cellblock lets nobody
// have thousands of WebSockets.
func newPlaces(ctx context.Context, s *server) (places []place, err error) {
	for i := range manyKernels {
		own := *s
		if s.newToken != nil {
			if own.token, err = s.newToken(ctx, fmt.Sprintf("person%d", i)); err != nil {
				return nil, err
			}
		}
		id, err := own.newKernel(ctx, echoKernel)
		if err != nil {
			return nil, err
		}
		places = append(places, place{&own, id})
	}
	return places, nil
}

// idleSockets are open WebSockets that are read, so that pings are answered, and do nothing.
type idleSockets struct {
	mu      sync.Mutex
	sockets []*socket
	readers sync.WaitGroup
}

// openIdle opens idleWanted of them, or as many as the server accepts, each with a first answer from its kernel.
func openIdle(ctx context.Context, places []place) (*idleSockets, error) {
	ctx, cancel := context.WithTimeout(ctx, idleOpen)
	defer cancel()
	held := new(idleSockets)
	next := make(chan place)
	var dialers sync.WaitGroup
	var refusal error
	for range idleDialers {
		dialers.Go(func() {
			for p := range next {
				if err := held.open(ctx, p); err != nil {
					held.mu.Lock()
					refusal = err
					held.mu.Unlock()
					cancel()
				}
			}
		})
	}
	for i := 0; i < idleWanted && ctx.Err() == nil; i++ {
		select {
		case next <- places[i%len(places)]:
		case <-ctx.Done():
		}
	}
	close(next)
	dialers.Wait()
	return held, refusal
}

func (h *idleSockets) open(ctx context.Context, p place) error {
	c, err := dial(ctx, p.server, p.kernel, dialOptions{v1: true, small: true})
	if err != nil {
		return err
	}
	if _, err := c.kernelInfo(tripLimit); err != nil {
		c.close()
		return fmt.Errorf("no answer: %w", err)
	}
	if err := c.conn.SetReadDeadline(time.Time{}); err != nil {
		c.close()
		return err
	}
	c.frame = nil
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sockets = append(h.sockets, c)
	h.readers.Go(func() {
		for {
			_, r, err := c.conn.NextReader()
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, r) // an error comes again at the next
		}
	})
	return nil
}

// close closes all of them and waits for their readers. It may be called again.
func (h *idleSockets) close() {
	for _, c := range h.sockets {
		c.close()
	}
	h.readers.Wait()
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
