package prove

import "context"

// Parallel is how many places, beside the neighbour's, a run has at a time.
const Parallel = 3

// Level is one way to keep a tenant's code in. Probes do not know which it is.
type Level interface {
	// Name is what --level calls it.
	Name() string
	// Controls lists everything that keeps code in, each of which can be taken away.
	Controls() []Control
	// Start may be called from several goroutines. It runs inside/runner.py, which is among the job's files, in a place like a kernel's.
	Start(ctx context.Context, job Job) (Cell, error)
	// Targets is what the level adds to what probes reach for.
	Targets() Targets
}

// Control is something that keeps code in.
type Control struct {
	Name string
	What string
	// Missing says why this machine cannot enforce it; empty where it can.
	Missing string
}

// Job is one start.
type Job struct {
	// Neighbour: as the second of two tenants.
	Neighbour bool
	// Without names the controls that are taken away.
	Without []string
	// Errno is what the system call filter must answer in the place of its own errors, so that it is known by it; 0
	// leaves them.
	Errno uint
	// Files are what the program finds in its directory.
	Files map[string][]byte
	// Exposed is a directory of this machine that may be seen where the control "mounts" is taken away.
	Exposed string
}

// Cell is a place in which a program runs.
type Cell interface {
	// Output is what the program has written so far; where it writes too much, only the newest may be left.
	Output() ([]byte, error)
	// Alive reports whether the program still runs.
	Alive() bool
	// Search looks for needles in everything the program has written to files, and says where they are.
	Search(ctx context.Context, needles []string) ([]Find, error)
	// Close ends the program and removes the place, and says what is left of both 5 s later.
	Close(ctx context.Context) (left []string, err error)
}

// Find is a needle that was found.
type Find struct {
	Needle int    `json:"needle"` // its place in the list
	Where  string `json:"where"`
}

// Targets are what probes reach for beside the canaries. Tenant code could find all of it by itself; telling it saves the
// search.
type Targets struct {
	// Secrets are nonces that the level has planted itself, by what they are for people. Probes are not told.
	Secrets map[string]string
	// Private: all processes that can be seen in a place are that place's own. Then what a probe leaves can be ended.
	Private bool
	// Bounds are the limits that hold, by what they limit: bytes of directories, numbers of files and processes.
	Bounds map[string]int64
	// Places are directories inside, by what they are for: "sockets", "files".
	Places map[string]string
	// Files are files of this machine and of others which a probe tries to read.
	Files []string
}
