package containers

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"cellblock.io/cellblock/kernels"
)

// Labels of containers and volumes, from which kernels are known again after a restart of the gateway.
const (
	labelInstance = "io.cellblock.instance"
	labelRole     = "io.cellblock.role"
	labelKernelID = "io.cellblock.kernel-id"
	labelOwner    = "io.cellblock.owner"
	labelHandle   = "io.cellblock.handle"
	labelSpec     = "io.cellblock.spec"
	labelCreated  = "io.cellblock.created"
	labelUID      = "io.cellblock.uid"
	labelNetwork  = "io.cellblock.network" // of a kernel's container; absent without network
)

// role is a part that a container or volume plays; it is also part of its name.
type role string

const (
	roleKernel    role = "kernel"
	roleBridge    role = "bridge"
	roleSockets   role = "sockets" // the volume that kernel and bridge share
	roleTmp       role = "tmp"     // volumes that are a kernel's own
	roleShm       role = "shm"
	roleWorkspace role = "workspace" // an owner's files
)

// handlePattern is the form of a handle, which becomes a file name and part of container names.
var handlePattern = regexp.MustCompile(`^[0-9a-f]{1,64}$`)

func checkHandle(handle string) error {
	if !handlePattern.MatchString(handle) {
		return fmt.Errorf("%w: handle %q does not match %s", kernels.ErrInvalid, handle, handlePattern)
	}
	return nil
}

// name is the name of a kernel's container or volume.
func (c Config) name(r role, handle string) string {
	return c.Instance + "-" + string(r) + "-" + handle
}

// workspaceName is the name of an owner's volume. Owners have no capital letters, so that A for @, which a volume's name
// cannot have, keeps any two names apart.
func (c Config) workspaceName(owner kernels.Owner) string {
	return c.Instance + "-" + string(roleWorkspace) + "-" + strings.ReplaceAll(string(owner), "@", "A")
}

// labels returns those of one part of a kernel.
func (c Config) labels(r role, l kernels.Launch) map[string]string {
	return map[string]string{
		labelInstance: c.Instance,
		labelRole:     string(r),
		labelKernelID: l.Record.ID,
		labelOwner:    string(l.Record.Owner),
		labelHandle:   l.Record.Handle,
		labelSpec:     l.Record.Spec,
		labelCreated:  l.Record.Created.UTC().Format(time.RFC3339Nano),
		labelUID:      strconv.Itoa(l.UID),
	}
}

// record returns what labels tell, and whether they are whole enough to act on. An unreadable time of creation is zero.
func record(labels map[string]string) (kernels.Record, role, bool) {
	r := role(labels[labelRole])
	created, _ := time.Parse(time.RFC3339Nano, labels[labelCreated])
	rec := kernels.Record{
		ID:      labels[labelKernelID],
		Owner:   kernels.Owner(labels[labelOwner]),
		Handle:  labels[labelHandle],
		Spec:    labels[labelSpec],
		Created: created,
	}
	return rec, r, handlePattern.MatchString(rec.Handle) && (r == roleKernel || r == roleBridge)
}
