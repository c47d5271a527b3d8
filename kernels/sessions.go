package kernels

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Limits of what a client may store in a session, in bytes.
const (
	maxSessionPath = 4096
	maxSessionText = 1024
)

// SessionRequest is what a client may say about a session it wants.
type SessionRequest struct {
	ID       string // wanted id, or empty for a random one
	Path     string // required: the document's path, or a made-up unique one
	Name     string
	Type     string       // required: "notebook", "console" …
	KernelID string       // attach to this kernel of the same owner; wins over Kernel
	Kernel   StartRequest // otherwise start this one
}

// SessionModel is a session with its kernel.
type SessionModel struct {
	Session
	Kernel Kernel
}

// OpenSession returns the session that the owner has for that path, or opens one with the kernel named or with a new
// one. Errors: ErrInvalid, ErrExists for a wanted id that is taken, and those of Start.
func (m *Manager) OpenSession(ctx context.Context, owner Owner, req SessionRequest) (SessionModel, error) {
	s := Session{ID: req.ID, Owner: owner, Path: req.Path, Name: req.Name, Type: req.Type, KernelID: req.KernelID}
	if s.ID == "" {
		s.ID = uuid.NewString()
	}
	if err := s.validate(); err != nil {
		return SessionModel{}, err
	}
	var model SessionModel
	err := m.withSessions(ctx, owner, func(ctx context.Context) error {
		open, err := m.ListSessions(ctx, owner)
		if err != nil {
			return err
		}
		for _, other := range open {
			if other.Path == s.Path {
				model = other
				return nil
			}
		}
		for _, other := range open {
			if other.ID == s.ID {
				return refuse(ErrExists, "A session with the id %s is there already.", s.ID)
			}
		}
		model, err = m.open(ctx, s, req.Kernel)
		return err
	})
	return model, err
}

// open stores a new session with its kernel.
func (m *Manager) open(ctx context.Context, s Session, wanted StartRequest) (SessionModel, error) {
	k, started, err := m.kernelFor(ctx, s.Owner, s.KernelID, wanted)
	if err != nil {
		return SessionModel{}, err
	}
	s.KernelID = k.ID
	if err := m.put(ctx, s); err != nil {
		return SessionModel{}, errors.Join(err, m.undo(ctx, k, started))
	}
	return SessionModel{Session: s, Kernel: k}, nil
}

// put stores a session.
func (m *Manager) put(ctx context.Context, s Session) error {
	err := m.cfg.Sessions.PutSession(ctx, s)
	if errors.Is(err, ErrNotFound) {
		return refuse(ErrDead, "The kernel ended before its session was there.")
	}
	if err != nil {
		return fmt.Errorf("store session: %w", err)
	}
	return nil
}

// kernelFor finds the kernel that a session is to have, or starts it.
func (m *Manager) kernelFor(ctx context.Context, owner Owner, id string, wanted StartRequest) (k Kernel, started bool,
	err error,
) {
	if id == "" {
		k, err = m.Start(ctx, owner, wanted)
		return k, err == nil, err
	}
	k, err = m.Get(ctx, owner, id)
	if errors.Is(err, ErrNotFound) {
		err = refuse(ErrInvalid, "There is no kernel with the id %s.", shown(id))
	}
	return k, false, err
}

// undo stops a kernel that was started for a session which could not be stored.
func (m *Manager) undo(ctx context.Context, k Kernel, started bool) error {
	if !started {
		return nil
	}
	if err := m.Stop(ctx, k.Owner, k.ID); err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("stop its kernel: %w", err)
	}
	return nil
}

// GetSession returns one session; ErrNotFound, also when its kernel has gone.
func (m *Manager) GetSession(ctx context.Context, owner Owner, id string) (SessionModel, error) {
	s, err := m.session(ctx, owner, id)
	if err != nil {
		return SessionModel{}, err
	}
	k, err := m.Get(ctx, owner, s.KernelID)
	if err != nil {
		return SessionModel{}, err
	}
	return SessionModel{Session: s, Kernel: k}, nil
}

// ListSessions returns all of the owner's sessions whose kernel is there.
func (m *Manager) ListSessions(ctx context.Context, owner Owner) ([]SessionModel, error) {
	sessions, err := m.cfg.Sessions.Sessions(ctx, owner)
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	models := make([]SessionModel, 0, len(sessions))
	if len(sessions) == 0 {
		return models, nil
	}
	kernels, err := m.List(ctx, owner)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]Kernel, len(kernels))
	for _, k := range kernels {
		byID[k.ID] = k
	}
	for _, s := range sessions {
		if k, ok := byID[s.KernelID]; ok {
			models = append(models, SessionModel{Session: s, Kernel: k})
		}
	}
	return models, nil
}

// CloseSession closes a session and stops its kernel. Errors: ErrNotFound, and ErrGone when the kernel had gone
// first; the session is closed then, too.
func (m *Manager) CloseSession(ctx context.Context, owner Owner, id string) error {
	s, err := m.session(ctx, owner, id)
	if err != nil {
		return err
	}
	if err := m.cfg.Sessions.DeleteSession(ctx, owner, id); err != nil {
		return fmt.Errorf("delete session: %w", err)
	}
	err = m.Stop(ctx, owner, s.KernelID)
	if errors.Is(err, ErrNotFound) {
		return ErrGone
	}
	return err
}

// session looks up a session.
func (m *Manager) session(ctx context.Context, owner Owner, id string) (Session, error) {
	if !owner.Valid() || !ValidID(id) {
		return Session{}, ErrNotFound
	}
	s, err := m.cfg.Sessions.Session(ctx, owner, id)
	if err != nil {
		return Session{}, fmt.Errorf("look up session: %w", err)
	}
	return s, nil
}

// withSessions runs fn while nobody else opens or changes sessions of that owner, so that two requests for one path
// do not end in two kernels.
func (m *Manager) withSessions(ctx context.Context, owner Owner, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, waitTimeout)
	defer cancel()
	name := fmt.Sprintf("sessions.%x", sha256.Sum256([]byte(owner)))[:48] // an owner may be too long for a lease's name
	return m.alone(ctx, name, true, func(ctx context.Context, _ *turn) error { return fn(ctx) })
}

// validate refuses what a session cannot be.
func (s Session) validate() error {
	switch {
	case !s.Owner.Valid():
		return refuse(ErrInvalid, "The account name %s cannot own sessions.", shown(string(s.Owner)))
	case !ValidID(s.ID):
		return refuse(ErrInvalid, "The session id %s does not have the form of a UUID.", shown(s.ID))
	case s.Path == "":
		return refuse(ErrInvalid, "A session needs a path.")
	case s.Type == "":
		return refuse(ErrInvalid, "A session needs a type.")
	case len(s.Path) > maxSessionPath:
		return refuse(ErrInvalid, "The path of a session has at most %d bytes.", maxSessionPath)
	case len(s.Name) > maxSessionText, len(s.Type) > maxSessionText:
		return refuse(ErrInvalid, "The name and the type of a session have at most %d bytes.", maxSessionText)
	case !utf8.ValidString(s.Path + s.Name + s.Type):
		return refuse(ErrInvalid, "The path, name and type of a session are UTF-8 text.")
	}
	return nil
}
