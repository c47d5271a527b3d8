package kernels

import (
	"context"
	"encoding/json"
	"time"
)

// Launcher makes, restarts and removes the isolated places in which kernels run. One implementation is in package
// containers (rootless Podman). All methods may be called concurrently for different handles; for one handle the
// Manager never calls two at once.
type Launcher interface {
	// Launch makes and starts the kernel and its bridge. It returns when both have been started, which says nothing
	// about the kernel having answered. On error nothing is left behind.
	Launch(ctx context.Context, l Launch) error
	// Restart ends the kernel's process if it still runs and starts it again with the same connection file. The
	// bridge goes on; if the bridge itself has ended it is started too.
	Restart(ctx context.Context, handle string) error
	// Revive starts whichever of kernel and bridge has ended and leaves alone what runs. Nothing happens when both
	// run. It fails when a part of the pair does not exist any more.
	Revive(ctx context.Context, handle string) error
	// Interrupt sends SIGINT to the kernel's process, for kernels that have no interrupt_request.
	Interrupt(ctx context.Context, handle string) error
	// Remove ends kernel and bridge without asking them and removes all that Launch made. It succeeds when there was
	// nothing to remove. The owner's workspace stays.
	Remove(ctx context.Context, handle string) error
}

// Launch describes one kernel to a Launcher.
type Launch struct {
	Record Record
	UID    int // the owner's own user and group id inside the container, within the subordinate range
	Spec   Spec
	Env    map[string]string
	// Network is the name of the owner's network policy (Quota.Network).
	Network string
}

// Networks is told which network policies hold, for kernels that run already.
type Networks interface {
	// Apply names the policies of owners that have kernels. What was said of an owner some while ago (a minute) and not
	// again holds no longer: such an owner's kernels open no more connections.
	Apply(ctx context.Context, inForce map[Owner]string) error
}

// Observer sees what really exists. It is the truth from which records are rebuilt.
type Observer interface {
	// List returns every kernel that exists here, whole or in part, with the record its labels tell.
	List(ctx context.Context) ([]Instance, error)
	// Watch calls fn for each end of a kernel's or bridge's process until ctx ends or the connection to the engine
	// breaks (then it returns the error; ends may have been missed, so callers compare with List after reconnecting).
	Watch(ctx context.Context, fn func(Exit)) error
}

// Instance is a kernel as the engine knows it.
type Instance struct {
	Record        Record // from labels: ID, Owner, Handle, Spec, Created
	KernelRunning bool
	BridgeRunning bool
	Complete      bool  // both parts exist
	Death         Death // how the kernel's process ended; zero while it runs
	// Network is how the kernel was connected when it started: "none", "allowlist" or "internet".
	Network string
}

// Exit is the end of one process of a kernel's pair.
type Exit struct {
	Handle string
	Bridge bool // the bridge's end, not the kernel's
	Code   int  // exit status; 128+n after signal n
}

// Spec is an installed kernelspec (Jupyter kernel.json) and the image that provides it.
type Spec struct {
	Name string
	// Image identifies the image by digest or id, so that a kernel gets what was looked at.
	Image string
	// JSON is the kernel.json object as clients get it.
	JSON json.RawMessage
	// Resources are logos, kernel.js and kernel.css by file name.
	Resources map[string][]byte
	// Interrupt is "message" or "signal" (kernel.json's interrupt_mode).
	Interrupt string
	// CullIdleTimeout overrides the configured timeout when positive (kernel.json metadata.cull_idle_timeout).
	CullIdleTimeout time.Duration
}

// Specs lists the installed kernelspecs.
type Specs interface {
	// Specs returns all of them by name. The map is the caller's to read, not to change.
	Specs(ctx context.Context) (map[string]Spec, error)
}

// Bridge is the control side of the small process beside one kernel that owns its ZeroMQ sockets. Calls fail with
// ErrUnavailable when the bridge does not answer.
type Bridge interface {
	// Status never waits for the kernel.
	Status(ctx context.Context) (BridgeStatus, error)
	// Interrupt sends interrupt_request on the control channel and waits for its reply.
	Interrupt(ctx context.Context) error
	// Shutdown sends shutdown_request on the control channel and returns when the kernel has replied, has gone, or
	// ctx has ended. From its start on, clients' requests are held; after restart=true they go to the next process.
	Shutdown(ctx context.Context, restart bool) error
	// Ready waits until the kernel process of a generation later than after has answered on control and its
	// outputs are seen, then returns that generation. Generations count the processes a bridge has met, from 1.
	Ready(ctx context.Context, after int) (int, error)
	// Tell shows one sentence to all clients, where they look: below the cell that ran last. It returns when the
	// sentence is on its way. An older bridge may not know all kinds of news: ErrNotFound.
	Tell(ctx context.Context, n News, sentence string) error
}

