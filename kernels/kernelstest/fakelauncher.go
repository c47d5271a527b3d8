package kernelstest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"cellblock.io/cellblock/kernels"
)

// World is an engine, its kernels and their bridges in memory, for tests of the Manager: it is a kernels.Launcher, a
// kernels.Observer and kernels.Specs, and Bridge returns each kernel's kernels.Bridge. Tests make things fail or wait
// with On, and let processes die with the methods below. Several Managers may share a World, as gateways share an
// engine.
type World struct {
	mu       sync.Mutex
	pairs    map[string]*pair
	specs    map[string]kernels.Spec
	hooks    map[string]Hook
	calls    []string // "verb handle", in order
	active   map[string]string
	clashes  []string
	told     map[string][]string
	watchers map[*watcher]bool
	changed  chan struct{} // closed and replaced whenever something changes
}

// Hook is called before a call of the World is carried out and may block until ctx ends. Its error is the call's.
type Hook func(ctx context.Context, handle string) error

// pair is one kernel with its bridge.
type pair struct {
	launch        kernels.Launch
	kernelRunning bool
	bridgeRunning bool
	half          bool // one part is missing
	processes     int  // kernel processes so far
	mute          int  // processes up to this number do not answer
	death         kernels.Death
	status        kernels.BridgeStatus
}

// watcher is one call of Watch.
type watcher struct {
	exits  []kernels.Exit
	broken bool
}

var (
	_ kernels.Launcher = (*World)(nil)
	_ kernels.Observer = (*World)(nil)
	_ kernels.Specs    = (*World)(nil)
)

// NewWorld returns an empty World with these kernelspecs.
func NewWorld(specs ...kernels.Spec) *World {
	w := &World{
		pairs:    make(map[string]*pair),
		specs:    make(map[string]kernels.Spec),
		hooks:    make(map[string]Hook),
		active:   make(map[string]string),
		told:     make(map[string][]string),
		watchers: make(map[*watcher]bool),
		changed:  make(chan struct{}),
	}
	for _, s := range specs {
		w.specs[s.Name] = s
	}
	return w
}

// On has hook called before each call of verb ("launch", "restart", "revive", "signal", "remove", "list", "watch",
// "status", "interrupt", "shutdown", "ready", and each kernels.News); nil takes it away.
func (w *World) On(verb string, hook Hook) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hooks[verb] = hook
}

