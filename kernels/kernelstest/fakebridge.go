package kernelstest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"cellblock.io/cellblock/kernels"
)

// bridge is the bridge of one kernel of a World.
type bridge struct {
	w      *World
	handle string
}

var _ kernels.Bridge = bridge{}

// Bridge returns the control side of a kernel's bridge, whether or not there is one.
func (w *World) Bridge(handle string) kernels.Bridge { return bridge{w, handle} }

// with runs fn on the pair if its bridge runs.
func (b bridge) with(ctx context.Context, verb string, fn func(*pair) error) error {
	if err := b.w.call(ctx, verb, b.handle); err != nil {
		return fmt.Errorf("%w: %w", err, kernels.ErrUnavailable)
	}
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	p, err := b.running()
	if err != nil {
		return err
	}
	return fn(p)
}

// running returns the pair if its bridge runs. Called with the World's mu held.
func (b bridge) running() (*pair, error) {
	if p := b.w.pairs[b.handle]; p != nil && p.bridgeRunning {
		return p, nil
	}
	return nil, kernels.ErrUnavailable
}

// Status implements kernels.Bridge.
func (b bridge) Status(ctx context.Context) (st kernels.BridgeStatus, err error) {
	err = b.with(ctx, "status", func(p *pair) error {
		st = p.status
		return nil
	})
	return st, err
}

// Interrupt implements kernels.Bridge.
func (b bridge) Interrupt(ctx context.Context) error {
	return b.with(ctx, "interrupt", func(p *pair) error {
		if !p.kernelRunning {
			return kernels.ErrUnavailable
		}
		return nil
	})
}

// Shutdown implements kernels.Bridge: a kernel that runs ends at once.
func (b bridge) Shutdown(ctx context.Context, restart bool) error {
	return b.with(ctx, "shutdown", func(p *pair) error {
		p.status.ShutdownRequested = !restart
		if p.kernelRunning {
			p.kernelRunning = false
			b.w.report(kernels.Exit{Handle: b.handle})
		}
		return nil
	})
}

// Ready implements kernels.Bridge.
func (b bridge) Ready(ctx context.Context, after int) (int, error) {
	if err := b.w.call(ctx, "ready", b.handle); err != nil {
		return 0, fmt.Errorf("%w: %w", err, kernels.ErrUnavailable)
	}
	for {
		b.w.mu.Lock()
		p, err := b.running()
		answered := 0
		if err == nil && p.kernelRunning && p.processes > p.mute && p.status.Generation > after {
			answered = p.status.Generation
		}
		changed := b.w.changed
		b.w.mu.Unlock()
		if err != nil || answered > 0 {
			return answered, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, fmt.Errorf("%w: %w", ctx.Err(), kernels.ErrUnavailable)
		}
	}
}

// Tell implements kernels.Bridge.
func (b bridge) Tell(ctx context.Context, n kernels.News, sentence string) error {
	return b.with(ctx, string(n), func(p *pair) error {
		switch n {
		case kernels.Warned:
			p.status.Warned = time.Now()
		case kernels.Over:
			p.status.State = kernels.Dead
		}
		b.w.told[b.handle] = append(b.w.told[b.handle], sentence)
		return nil
	})
}

// Told returns what a kernel's clients were told, in order.
func (w *World) Told(handle string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.told[handle])
}

// Farewell returns the last of it.
func (w *World) Farewell(handle string) string {
	if told := w.Told(handle); len(told) > 0 {
		return told[len(told)-1]
	}
	return ""
}

// Handles returns the handles of all kernels that exist, whole or in part.
func (w *World) Handles() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for h := range w.pairs {
		all = append(all, h)
	}
	slices.Sort(all)
	return all
}

// Launched returns with what a kernel was launched.
func (w *World) Launched(handle string) kernels.Launch {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.pairs[handle]; p != nil {
		return p.launch
	}
	return kernels.Launch{}
}

// Processes returns how many kernel processes a kernel has had, and whether kernel and bridge run.
func (w *World) Processes(handle string) (n int, kernel, bridge bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.pairs[handle]; p != nil {
		return p.processes, p.kernelRunning, p.bridgeRunning
	}
	return 0, false, false
}

// Watchers returns how many calls of Watch are going on.
func (w *World) Watchers() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.watchers)
}

// with runs fn on a pair that is there.
func (w *World) with(handle string, fn func(*pair)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.pairs[handle]; p != nil {
		fn(p)
		w.notify()
	}
}

// SetStatus changes what a kernel's bridge says.
func (w *World) SetStatus(handle string, fn func(*kernels.BridgeStatus)) {
	w.with(handle, func(p *pair) { fn(&p.status) })
}

// Mute keeps the next n processes of a kernel from ever answering.
func (w *World) Mute(handle string, n int) {
	w.with(handle, func(p *pair) { p.mute = p.processes + n })
}

// KillKernel lets a kernel's process die.
func (w *World) KillKernel(handle string) {
	w.with(handle, func(p *pair) {
		if p.kernelRunning {
			p.kernelRunning = false
			p.death = kernels.Death{Code: 137}
			p.status.State = kernels.Restarting
			w.report(kernels.Exit{Handle: handle, Code: p.death.Code})
		}
	})
}

// KillBridge lets a kernel's bridge die.
func (w *World) KillBridge(handle string) {
	w.with(handle, func(p *pair) {
		if p.bridgeRunning {
			p.bridgeRunning = false
			w.report(kernels.Exit{Handle: handle, Bridge: true, Code: 137})
		}
	})
}

// ClientShutdown lets a client ask the kernel on its own channel to end, as some do, and the kernel follow.
func (w *World) ClientShutdown(handle string) {
	w.with(handle, func(p *pair) {
		p.status.ShutdownRequested = true
		p.kernelRunning = false
		w.report(kernels.Exit{Handle: handle})
	})
}

// Halve takes away one part of a kernel's pair.
func (w *World) Halve(handle string) { w.with(handle, func(p *pair) { p.half = true }) }

// Plant makes a pair that no Manager launched: what a gateway that was killed may leave.
func (w *World) Plant(r kernels.Record, half bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := &pair{launch: kernels.Launch{Record: r}, bridgeRunning: true, half: half}
	p.startKernel()
	w.pairs[r.Handle] = p
	w.notify()
}

// BreakWatch breaks all calls of Watch off. What ends until they are called again is not reported.
func (w *World) BreakWatch() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for v := range w.watchers {
		v.broken = true
	}
	w.notify()
}
