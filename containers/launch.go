package containers

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/containers/podman/v4/pkg/bindings/containers"
	"github.com/containers/podman/v4/pkg/specgen"

	"cellblock.io/cellblock/kernels"
)

// Launch implements kernels.Launcher. It waits for whatever it has begun, also when ctx ends, so that nothing appears
// after it has returned; then it undoes it. Errors: kernels.ErrInvalid, kernels.ErrExists for a handle in use,
// kernels.ErrUnavailable.
func (e *Engine) Launch(ctx context.Context, l kernels.Launch) error {
	if err := checkLaunch(l); err != nil {
		return err
	}
	if err := e.checkOwner(ctx, l); err != nil {
		return err
	}
	link, err := e.connectionFor(ctx, l)
	if err != nil {
		return err
	}
	build := builder{cfg: e.cfg, caps: e.caps}
	kernel, err := build.kernel(l)
	if err != nil {
		return err
	}
	build.connect(kernel, l, link)
	pair := [2]*specgen.SpecGenerator{kernel, build.bridge(l)}
	dir := runDir(e.cfg.RunDir, l.Record.Handle)
	if err := dir.claim(); err != nil {
		return fmt.Errorf("run directory of kernel %s: %w", l.Record.Handle, err)
	}
	if err = e.launch(ctx, l, pair, link.network); err == nil {
		return nil
	}
	if undo := e.Remove(context.WithoutCancel(ctx), l.Record.Handle); undo != nil {
		err = errors.Join(err, fmt.Errorf("undo the launch: %w", undo))
	}
	return err
}

// launch makes everything that a claimed directory stands for.
func (e *Engine) launch(ctx context.Context, l kernels.Launch, pair [2]*specgen.SpecGenerator, network Network) error {
	if err := runDir(e.cfg.RunDir, l.Record.Handle).fill(l.Spec.Name, network); err != nil {
		return fmt.Errorf("run directory of kernel %s: %w", l.Record.Handle, err)
	}
	if network == Allowlist {
		if err := e.openOutlet(l.Record, l.Network); err != nil {
			return err
		}
	}
	// Podman would make a volume that is missing, and a plain one: both must be there before the containers are made.
	err := parallel(
		func() error { return e.makeMemories(ctx, l) },
		func() error { return e.makeWorkspace(ctx, l) },
	)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	return parallel(
		func() error { return e.run(ctx, roleKernel, pair[0]) },
		func() error { return e.run(ctx, roleBridge, pair[1]) },
	)
}

// run makes and starts one container.
func (e *Engine) run(ctx context.Context, r role, spec *specgen.SpecGenerator) error {
	call, cancel := e.conn.unbroken(ctx, makeCall)
	defer cancel()
	made, err := containers.CreateWithSpec(call, spec, nil)
	if err != nil {
		return failure(ctx, fmt.Sprintf("make the %s container from image %s", r, spec.Image), err)
	}
	for _, warning := range made.Warnings {
		e.log.Warn("Podman warns", "container", spec.Name, "warning", warning)
	}
	return e.start(ctx, r, made.ID)
}

// start starts a container; one that runs goes on.
func (e *Engine) start(ctx context.Context, r role, nameOrID string) error {
	call, cancel := e.conn.unbroken(ctx, changeCall)
	defer cancel()
	return failure(ctx, "start the "+string(r)+" container", containers.Start(call, nameOrID, nil))
}

// parallel runs all steps at once, waits for all of them and returns all their errors: none is broken off because
// another failed, so that what is undone afterwards holds still.
func parallel(steps ...func() error) error {
	errs := make([]error, len(steps))
	var wg sync.WaitGroup
	for i, step := range steps {
		wg.Go(func() { errs[i] = step() })
	}
	wg.Wait()
	return errors.Join(errs...)
}
