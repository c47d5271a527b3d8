package kernels_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"cellblock.io/cellblock/kernels"
)

const someID = "11111111-2222-3333-4444-555555555555"

func notebook(path string) kernels.SessionRequest {
	return kernels.SessionRequest{Path: path, Name: path, Type: "notebook"}
}

func TestSessionOfAPath(t *testing.T) {
	r := newRig(t)
	a, b := r.gateway(), r.gateway()
	open := func(g gateway) <-chan kernels.SessionModel {
		c := make(chan kernels.SessionModel, 1)
		go func() {
			s, err := g.OpenSession(r.ctx, alice, notebook("a.ipynb"))
			if err != nil {
				t.Error(err)
			}
			c <- s
		}()
		return c
	}
	one, two := open(a), open(b)
	first, second := receive(t, one), receive(t, two)
	if first.ID != second.ID || first.KernelID != second.KernelID || first.Kernel.ID != first.KernelID {
		t.Errorf("one path, two sessions: %+v, %+v", first, second)
	}
	other, err := b.OpenSession(r.ctx, bob, notebook("a.ipynb"))
	if err != nil || other.ID == first.ID {
		t.Errorf("somebody else's session: %+v, %v", other, err)
	}
	list, err := a.ListSessions(r.ctx, alice)
	if err != nil || len(list) != 1 || list[0].ID != first.ID || list[0].Path != "a.ipynb" {
		t.Errorf("list: %+v, %v", list, err)
	}
	_, err = a.GetSession(r.ctx, bob, first.ID)
	wantKind(t, err, kernels.ErrNotFound)
	wantKind(t, a.CloseSession(r.ctx, bob, first.ID), kernels.ErrNotFound)
}

func TestSessionRefusals(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	taken := notebook("taken")
	taken.ID = someID
	if _, err := g.OpenSession(r.ctx, alice, taken); err != nil {
		t.Fatal(err)
	}
	foreign := r.started(g, bob)
	with := func(change func(*kernels.SessionRequest)) kernels.SessionRequest {
		req := notebook("x")
		change(&req)
		return req
	}
	for _, tt := range []struct {
		name string
		req  kernels.SessionRequest
		kind error
		says string
	}{
		{"no path", with(func(s *kernels.SessionRequest) { s.Path = "" }), kernels.ErrInvalid, "A session needs a path."},
		{"no type", with(func(s *kernels.SessionRequest) { s.Type = "" }), kernels.ErrInvalid, "A session needs a type."},
		{"odd id", with(func(s *kernels.SessionRequest) { s.ID = "x" }), kernels.ErrInvalid, `"x"`},
		{"id taken", with(func(s *kernels.SessionRequest) { s.ID = someID }), kernels.ErrExists, someID},
		{"long path", with(func(s *kernels.SessionRequest) { s.Path = strings.Repeat("x", 5000) }), kernels.ErrInvalid, "4096"},
		{"long name", with(func(s *kernels.SessionRequest) { s.Name = strings.Repeat("x", 5000) }), kernels.ErrInvalid, "1024"},
		{"no text", with(func(s *kernels.SessionRequest) { s.Name = "\xff" }), kernels.ErrInvalid, "UTF-8"},
		{"somebody else's kernel", with(func(s *kernels.SessionRequest) { s.KernelID = foreign.ID }), kernels.ErrInvalid,
			"There is no kernel with the id"},
		{"unknown spec", with(func(s *kernels.SessionRequest) { s.Kernel.Spec = "julia" }), kernels.ErrUnknownSpec, "julia"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := g.OpenSession(r.ctx, alice, tt.req)
			wantKind(t, err, tt.kind)
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("the sentence is %q", err)
			}
		})
	}
	if list, err := g.List(r.ctx, alice); err != nil || len(list) != 1 {
		t.Errorf("refusals left kernels: %+v, %v", list, err)
	}
}

