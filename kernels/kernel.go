// Package kernels is the domain of Cellblock: what a kernel is, who owns it, what it may use, and how it is
// started, watched, restarted, culled and ended. It knows nothing of HTTP, Podman or Redis; what it needs of them
// it names in small interfaces (Launcher, Observer, Bridge, Store, Quotas, Leases) which other packages implement.
package kernels

import (
	"regexp"
	"time"
)

// Owner is the name of the tenant to whom kernels, sessions and files belong. Every lookup takes one: somebody
// else's kernel does not exist.
type Owner string

// ownerName is the form of an Owner: it becomes part of a volume's name and of labels.
var ownerName = regexp.MustCompile(`^[a-z0-9][a-z0-9_.@-]{0,63}$`)

// Valid reports whether the name can be an owner: 1 to 64 characters, lower-case letters, digits and "_.@-",
// beginning with a letter or digit.
func (o Owner) Valid() bool { return ownerName.MatchString(string(o)) }

// UserIDs is the end of the user ids that owners' kernels have inside containers: as many subordinate ids are needed.
const UserIDs = 1 << 22

// kernelID is the form of a kernel's or session's id that Jupyter clients accept (five dash-separated words).
var kernelID = regexp.MustCompile(`^\w{1,32}(-\w{1,32}){4}$`)

// ValidID reports whether id has the form of a kernel or session id. Anything else is an unknown id.
func ValidID(id string) bool { return kernelID.MatchString(id) }

// handleForm is the form of a handle.
var handleForm = regexp.MustCompile(`^[a-z0-9]{1,32}$`)

// ValidHandle reports whether h can be a handle: it becomes a file name and part of names and labels.
func ValidHandle(h string) bool { return handleForm.MatchString(h) }

// State is a kernel's execution state in the words of the Jupyter messaging protocol ("status" message).
type State string

// The states that clients accept; "unknown" is theirs alone and never sent.
const (
	Starting   State = "starting"
	Idle       State = "idle"
	Busy       State = "busy"
	Restarting State = "restarting"
	Dead       State = "dead"
)

// Record is what the Store keeps of a kernel: enough to find it and to say whose it is. What changes from second to
// second (busy or idle, connections) is asked of the kernel's bridge.
type Record struct {
	ID     string // unique among its owner's kernels only: clients may choose it
	Owner  Owner
	Handle string // random and unique on the machine: names the containers and the run directory, never shown to clients
	Spec   string // kernelspec name
	Phase  Phase
	// Reason says in one sentence why the kernel is Dead or is about to end; empty otherwise.
	Reason  string
	Created time.Time
	// Deaths counts the automatic restarts since the last run that was long enough to be called stable.
	Deaths int
	// Runs counts the kernel processes that have answered, from 1: a larger number means a fresh process.
	Runs int
	// Started is since when the kernel runs undisturbed; zero before its first answer.
	Started time.Time
}

// Phase is where a kernel is in its life, as far as the Manager drives it.
type Phase string

// Phases in the order of a life. A kernel whose record is gone is gone.
const (
	PhaseStarting   Phase = "starting"   // reserved; containers are being made
	PhaseRunning    Phase = "running"    // the kernel has answered
	PhaseRestarting Phase = "restarting" // its process is being replaced, on request or after a death
	PhaseEnding     Phase = "ending"     // being removed
)

// Kernel is a kernel as its owner sees it.
type Kernel struct {
	Record
	State        State
	LastActivity time.Time
	Connections  int // open WebSockets
}

// StartRequest is what a client may say about the kernel it wants. Nothing in it chooses images, mounts or limits.
type StartRequest struct {
	Spec string // kernelspec name; empty or "python" means the default
	ID   string // wanted id, or empty for a random one
	// Timeout is how long the kernel may take to its first answer; 0, and more than the configured time, mean that.
	Timeout time.Duration
	// Env has only variables that the configuration's allow-list let through.
	Env map[string]string
}

// Session ties a document's path to a kernel (Jupyter's "session": a notebook or console with its kernel).
type Session struct {
	ID       string
	Owner    Owner
	Path     string
	Name     string
	Type     string
	KernelID string
}

// Quota is what an owner may use at once. Zero values mean "none allowed", never "unlimited".
type Quota struct {
	MaxKernels int
	// Network is the name of a network policy; "none", and any name that the launcher does not know, is no network.
	Network string
}

// QuotaChange is what of an owner's own quota becomes another; nil stays as it is.
type QuotaChange struct {
	MaxKernels *int
	Network    *string
}
