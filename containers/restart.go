package containers

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/containers/podman/v4/libpod/define"
	"github.com/containers/podman/v4/pkg/bindings/containers"
	"github.com/containers/podman/v4/pkg/errorhandling"

	"cellblock.io/cellblock/kernels"
)

// Restart implements kernels.Launcher. The kernel's container is killed if it runs and started again: a new process and
// nothing left of the old one but its workspace. What it left among the sockets stays while the bridge runs; a kernel
// replaces its own, and the space there is bounded. Errors: kernels.ErrNotFound, kernels.ErrUnavailable.
func (e *Engine) Restart(ctx context.Context, handle string) error {
	if err := checkHandle(handle); err != nil {
		return err
	}
	return parallel(
		func() error {
			if err := e.kill(ctx, e.cfg.name(roleKernel, handle)); err != nil {
				return notFound(err)
			}
			return notFound(e.start(ctx, roleKernel, e.cfg.name(roleKernel, handle)))
		},
		func() error { return notFound(e.start(ctx, roleBridge, e.cfg.name(roleBridge, handle))) },
	)
}

// Revive implements kernels.Launcher. Errors: kernels.ErrNotFound when a part of the pair is missing,
// kernels.ErrUnavailable.
func (e *Engine) Revive(ctx context.Context, handle string) error {
	if err := checkHandle(handle); err != nil {
		return err
	}
	return parallel(
		func() error { return notFound(e.start(ctx, roleKernel, e.cfg.name(roleKernel, handle))) },
		func() error { return notFound(e.start(ctx, roleBridge, e.cfg.name(roleBridge, handle))) },
	)
}

// Interrupt implements kernels.Launcher. The signal goes to process 1 of the container; an init passes it on to the
// kernel. Errors: kernels.ErrNotFound, kernels.ErrUnavailable also when the kernel's process has ended.
func (e *Engine) Interrupt(ctx context.Context, handle string) error {
	if err := checkHandle(handle); err != nil {
		return err
	}
	call, cancel := e.conn.within(ctx, quickCall)
	defer cancel()
	err := containers.Kill(call, e.cfg.name(roleKernel, handle), new(containers.KillOptions).WithSignal("SIGINT"))
	if notRunning(err) {
		return fmt.Errorf("interrupt the kernel: %w: %w", kernels.ErrUnavailable, err)
	}
	return notFound(failure(ctx, "interrupt the kernel", err))
}

// kill ends a container with SIGKILL and returns when it has ended; one that does not run is left as it is.
func (e *Engine) kill(ctx context.Context, name string) error {
	call, cancel := e.conn.within(ctx, changeCall)
	defer cancel()
	return failure(ctx, "kill "+name, containers.Stop(call, name, new(containers.StopOptions).WithTimeout(0)))
}

// notRunning reports whether err is the engine's answer that a container has no process. Podman 4.3 gives it the status
// of an internal error.
func notRunning(err error) bool {
	var answer *errorhandling.ErrorModel
	return errors.As(err, &answer) &&
		(answer.Code() == http.StatusConflict || answer.Because == define.ErrCtrStateInvalid.Error())
}

// notFound adds kernels.ErrNotFound to the engine's "no such container".
func notFound(err error) error {
	if answered(err, http.StatusNotFound) {
		return fmt.Errorf("%w: %w", kernels.ErrNotFound, err)
	}
	return err
}
