package kernels

import "context"

// Manager drives all kernels of one machine.
type Manager struct{ cfg Config }

// New makes a Manager; it starts nothing. The Config must be valid.
func New(c Config) *Manager { return &Manager{cfg: c.withDefaults()} }

// Run blocks until ctx ends and all that it started has ended.
func (m *Manager) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Start reserves a place and records the kernel; it is launched in the background.
func (m *Manager) Start(ctx context.Context, owner Owner, req StartRequest) (Kernel, error) {
	return Kernel{}, ErrUnavailable
}

// Get returns one kernel.
func (m *Manager) Get(ctx context.Context, owner Owner, id string) (Kernel, error) {
	return Kernel{}, ErrUnavailable
}

// List returns all of one owner's kernels, or everybody's.
func (m *Manager) List(ctx context.Context, owner Owner) ([]Kernel, error) { return nil, ErrUnavailable }

// Interrupt interrupts what the kernel runs.
func (m *Manager) Interrupt(ctx context.Context, owner Owner, id string) error { return ErrUnavailable }

// Restart replaces the kernel's process.
func (m *Manager) Restart(ctx context.Context, owner Owner, id string) (Kernel, error) {
	return Kernel{}, ErrUnavailable
}

// Stop ends a kernel for good.
func (m *Manager) Stop(ctx context.Context, owner Owner, id string) error { return ErrUnavailable }

// Specs returns all kernelspecs and the name of the default one.
func (m *Manager) Specs(ctx context.Context) (specs map[string]Spec, defaultName string, err error) {
	return nil, "", ErrUnavailable
}

// SessionRequest is what a client may say about a session it wants.
type SessionRequest struct {
	ID       string // wanted id, or empty
	Path     string // required
	Name     string
	Type     string       // required: "notebook", "console", …
	KernelID string       // attach to this kernel of the same owner; wins over Kernel
	Kernel   StartRequest // otherwise start this one
}

// SessionPatch is what a client may change of a session; nil and "" leave things as they are.
type SessionPatch struct {
	Path, Name, Type *string
	KernelID         string // attach to this kernel; wins over Spec
	Spec             string // or start one of this kernelspec
}

// SessionModel is a session with its kernel.
type SessionModel struct {
	Session
	Kernel Kernel
}

// OpenSession returns the session of that path, or opens one.
func (m *Manager) OpenSession(ctx context.Context, owner Owner, req SessionRequest) (SessionModel, error) {
	return SessionModel{}, ErrUnavailable
}

// GetSession returns one session.
func (m *Manager) GetSession(ctx context.Context, owner Owner, id string) (SessionModel, error) {
	return SessionModel{}, ErrUnavailable
}

// ListSessions returns all of the owner's sessions.
func (m *Manager) ListSessions(ctx context.Context, owner Owner) ([]SessionModel, error) {
	return nil, ErrUnavailable
}

// ChangeSession changes a session; a new kernel ends the old one.
func (m *Manager) ChangeSession(ctx context.Context, owner Owner, id string, p SessionPatch) (SessionModel, error) {
	return SessionModel{}, ErrUnavailable
}

// CloseSession closes a session and ends its kernel; ErrGone when the kernel had gone first.
func (m *Manager) CloseSession(ctx context.Context, owner Owner, id string) error { return ErrUnavailable }
