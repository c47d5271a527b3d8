package kernelstest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"cellblock.io/cellblock/kernels"
)

// watchPatience is how soon Watch must tell of an end.
const watchPatience = 2 * time.Second

// killed is the exit code of a process that got SIGKILL.
const killed = 137

// Place is where a Launcher's kernels run, with the views of it that LauncherSuite needs.
type Place struct {
	Launcher kernels.Launcher
	Observer kernels.Observer
	// Launch describes a kernel of owner that will start, with an id and a handle not used before.
	Launch func(owner kernels.Owner) kernels.Launch
	// Broken describes a kernel whose launch must fail.
	Broken func(owner kernels.Owner) kernels.Launch
	// Kill ends a kernel's or its bridge's process as SIGKILL from outside does.
	Kill func(t *testing.T, handle string, bridge bool)
	// Process identifies the process that runs: another after a restart.
	Process func(t *testing.T, handle string, bridge bool) string
	// Watching waits until a Watch that has just been called tells of ends; nil where calls take longer than that anyway.
	Watching func(t *testing.T)
	// Again returns the Launcher and Observer of another program in the same place, which knows nothing of this one.
	Again func(t *testing.T) (kernels.Launcher, kernels.Observer)
	// Leftovers names everything that there is of a kernel, outside of Observer's knowledge too.
	Leftovers func(t *testing.T, handle string) []string
}

// LauncherSuite holds a Launcher and its Observer to their contract. Other kernels may exist in the place.
func LauncherSuite(t *testing.T, open func(t *testing.T) Place) {
	tests := []struct {
		name string
		run  func(t *testing.T, p Place)
	}{
		{"a launched kernel is listed", launchListed},
		{"three at once", launchThree},
		{"a failed launch leaves nothing", launchFails},
		{"an end is seen", endSeen},
		{"restart", restart},
		{"restart starts what has ended", restartDead},
		{"revive", revive},
		{"remove leaves nothing", removeAll},
		{"a kernel that is not there", notThere},
		{"another program takes over", takeOver},
		{"watch ends with its context", watchEnds},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, open(t)) })
	}
}

func launchListed(t *testing.T, p Place) {
	l := p.launch(t, "alice")
	got, ok := p.find(t, l.Record.Handle)
	want := kernels.Record{
		ID: l.Record.ID, Owner: l.Record.Owner, Handle: l.Record.Handle, Spec: l.Record.Spec, Created: l.Record.Created,
	}
	if !ok || !got.Record.Created.Equal(want.Created) {
		t.Fatalf("listed %+v, want one created %v", got, want.Created)
	}
	got.Record.Created = want.Created
	if full := (kernels.Instance{Record: want, KernelRunning: true, BridgeRunning: true, Complete: true, Network: "none"}); got != full {
		t.Errorf("listed %+v, want %+v", got, full)
	}
}

func launchThree(t *testing.T, p Place) {
	var all []kernels.Launch
	for range 3 {
		all = append(all, p.Launch("alice"))
	}
	var wg sync.WaitGroup
	for _, l := range all {
		t.Cleanup(func() { p.remove(t, l.Record.Handle) })
		wg.Go(func() {
			if err := p.Launcher.Launch(t.Context(), l); err != nil {
				t.Errorf("launch: %v", err)
			}
		})
	}
	wg.Wait()
	for _, l := range all {
		p.wantRunning(t, l.Record.Handle, true, true)
	}
	for _, l := range all {
		wg.Go(func() { p.remove(t, l.Record.Handle) })
	}
	wg.Wait()
	for _, l := range all {
		p.wantGone(t, l.Record.Handle)
	}
}

func launchFails(t *testing.T, p Place) {
	l := p.Broken("alice")
	if err := p.Launcher.Launch(t.Context(), l); err == nil {
		t.Error("launched")
	}
	p.wantGone(t, l.Record.Handle)
}