// call notes a call and runs its hook.
func (w *World) call(ctx context.Context, verb, handle string) error {
	w.mu.Lock()
	w.calls = append(w.calls, verb+" "+handle)
	hook := w.hooks[verb]
	w.mu.Unlock()
	if hook != nil {
		if err := hook(ctx, handle); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// change is a call that changes a pair; two at once for one handle are a fault of the caller (see Clashes).
func (w *World) change(ctx context.Context, verb, handle string, do func() error) error {
	w.mu.Lock()
	if other := w.active[handle]; other != "" {
		w.clashes = append(w.clashes, fmt.Sprintf("%s during %s of %s", verb, other, handle))
	}
	w.active[handle] = verb
	w.mu.Unlock()
	err := w.call(ctx, verb, handle)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.active, handle)
	defer w.notify()
	if err != nil {
		return err
	}
	return do()
}

// notify wakes everybody who waits. Called with mu held.
func (w *World) notify() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// Launch implements kernels.Launcher.
func (w *World) Launch(ctx context.Context, l kernels.Launch) error {
	handle := l.Record.Handle
	return w.change(ctx, "launch", handle, func() error {
		if w.pairs[handle] != nil {
			return fmt.Errorf("launch %s: there already", handle)
		}
		p := &pair{launch: l, bridgeRunning: true}
		p.startKernel()
		w.pairs[handle] = p
		return nil
	})
}

// Restart implements kernels.Launcher.
func (w *World) Restart(ctx context.Context, handle string) error {
	return w.change(ctx, "restart", handle, func() error {
		p, err := w.whole(handle)
		if err != nil {
			return err
		}
		if p.kernelRunning {
			w.report(kernels.Exit{Handle: handle, Code: 137})
		}
		p.startBridge()
		p.startKernel()
		return nil
	})
}

// Revive implements kernels.Launcher.
func (w *World) Revive(ctx context.Context, handle string) error {
	return w.change(ctx, "revive", handle, func() error {
		p, err := w.whole(handle)
		if err != nil {
			return err
		}
		p.startBridge()
		if !p.kernelRunning {
			p.startKernel()
		}
		return nil
	})
}

// Interrupt implements kernels.Launcher.
func (w *World) Interrupt(ctx context.Context, handle string) error {
	return w.change(ctx, "signal", handle, func() error {
		_, err := w.whole(handle)
		return err
	})
}

// Remove implements kernels.Launcher.
func (w *World) Remove(ctx context.Context, handle string) error {
	return w.change(ctx, "remove", handle, func() error {
		if p := w.pairs[handle]; p != nil {
			delete(w.pairs, handle)
			if p.kernelRunning {
				w.report(kernels.Exit{Handle: handle, Code: 137})
			}
			if p.bridgeRunning {
				w.report(kernels.Exit{Handle: handle, Bridge: true, Code: 137})
			}
		}
		return nil
	})
}

// List implements kernels.Observer.
func (w *World) List(ctx context.Context) ([]kernels.Instance, error) {
	if err := w.call(ctx, "list", ""); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []kernels.Instance
	for _, p := range w.pairs {
		r := p.launch.Record
		all = append(all, kernels.Instance{
			Record:        kernels.Record{ID: r.ID, Owner: r.Owner, Handle: r.Handle, Spec: r.Spec, Created: r.Created},
			KernelRunning: p.kernelRunning,
			BridgeRunning: p.bridgeRunning,
			Complete:      !p.half,
			Death:         p.death,
			Network:       cmp.Or(p.launch.Network, "none"),
		})
	}
	return all, nil
}

// Watch implements kernels.Observer.
func (w *World) Watch(ctx context.Context, fn func(kernels.Exit)) error {
	if err := w.call(ctx, "watch", ""); err != nil {
		return err
	}
	self := &watcher{}
	w.mu.Lock()
	w.watchers[self] = true
	w.notify()
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.watchers, self)
	}()
	for {
		w.mu.Lock()
		exits, broken, changed := self.exits, self.broken, w.changed
		self.exits = nil
		w.mu.Unlock()
		for _, e := range exits {
			fn(e)
		}
		if broken {
			return errors.New("connection to the engine lost")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Specs implements kernels.Specs.
func (w *World) Specs(context.Context) (map[string]kernels.Spec, error) { return w.specs, nil }

// whole returns a pair of which no part is missing. Called with mu held.
func (w *World) whole(handle string) (*pair, error) {
	p := w.pairs[handle]
	if p == nil || p.half {
		return nil, fmt.Errorf("no such container: %s", handle)
	}
	return p, nil
}

// report tells all watchers of an end. Called with mu held.
func (w *World) report(e kernels.Exit) {
	for v := range w.watchers {
		if !v.broken {
			v.exits = append(v.exits, e)
		}
	}
	w.notify()
}

// startKernel starts a kernel process, which the bridge meets if it runs.
func (p *pair) startKernel() {
	p.kernelRunning = true
	p.processes++
	if p.bridgeRunning {
		p.status.Generation++
	}
	p.status.ShutdownRequested = false
	p.status.State = kernels.Idle
	p.status.Broken = ""
}

// startBridge starts a bridge if none runs; it counts from 1 again.
func (p *pair) startBridge() {
	if p.bridgeRunning {
		return
	}
	p.bridgeRunning = true
	p.status = kernels.BridgeStatus{State: kernels.Idle}
	if p.kernelRunning {
		p.status.Generation = 1
	}
}

// Calls returns how often verb was called, for one handle or for all when it is empty.
func (w *World) Calls(verb, handle string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, c := range w.calls {
		if c == verb+" "+handle || handle == "" && len(c) > len(verb) && c[:len(verb)+1] == verb+" " {
			n++
		}
	}
	return n
}

// Clashes returns which calls met another one for the same kernel; there must be none.
func (w *World) Clashes() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.clashes)
}
