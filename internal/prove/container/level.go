// Package container is the isolation level "container" of `cellblock prove`: places are containers of the engine that
// runs the kernels, with a kernel's spec.
package container

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"

	"cellblock.io/cellblock/containers"
	"cellblock.io/cellblock/internal/prove"
	"cellblock.io/cellblock/kernels"
)

// The tenants of a run: the neighbour, and one for each place that may exist beside it at a time. Their user ids are
// below those that real tenants are given.
const (
	neighbour    = kernels.Owner("cellblock-prove-b")
	neighbourUID = 19_900
	firstUID     = neighbourUID + 2
)

func tenant(slot int) (kernels.Owner, int) {
	return kernels.Owner(fmt.Sprintf("cellblock-prove-a%d", slot)), firstUID + 2*slot
}

// program starts the runner with the kernel image's own Python, wherever it is.
const program = `PATH="/opt/kernel/bin:$PATH"; exec python3 -I ` + containers.ConfDir + `/runner.py`

// Config is what a Level needs.
type Config struct {
	// Engine belongs to an instance of its own, which nobody else uses.
	Engine *containers.Engine
	// Spec is the kernelspec whose image is used. It must have Python.
	Spec kernels.Spec
	// Survey is a command line that runs the program of Survey in the engine's user name space.
	Survey []string
	// Secrets are in the environment of the engine, by their names for people.
	Secrets map[string]string
}

// Level implements prove.Level.
type Level struct {
	cfg      Config
	controls []prove.Control
	second   string // handle of the neighbour while it runs
	files    []string
	slots    chan int // tenants that have no place
}

var _ prove.Level = (*Level)(nil)

// New asks the engine what it can enforce and removes what a run before has left.
func New(ctx context.Context, cfg Config) (*Level, error) {
	can, err := cfg.Engine.Capabilities(ctx)
	if err != nil {
		return nil, err
	}
	l := &Level{cfg: cfg, slots: make(chan int, prove.Parallel)}
	for slot := range prove.Parallel {
		l.slots <- slot
	}
	for _, c := range containers.Controls() {
		l.controls = append(l.controls, prove.Control{Name: c.Name, What: c.What, Missing: unenforceable(c.Name, can)})
	}
	l.controls = append(l.controls, prove.Control{
		Name: "workspace-size", What: "the size of a workspace", Missing: "workspaces are directories without a quota",
	})
	return l, l.clean(ctx)
}

// unenforceable says why this machine cannot enforce a control.
func unenforceable(control string, can containers.Capabilities) string {
	switch {
	case slices.Contains(can.Missing(), control):
		return fmt.Sprintf("the engine is given no cgroup controller %s (it needs cgroup v2 with that one delegated)", control)
	case control == "init" && can.Init == "":
		return "catatonit is not installed"
	case control == "seccomp" && !can.Seccomp:
		return "the engine has no seccomp"
	}
	return ""
}

// clean removes everything of this instance.
func (l *Level) clean(ctx context.Context) error {
	old, err := l.cfg.Engine.List(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, i := range old {
		errs = append(errs, l.cfg.Engine.Remove(ctx, i.Record.Handle))
	}
	errs = append(errs, l.cfg.Engine.RemoveWorkspace(ctx, neighbour))
	for slot := range prove.Parallel {
		owner, _ := tenant(slot)
		errs = append(errs, l.cfg.Engine.RemoveWorkspace(ctx, owner))
	}
	return errors.Join(errs...)
}

// Name implements prove.Level.
func (l *Level) Name() string { return "container" }

// Controls implements prove.Level.
func (l *Level) Controls() []prove.Control { return l.controls }

// Targets implements prove.Level.
func (l *Level) Targets() prove.Targets {
	return prove.Targets{
		Secrets: l.cfg.Secrets, Private: true, Bounds: l.cfg.Engine.Bounds(), Places: containers.Places(),
		Files: l.files,
	}
}

// Start implements prove.Level.
func (l *Level) Start(ctx context.Context, job prove.Job) (prove.Cell, error) {
	if job.Neighbour {
		job.Without = append(job.Without, "seccomp") // it uses more than kernels may, to notice more
		return l.start(ctx, job, &cell{level: l, slot: -1, owner: neighbour, uid: neighbourUID})
	}
	slot := <-l.slots
	owner, uid := tenant(slot)
	c, err := l.start(ctx, job, &cell{level: l, slot: slot, owner: owner, uid: uid, weak: len(job.Without) > 0})
	if err != nil {
		l.slots <- slot
	}
	return c, err
}

// start starts a container for a cell that lacks only its handle and its place.
func (l *Level) start(ctx context.Context, job prove.Job, c *cell) (prove.Cell, error) {
	random := make([]byte, 16)
	rand.Read(random) // never fails
	handle := hex.EncodeToString(random)
	place, err := l.cfg.Engine.Try(ctx, containers.Trial{
		Launch: kernels.Launch{UID: c.uid, Spec: l.cfg.Spec, Record: kernels.Record{
			ID: uuid.NewString(), Owner: c.owner, Handle: handle, Spec: l.cfg.Spec.Name, Created: time.Now(),
		}},
		Command: []string{"/bin/sh", "-c", program},
		Files:   job.Files,
		Without: job.Without,
		Exposed: job.Exposed,
		Errno:   job.Errno, Joinable: job.Neighbour,
		Stranger: containers.Stranger{
			UID: neighbourUID, Owner: neighbour, Handle: l.second,
		},
	})
	if err != nil {
		return nil, err
	}
	if job.Neighbour {
		l.second = handle
		if dir, err := l.cfg.Engine.WorkspaceDir(ctx, c.owner); err == nil { // else one target less
			l.files = []string{filepath.Join(dir, "secret")}
		}
	}
	c.handle, c.place = handle, place
	return c, nil
}