func endSeen(t *testing.T, p Place) {
	l := p.launch(t, "alice")
	exits := p.watch(t, l.Record.Handle)
	p.Kill(t, l.Record.Handle, false)
	exits.want(t, kernels.Exit{Handle: l.Record.Handle, Code: killed})
	p.wantRunning(t, l.Record.Handle, false, true)
	if i, _ := p.find(t, l.Record.Handle); i.Death != (kernels.Death{Code: killed}) {
		t.Errorf("death %+v", i.Death)
	}
	p.Kill(t, l.Record.Handle, true)
	exits.want(t, kernels.Exit{Handle: l.Record.Handle, Bridge: true, Code: killed})
	p.wantRunning(t, l.Record.Handle, false, false)
}

func restart(t *testing.T, p Place) {
	l := p.launch(t, "alice")
	kernel, bridge := p.Process(t, l.Record.Handle, false), p.Process(t, l.Record.Handle, true)
	if err := p.Launcher.Restart(t.Context(), l.Record.Handle); err != nil {
		t.Fatal(err)
	}
	p.wantRunning(t, l.Record.Handle, true, true)
	if p.Process(t, l.Record.Handle, false) == kernel {
		t.Error("the kernel's process is the same")
	}
	if p.Process(t, l.Record.Handle, true) != bridge {
		t.Error("the bridge was restarted too")
	}
}

func restartDead(t *testing.T, p Place) {
	l := p.launch(t, "alice")
	for _, both := range []bool{false, true} {
		p.Kill(t, l.Record.Handle, false)
		p.waitRunning(t, l.Record.Handle, false, true)
		if both {
			p.Kill(t, l.Record.Handle, true)
			p.waitRunning(t, l.Record.Handle, false, false)
		}
		if err := p.Launcher.Restart(t.Context(), l.Record.Handle); err != nil {
			t.Fatal(err)
		}
		p.wantRunning(t, l.Record.Handle, true, true)
	}
}

func revive(t *testing.T, p Place) {
	l := p.launch(t, "alice")
	revive := func() (kernel, bridge string) {
		t.Helper()
		if err := p.Launcher.Revive(t.Context(), l.Record.Handle); err != nil {
			t.Fatal(err)
		}
		p.wantRunning(t, l.Record.Handle, true, true)
		return p.Process(t, l.Record.Handle, false), p.Process(t, l.Record.Handle, true)
	}
	kernel, bridge := p.Process(t, l.Record.Handle, false), p.Process(t, l.Record.Handle, true)
	if k, b := revive(); k != kernel || b != bridge {
		t.Error("replaced processes that were running")
	}
	p.Kill(t, l.Record.Handle, false)
	p.waitRunning(t, l.Record.Handle, false, true)
	if k, b := revive(); k == kernel || b != bridge {
		t.Error("of a dead kernel: not the kernel alone was started")
	}
	kernel = p.Process(t, l.Record.Handle, false)
	p.Kill(t, l.Record.Handle, true)
	p.waitRunning(t, l.Record.Handle, true, false)
	if k, b := revive(); k != kernel || b == bridge {
		t.Error("of a dead bridge: not the bridge alone was started")
	}
}

func removeAll(t *testing.T, p Place) {
	l := p.launch(t, "alice")
	if left := p.Leftovers(t, l.Record.Handle); len(left) == 0 {
		t.Error("Leftovers sees nothing of a running kernel")
	}
	p.remove(t, l.Record.Handle)
	p.wantGone(t, l.Record.Handle)
	p.remove(t, l.Record.Handle) // nothing to remove is a success
}

func notThere(t *testing.T, p Place) {
	handle := p.Launch("alice").Record.Handle
	for name, call := range map[string]func(context.Context, string) error{
		"restart": p.Launcher.Restart, "revive": p.Launcher.Revive, "interrupt": p.Launcher.Interrupt,
	} {
		if err := call(t.Context(), handle); err == nil {
			t.Errorf("%s succeeded", name)
		}
	}
	p.wantGone(t, handle)
}

