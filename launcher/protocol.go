// Package launcher keeps the process that the network reaches apart from the one that may start containers. The latter
// holds Podman's socket and the kernels' directories and serves a few verbs on a Unix socket (Server); the former has
// no other way to a kernel than these verbs (Client), and whoever takes it over has no other either.
//
// A Server believes nothing: who may ask is told by the system (SO_PEERCRED), and what is asked is checked again with
// this side's own configuration. A Client bounds what it reads, and how long it waits.
//
// The protocol is HTTP on the socket: POST /v1/VERB with a JSON object, answered by one, or by an error with its kind.
// The answer to connect carries the open connection to a kernel's bridge as a descriptor (SCM_RIGHTS), so that the
// asker needs no access to the directory in which it lies. The answer to watch is one JSON object a line, without end.
package launcher

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"cellblock.io/cellblock/kernels"
)

// Engine is what a Server serves; *containers.Engine is one.
type Engine interface {
	kernels.Launcher
	kernels.Observer
	kernels.Specs
	kernels.Networks
	// UserIDs returns the user ids of all owners who have a workspace.
	UserIDs(ctx context.Context) (map[kernels.Owner]int, error)
	// Dial connects to the bridge of a kernel.
	Dial(ctx context.Context, handle string) (net.Conn, error)
}

// Bounds of what one side takes from the other.
const (
	maxQuestion = 4 << 20  // bytes of a question: an environment and names, or the policies of all owners
	maxAnswer   = 64 << 20 // bytes of an answer: the resources of kernelspecs, or many thousand kernels
	maxFailure  = 4 << 10  // bytes of what an error says
	maxLine     = 4 << 10  // bytes of a line of watch
	maxHead     = 4 << 10  // bytes of the answer to connect
	maxConns    = 2048     // connections to a Server
	maxChanges  = 64       // kernels that are changed at once
)

// How long things may take.
const (
	quickLimit  = 15 * time.Second // a look, or a connection to a bridge
	changeLimit = 4 * time.Minute  // a change of one kernel, and the wait for one before it; the engine's own limits are shorter
	undoLimit   = 4 * time.Minute  // what a launch that got no answer has begun to be removed
	passLimit   = 5 * time.Second  // a connection to be taken by who asked for it
	headerLimit = 5 * time.Second
	drainLimit  = 10 * time.Second // calls in flight when a Server ends
	beat        = 10 * time.Second // between two lines of watch
	silence     = 35 * time.Second // without a line of watch its Server is taken for dead
	lineLimit   = 30 * time.Second // a line of watch to be taken
)

// launchQuestion asks for one kernel. The kernelspec is named only: what its image is and holds the other side knows.
type launchQuestion struct {
	ID      string            `json:"id"`
	Owner   kernels.Owner     `json:"owner"`
	Handle  string            `json:"handle"`
	Spec    string            `json:"spec"`
	Image   string            `json:"image"` // as the asker has seen it
	Created time.Time         `json:"created"`
	UID     int               `json:"uid"`
	Env     map[string]string `json:"env"`
	Network string            `json:"network"` // the name of a policy; what it lets through the other side knows
}

// kernelQuestion asks for something about one kernel.
type kernelQuestion struct {
	Handle string `json:"handle"`
}

// nothing is a question or an answer that says no more than that it was.
type nothing struct{}

// problems is the answer to state: what is wrong on that side, in sentences for people.
type problems struct {
	Problems []string `json:"problems"`
}

// line is one of watch; an empty one says that the other side lives.
type line struct {
	Exit    *kernels.Exit `json:"exit,omitempty"`
	Failure *failure      `json:"failure,omitempty"` // the last line
}

// failure is an error on its way through the socket.
type failure struct {
	Kind string `json:"kind"` // "" when there is none that matters
	Text string `json:"text"`
}

// kinds are the errors that callers of an engine tell apart.
var kinds = []struct {
	name   string
	err    error
	status int
}{
	{"not_found", kernels.ErrNotFound, 404},
	{"exists", kernels.ErrExists, 409},
	{"invalid", kernels.ErrInvalid, 400},
	{"unavailable", kernels.ErrUnavailable, 503},
}

// failed makes what is sent of an error, and the status with which it is.
func failed(err error) (failure, int) {
	text := err.Error()
	f, status := failure{Text: text[:min(len(text), maxFailure/8)]}, 500 // a byte may become six in JSON
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			f.Kind, status = k.name, k.status
			break
		}
	}
	return f, status
}

// error is the other side's error on this one.
func (f failure) error() error {
	for _, k := range kinds {
		if f.Kind == k.name {
			return fmt.Errorf("%w: %s", k.err, f.Text)
		}
	}
	return errors.New(f.Text)
}
