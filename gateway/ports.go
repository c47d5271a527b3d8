package gateway

import (
	"context"

	"cellblock.io/cellblock/auth"
	"cellblock.io/cellblock/kernels"
)

// Kernels is the domain as the edge uses it; *kernels.Manager is it. Every method takes the owner: another owner's
// kernel or session is kernels.ErrNotFound.
type Kernels interface {
	Registry
	Lifecycle
	Sessions
}

var (
	_ Kernels = (*kernels.Manager)(nil)
	_ Auth    = (*auth.Service)(nil)
)

// Registry answers what there is.
type Registry interface {
	Get(ctx context.Context, owner kernels.Owner, id string) (kernels.Kernel, error)
	// List must be cheap: every open JupyterLab window asks every ten seconds.
	List(ctx context.Context, owner kernels.Owner) ([]kernels.Kernel, error)
	// Specs returns the installed kernelspecs by name and the name of the default one.
	Specs(ctx context.Context) (map[string]kernels.Spec, string, error)
}

// Lifecycle starts and ends kernels. Start returns as soon as the kernel is recorded; the others when it is done.
type Lifecycle interface {
	Start(ctx context.Context, owner kernels.Owner, req kernels.StartRequest) (kernels.Kernel, error)
	Interrupt(ctx context.Context, owner kernels.Owner, id string) error
	Restart(ctx context.Context, owner kernels.Owner, id string) (kernels.Kernel, error)
	Stop(ctx context.Context, owner kernels.Owner, id string) error
}

// Sessions keeps which document uses which kernel.
type Sessions interface {
	OpenSession(ctx context.Context, owner kernels.Owner, req kernels.SessionRequest) (kernels.SessionModel, error)
	GetSession(ctx context.Context, owner kernels.Owner, id string) (kernels.SessionModel, error)
	ListSessions(ctx context.Context, owner kernels.Owner) ([]kernels.SessionModel, error)
	ChangeSession(ctx context.Context, owner kernels.Owner, id string, p kernels.SessionPatch) (kernels.SessionModel, error)
	CloseSession(ctx context.Context, owner kernels.Owner, id string) error
}

// Auth says who is calling; *auth.Service is it.
type Auth interface {
	// Verify names the caller of an API token or JWT: auth.ErrInvalidCredential, auth.ErrUnavailable.
	Verify(ctx context.Context, raw string) (auth.Identity, error)
	// Login exchanges such a token for a browser session's id.
	Login(ctx context.Context, raw string) (string, auth.Identity, error)
	// Session names the caller of a browser session; errors as for Verify.
	Session(ctx context.Context, id string) (auth.Identity, error)
	// Logout ends a browser session; harmless when there is none.
	Logout(ctx context.Context, id string) error
}
