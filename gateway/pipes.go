package gateway

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"cellblock.io/cellblock/auth"
	"cellblock.io/cellblock/kernels"
)

// pipes are all WebSockets of a gateway, from their admission on.
type pipes struct {
	limit, limitPerOwner int
	gauge                prometheus.Gauge
	leave                context.Context // ends when the drain begins
	begin                context.CancelFunc
	all                  sync.WaitGroup

	mu       sync.Mutex
	leaving  bool
	admitted int
	perOwner map[kernels.Owner]int
	open     map[*pipe]struct{}
}

var (
	errDraining = refuse(http.StatusServiceUnavailable, "draining", "This gateway is about to stop. Try again.")
	errCrowded  = refuse(http.StatusServiceUnavailable, "too_many_websockets", "Too many WebSockets are open. Close some first.")
)

func newPipes(limit, limitPerOwner int, gauge prometheus.Gauge) *pipes {
	leave, begin := context.WithCancel(context.Background())
	return &pipes{limit: limit, limitPerOwner: limitPerOwner, gauge: gauge, leave: leave, begin: begin,
		perOwner: map[kernels.Owner]int{}, open: map[*pipe]struct{}{}}
}

// admit reserves a place for one more WebSocket of owner. Whoever gets nil calls start or dismiss afterwards.
func (p *pipes) admit(owner kernels.Owner) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.leaving:
		return errDraining
	case p.admitted >= p.limit || p.perOwner[owner] >= p.limitPerOwner:
		return errCrowded
	}
	p.all.Add(1)
	p.admitted++
	p.perOwner[owner]++
	return nil
}

// dismiss gives the place back.
func (p *pipes) dismiss(owner kernels.Owner) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.admitted--
	if p.perOwner[owner]--; p.perOwner[owner] == 0 {
		delete(p.perOwner, owner)
	}
	p.all.Done()
}

// start runs one pipe in the background, in the place that was reserved for it, and then gives the place back; the drain
// waits for it. The request ends meanwhile: its goroutine has a deep stack, and holds on to the HTTP server's buffers and
// all that was parsed, which is four times what a silent WebSocket needs.
func (p *pipes) start(one *pipe) {
	go func() {
		defer p.dismiss(kernels.Owner(one.who.Name))
		p.run(one)
	}()
}

// run runs one pipe as long as it lasts, known to the drain and the watch.
func (p *pipes) run(one *pipe) {
	p.mu.Lock()
	p.open[one] = struct{}{}
	p.gauge.Set(float64(len(p.open)))
	leaving := p.leaving
	p.mu.Unlock()
	if leaving { // it was admitted before
		one.goodbye()
	}
	one.run()
	p.mu.Lock()
	delete(p.open, one)
	p.gauge.Set(float64(len(p.open)))
	p.mu.Unlock()
}

// now lists the open pipes.
func (p *pipes) now() []*pipe {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]*pipe, 0, len(p.open))
	for one := range p.open {
		list = append(list, one)
	}
	return list
}

func (p *pipes) draining() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leaving
}

// drain admits nobody any more, lets all bridges say goodbye, and returns when every pipe has ended; those that last
// longer than the limit are cut. It is called once.
func (p *pipes) drain(limit time.Duration) {
	p.mu.Lock()
	p.leaving = true
	p.mu.Unlock()
	p.begin()
	cut := time.AfterFunc(limit, func() {
		for _, one := range p.now() {
			_ = one.bridge.Close()
			_ = one.client.Close()
		}
	})
	defer cut.Stop()
	var leaves errgroup.Group
	leaves.SetLimit(leavesAtOnce)
	for _, one := range p.now() {
		leaves.Go(func() error {
			one.goodbye()
			return nil
		})
	}
	_ = leaves.Wait()
	p.all.Wait()
}

// watch looks again and again whether those who opened WebSockets may still have them, and ends the others, until ctx
// ends. While credentials cannot be checked, everything stays as it is.
func (g *Gateway) watch(ctx context.Context) {
	tick := time.NewTicker(recheckEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			g.recheck(ctx)
		}
	}
}

// recheck asks once for each credential whose turn it is.
func (g *Gateway) recheck(ctx context.Context) {
	valid := map[string]bool{}
	for _, p := range g.pipes.now() {
		if time.Since(p.checked) < recheckAfter || ctx.Err() != nil {
			continue
		}
		ok, asked := valid[p.who.raw]
		if !asked {
			who, err := g.identify(ctx, p.who.raw, p.who.way)
			if err != nil && !errors.Is(err, errBad) && !errors.Is(err, auth.ErrInvalidCredential) {
				g.log.Warn("credentials of open WebSockets not checked", "error", err)
				return
			}
			ok = err == nil && who.Name == p.who.Name
			valid[p.who.raw] = ok
		}
		p.checked = time.Now()
		if !ok {
			g.log.Info("closing a WebSocket whose credential is no longer valid", "owner", p.who.Name)
			p.goodbye()
		}
	}
}
