package containers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/containers/podman/v4/pkg/bindings/containers"
	"github.com/containers/podman/v4/pkg/errorhandling"
)

// removeLimit bounds Remove as a whole, pauses of the bindings included.
const removeLimit = 25 * time.Second

// Remove implements kernels.Launcher. Both containers are killed and removed at once, then their volumes in memory and the
// directory; the directory goes last, so that List shows whatever is left. It returns within 25 s. Errors:
// kernels.ErrUnavailable; calling again continues where it stopped.
func (e *Engine) Remove(ctx context.Context, handle string) error {
	if err := checkHandle(handle); err != nil {
		return err
	}
	if e.cfg.Egress != nil {
		e.cfg.Egress.Close(handle)
	}
	ctx, cancel := context.WithTimeout(ctx, removeLimit-time.Second)
	defer cancel()
	err := parallel(
		func() error { return e.removeContainer(ctx, roleKernel, handle) },
		func() error { return e.removeContainer(ctx, roleBridge, handle) },
	)
	if err != nil {
		return err
	}
	if err := e.removeMemories(ctx, handle); err != nil {
		return err
	}
	if err := runDir(e.cfg.RunDir, handle).remove(); err != nil {
		return fmt.Errorf("remove the directory of kernel %s: %w", handle, err)
	}
	return nil
}

// A container that ends by itself while it is being removed makes Podman refuse once ("container state improper").
const (
	removeTries = 4
	removePause = 250 * time.Millisecond
)

// removeContainer tries again what Podman itself refuses; where Podman cannot be reached there is nothing to try.
func (e *Engine) removeContainer(ctx context.Context, r role, handle string) error {
	for try := 1; ; try++ {
		refused, err := e.removeOnce(ctx, r, handle)
		if !refused || try == removeTries {
			return err
		}
		select {
		case <-time.After(removePause):
		case <-ctx.Done():
			return err
		}
	}
}

// removeOnce reports whether an error is Podman's own answer.
func (e *Engine) removeOnce(ctx context.Context, r role, handle string) (refused bool, err error) {
	call, cancel := e.conn.within(ctx, removeCall)
	defer cancel()
	opts := new(containers.RemoveOptions).WithForce(true).WithIgnore(true).WithTimeout(0)
	reports, err := containers.Remove(call, e.cfg.name(r, handle), opts)
	if answered(err, http.StatusNotFound) {
		return false, nil
	}
	var answer *errorhandling.ErrorModel
	refused = errors.As(err, &answer)
	for _, report := range reports {
		err = errors.Join(err, report.Err)
		refused = refused || report.Err != nil
	}
	return refused, failure(ctx, "remove the "+string(r)+" container", err)
}