// A gateway names each WebSocket in the header ConnectionHeader of its upgrade request to a bridge, with 32 hex digits.
// POST LeavePath + that name has the bridge take leave of the client: WebSocket close code 1012, come back. What was
// written before is still delivered and confirmed, if the client takes it in time.
const (
	ConnectionHeader = "Cellblock-Connection"
	LeavePath        = "/control/leave/"
)

// Bounds that a gateway and a bridge both hold to.
const (
	MaxSessionID = 255  // bytes in the session_id of a WebSocket
	MaxPageItems = 1000 // messages in a page of a journal
)

// News is what a sentence for clients is about.
type News string

const (
	// Warned: the kernel will be ended soon if nothing happens.
	Warned News = "warned"
	// Died: the process ended by itself and the next one is on its way. Requests that the dead process had taken are
	// answered with the sentence as an error.
	Died News = "died"
	// Over: the kernel is dead and nothing follows; clients are closed for good (WebSocket close code 1000).
	Over News = "over"
)

// BridgeStatus is what a bridge knows about its kernel.
type BridgeStatus struct {
	State        State     `json:"execution_state"`
	LastActivity time.Time `json:"last_activity"`
	Connections  int       `json:"connections"`
	Generation   int       `json:"generation"`
	// ShutdownRequested is set once a client itself has asked the kernel to shut down for good.
	ShutdownRequested bool `json:"shutdown_requested"`
	// Warned is when clients were told that the kernel will be ended; zero when they were not, or used it since.
	Warned time.Time `json:"warned,omitzero"`
	// Broken says in a few words, which follow "The kernel died: ", what is wrong with a process that lives but is of
	// no use any more; empty when nothing is. BrokenSince is until when nothing was.
	Broken      string    `json:"broken,omitempty"`
	BrokenSince time.Time `json:"broken_since,omitzero"`
}

// Store keeps records and sessions. Implementations are shared by any number of gateways.
type Store interface {
	// Reserve adds r if the owner has fewer than q.MaxKernels records, in one atomic step.
	// Errors: *QuotaError, ErrExists.
	Reserve(ctx context.Context, r Record, q Quota) error
	// Update replaces the record of the same owner, id and handle, in one atomic step. It returns ErrNotFound when
	// that record has been released meanwhile (another handle may have its id now), and also when the stored one is
	// in PhaseEnding and r is not: an end is final.
	Update(ctx context.Context, r Record) error
	// Record returns one; ErrNotFound.
	Record(ctx context.Context, owner Owner, id string) (Record, error)
	// Records returns all of one owner's, or of everybody's when owner is empty, oldest first.
	Records(ctx context.Context, owner Owner) ([]Record, error)
	// Release removes the record of r's owner, id and handle, frees its place in the quota and removes the sessions
	// that use the kernel. It succeeds when there was none, and leaves alone a record with another handle.
	Release(ctx context.Context, r Record) error
}

// SessionStore keeps sessions.
type SessionStore interface {
	// PutSession adds or replaces one; ErrNotFound when its kernel has no record (any more).
	PutSession(ctx context.Context, s Session) error
	// Session returns one; ErrNotFound.
	Session(ctx context.Context, owner Owner, id string) (Session, error)
	// Sessions returns all of one owner's.
	Sessions(ctx context.Context, owner Owner) ([]Session, error)
	// DeleteSession removes one; ErrNotFound when there was none.
	DeleteSession(ctx context.Context, owner Owner, id string) error
}

// Quotas answers what an owner may use and under which user id its containers run.
type Quotas interface {
	// Quota returns the owner's own quota, or the configured default.
	Quota(ctx context.Context, owner Owner) (Quota, error)
	// UID returns the owner's user id inside containers, choosing the next free one at the first call. It is never
	// given to another owner afterwards.
	UID(ctx context.Context, owner Owner) (int, error)
}

// Leases lets one of several gateways do what must be done once. Names have 1 to 64 lower-case letters, digits and
// "_.-".
type Leases interface {
	// Acquire takes or renews the lease for holder and reports whether holder has it for the next ttl.
	Acquire(ctx context.Context, name, holder string, ttl time.Duration) (bool, error)
	// Give returns it early; harmless when holder does not have it.
	Give(ctx context.Context, name, holder string) error
}