func TestSessionAttachesToAKernel(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	k := r.started(g, alice)
	req := notebook("a")
	req.KernelID, req.Kernel.Spec = k.ID, "r"
	s, err := g.OpenSession(r.ctx, alice, req)
	if err != nil || s.Kernel.ID != k.ID || s.Kernel.Spec != "python3" {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestSessionChanges(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	s, err := g.OpenSession(r.ctx, alice, notebook("a"))
	if err != nil {
		t.Fatal(err)
	}
	r.runs(s.Kernel, 1)
	path, name, empty := "b", "B", ""
	got, err := g.ChangeSession(r.ctx, alice, s.ID, kernels.SessionPatch{Path: &path, Name: &name, KernelID: s.KernelID})
	if err != nil || got.Path != "b" || got.Name != "B" || got.Type != "notebook" || got.KernelID != s.KernelID {
		t.Errorf("renamed: %+v, %v", got, err)
	}
	for what, p := range map[string]kernels.SessionPatch{
		"no path":        {Path: &empty},
		"unknown kernel": {KernelID: someID},
	} {
		if _, err := g.ChangeSession(r.ctx, alice, s.ID, p); !errors.Is(err, kernels.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err = g.ChangeSession(r.ctx, bob, s.ID, kernels.SessionPatch{Path: &path})
	wantKind(t, err, kernels.ErrNotFound)

	fresh, err := g.ChangeSession(r.ctx, alice, s.ID, kernels.SessionPatch{Spec: "r"})
	if err != nil || fresh.KernelID == s.KernelID || fresh.Kernel.Spec != "r" || fresh.Path != "b" {
		t.Errorf("new kernel: %+v, %v", fresh, err)
	}
	r.gone(s.Kernel)
	mine := r.started(g, alice)
	last, err := g.ChangeSession(r.ctx, alice, s.ID, kernels.SessionPatch{KernelID: mine.ID, Spec: "python3"})
	if err != nil || last.KernelID != mine.ID {
		t.Errorf("other kernel: %+v, %v", last, err)
	}
	r.gone(fresh.Kernel)
	if seen, err := g.GetSession(r.ctx, alice, s.ID); err != nil || seen.KernelID != mine.ID || seen.Path != "b" {
		t.Errorf("at the end: %+v, %v", seen, err)
	}
}

func TestSessionGoesWithItsKernel(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	s, err := g.OpenSession(r.ctx, alice, notebook("a"))
	if err != nil {
		t.Fatal(err)
	}
	r.runs(s.Kernel, 1)
	r.world.ClientShutdown(s.Kernel.Handle)
	r.gone(s.Kernel)
	if list, err := g.ListSessions(r.ctx, alice); err != nil || len(list) != 0 {
		t.Errorf("list: %+v, %v", list, err)
	}
	wantKind(t, g.CloseSession(r.ctx, alice, s.ID), kernels.ErrNotFound)
	again, err := g.OpenSession(r.ctx, alice, notebook("a"))
	if err != nil || again.KernelID == s.KernelID {
		t.Errorf("opened again: %+v, %v", again, err)
	}
}

func TestCloseSession(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	s, err := g.OpenSession(r.ctx, alice, notebook("a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.CloseSession(r.ctx, alice, s.ID); err != nil {
		t.Fatal(err)
	}
	r.gone(s.Kernel)
	wantKind(t, g.CloseSession(r.ctx, alice, s.ID), kernels.ErrNotFound)
	wantKind(t, g.CloseSession(r.ctx, alice, "no id"), kernels.ErrNotFound)

	last, err := g.OpenSession(r.ctx, alice, notebook("b"))
	if err != nil {
		t.Fatal(err)
	}
	entered, release := r.block("remove")
	stopped := async(func() error { return g.Stop(r.ctx, alice, last.KernelID) })
	receive(t, entered) // the kernel is on its way out, its session still recorded
	_, err = g.GetSession(r.ctx, alice, last.ID)
	wantKind(t, err, kernels.ErrNotFound)
	wantKind(t, g.CloseSession(r.ctx, alice, last.ID), kernels.ErrGone)
	wantKind(t, g.CloseSession(r.ctx, alice, last.ID), kernels.ErrNotFound)
	release()
	if err := receive(t, stopped); err != nil {
		t.Error(err)
	}
}

// forgetful is a SessionStore that cannot store.
type forgetful struct{ kernels.SessionStore }

func (forgetful) PutSession(context.Context, kernels.Session) error { return errors.New("disk full") }

func TestSessionThatCannotBeStoredLeavesNoKernel(t *testing.T) {
	r := newRig(t)
	g := r.gateway(func(c *kernels.Config) { c.Sessions = forgetful{r.store} })
	if _, err := g.OpenSession(r.ctx, alice, notebook("a")); err == nil {
		t.Error("no error")
	}
	if list, err := g.List(r.ctx, alice); err != nil || len(list) != 0 {
		t.Errorf("left: %+v, %v", list, err)
	}
}
