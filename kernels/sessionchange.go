package kernels

import (
	"context"
	"errors"
	"fmt"
)

// SessionPatch is what a client may change of a session; nil and "" leave things as they are.
type SessionPatch struct {
	Path, Name, Type *string
	KernelID         string // use this kernel of the same owner; wins over Spec
	Spec             string // start a kernel of this kernelspec and use it
}

// ChangeSession changes a session. A kernel other than the one it has takes that one's place, which is stopped.
// Errors: ErrNotFound, ErrInvalid, also for a kernel that is not there, and those of Start.
func (m *Manager) ChangeSession(ctx context.Context, owner Owner, id string, p SessionPatch) (SessionModel, error) {
	var model SessionModel
	var old string
	err := m.withSessions(ctx, owner, func(ctx context.Context) error {
		before, err := m.GetSession(ctx, owner, id)
		if err != nil {
			return err
		}
		model, err = m.patch(ctx, before, p)
		if model.KernelID != before.KernelID {
			old = before.KernelID
		}
		return err
	})
	if err != nil {
		return SessionModel{}, err
	}
	if old != "" {
		if err := m.Stop(ctx, owner, old); err != nil && !errors.Is(err, ErrNotFound) {
			return SessionModel{}, fmt.Errorf("stop the session's former kernel: %w", err)
		}
	}
	return model, nil
}

// patch stores the session as the patch wants it.
func (m *Manager) patch(ctx context.Context, before SessionModel, p SessionPatch) (SessionModel, error) {
	after := before
	for _, field := range []struct {
		to   *string
		from *string
	}{{&after.Path, p.Path}, {&after.Name, p.Name}, {&after.Type, p.Type}} {
		if field.from != nil {
			*field.to = *field.from
		}
	}
	if err := after.validate(); err != nil {
		return SessionModel{}, err
	}
	started := false
	if p.KernelID != "" && p.KernelID != before.KernelID || p.KernelID == "" && p.Spec != "" {
		var err error
		after.Kernel, started, err = m.kernelFor(ctx, before.Owner, p.KernelID, StartRequest{Spec: p.Spec})
		if err != nil {
			return SessionModel{}, err
		}
		after.KernelID = after.Kernel.ID
	}
	if err := m.put(ctx, after.Session); err != nil {
		return SessionModel{}, errors.Join(err, m.undo(ctx, after.Kernel, started))
	}
	return after, nil
}