func takeOver(t *testing.T, p Place) {
	l := p.launch(t, "alice")
	before, _ := p.find(t, l.Record.Handle)
	p.Launcher, p.Observer = p.Again(t)
	if after, ok := p.find(t, l.Record.Handle); !ok || after != before {
		t.Errorf("listed %+v, before %+v", after, before)
	}
	exits := p.watch(t, l.Record.Handle)
	p.Kill(t, l.Record.Handle, false)
	exits.want(t, kernels.Exit{Handle: l.Record.Handle, Code: killed})
	p.remove(t, l.Record.Handle)
	p.wantGone(t, l.Record.Handle)
}

func watchEnds(t *testing.T, p Place) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Observer.Watch(ctx, func(kernels.Exit) {}) }()
	cancel()
	select {
	case err := <-done:
		if err == nil {
			t.Error("Watch returned no error")
		}
	case <-time.After(patience):
		t.Error("Watch goes on after its context")
	}
}

// launch starts a kernel that goes with the test.
func (p Place) launch(t *testing.T, owner kernels.Owner) kernels.Launch {
	t.Helper()
	l := p.Launch(owner)
	t.Cleanup(func() { p.remove(t, l.Record.Handle) })
	if err := p.Launcher.Launch(t.Context(), l); err != nil {
		t.Fatalf("launch: %v", err)
	}
	return l
}

func (p Place) remove(t *testing.T, handle string) {
	t.Helper()
	if err := p.Launcher.Remove(context.WithoutCancel(t.Context()), handle); err != nil {
		t.Errorf("remove: %v", err)
	}
}

// find returns what List tells of one kernel.
func (p Place) find(t *testing.T, handle string) (kernels.Instance, bool) {
	t.Helper()
	all, err := p.Observer.List(t.Context())
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	at := slices.IndexFunc(all, func(i kernels.Instance) bool { return i.Record.Handle == handle })
	if at < 0 {
		return kernels.Instance{}, false
	}
	return all[at], true
}

func (p Place) wantGone(t *testing.T, handle string) {
	t.Helper()
	if i, ok := p.find(t, handle); ok {
		t.Errorf("still listed: %+v", i)
	}
	if left := p.Leftovers(t, handle); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func (p Place) wantRunning(t *testing.T, handle string, kernel, bridge bool) {
	t.Helper()
	if i, ok := p.find(t, handle); !ok || !i.Complete || i.KernelRunning != kernel || i.BridgeRunning != bridge {
		t.Errorf("listed %+v, want kernel running: %t, bridge running: %t", i, kernel, bridge)
	}
}

// waitRunning waits until List has noticed.
func (p Place) waitRunning(t *testing.T, handle string, kernel, bridge bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if i, _ := p.find(t, handle); i.KernelRunning == kernel && i.BridgeRunning == bridge {
			return
		}
	}
	p.wantRunning(t, handle, kernel, bridge)
}

// exits are the ends of one kernel's processes, as Watch told them.
type exits chan kernels.Exit

// watch starts watching one kernel, whose bridge goes on and whose kernel is restarted until Watch has seen that.
func (p Place) watch(t *testing.T, handle string) exits {
	t.Helper()
	seen := make(exits, 64)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	wg.Go(func() {
		err := p.Observer.Watch(ctx, func(e kernels.Exit) {
			if e.Handle == handle {
				seen <- e
			}
		})
		if ctx.Err() == nil {
			t.Errorf("Watch ended: %v", err)
		}
	})
	if p.Watching != nil {
		p.Watching(t)
	}
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if err := p.Launcher.Restart(t.Context(), handle); err != nil {
			t.Fatalf("restart: %v", err)
		}
		select {
		case e := <-seen:
			if want := (kernels.Exit{Handle: handle, Code: killed}); e != want {
				t.Errorf("saw %+v, want %+v", e, want)
			}
			return seen
		case <-time.After(watchPatience):
		}
	}
	t.Fatal("Watch sees no end")
	return nil
}

// want waits for the next end.
func (x exits) want(t *testing.T, want kernels.Exit) {
	t.Helper()
	select {
	case got := <-x:
		if got != want {
			t.Errorf("saw %+v, want %+v", got, want)
		}
	case <-time.After(watchPatience):
		t.Errorf("did not see %+v within %v", want, watchPatience)
	}
}
