package containers

import (
	"cmp"
	"context"
	"fmt"
	"github.com/containers/podman/v4/pkg/bindings/containers"
	"os"
	"slices"

	"cellblock.io/cellblock/kernels"
)

// death says how a kernel's process ended. Only the engine's details about a container tell whether memory was short;
// where they cannot be had, the exit code has to do.
func (e *Engine) death(ctx context.Context, handle string, code int) kernels.Death {
	d := kernels.Death{Code: code}
	if code != killed {
		return d
	}
	call, cancel := e.conn.within(ctx, quickCall)
	defer cancel()
	details, err := containers.Inspect(call, e.cfg.name(roleKernel, handle), nil)
	if err != nil {
		e.log.Debug("look why a kernel was killed", "handle", handle, "err", err)
		return d
	}
	d.OutOfMemory = details.State != nil && details.State.OOMKilled
	return d
}

// killed is the exit code after SIGKILL.
const killed = 128 + 9

// List implements kernels.Observer with one call to the engine. A directory without containers, as a launch that was
// killed half-way leaves it, is an Instance with nothing but its handle. Oldest first.
func (e *Engine) List(ctx context.Context) ([]kernels.Instance, error) {
	// The directories first: a kernel that is made meanwhile is then seen as its containers or not at all.
	dirs, err := os.ReadDir(e.cfg.RunDir)
	if err != nil {
		return nil, fmt.Errorf("list kernels' directories: %w", err)
	}
	call, cancel := e.conn.within(ctx, quickCall)
	defer cancel()
	mine := map[string][]string{"label": {labelInstance + "=" + e.cfg.Instance}}
	found, err := containers.List(call, new(containers.ListOptions).WithAll(true).WithFilters(mine))
	if err != nil {
		return nil, failure(ctx, "list containers", err)
	}
	byHandle := make(map[string]*kernels.Instance)
	for _, dir := range dirs {
		if dir.IsDir() && handlePattern.MatchString(dir.Name()) {
			byHandle[dir.Name()] = &kernels.Instance{Record: kernels.Record{Handle: dir.Name()}}
		}
	}
	parts := make(map[string]int)
	for _, c := range found {
		rec, r, ok := record(c.Labels)
		if !ok {
			continue // of this instance, but no kernel's
		}
		at := byHandle[rec.Handle]
		if at == nil {
			at = new(kernels.Instance)
			byHandle[rec.Handle] = at
		}
		at.Record = rec
		if r == roleKernel {
			at.KernelRunning = c.State == "running"
			at.Network = cmp.Or(c.Labels[labelNetwork], string(NoNetwork))
			if c.Exited {
				at.Death = e.death(ctx, rec.Handle, int(c.ExitCode))
			}
		} else {
			at.BridgeRunning = c.State == "running"
		}
		parts[rec.Handle]++
		at.Complete = parts[rec.Handle] == 2
	}
	list := make([]kernels.Instance, 0, len(byHandle))
	for _, at := range byHandle {
		list = append(list, *at)
	}
	slices.SortFunc(list, func(a, b kernels.Instance) int {
		return cmp.Or(a.Record.Created.Compare(b.Record.Created), cmp.Compare(a.Record.Handle, b.Record.Handle))
	})
	return list, nil
}
