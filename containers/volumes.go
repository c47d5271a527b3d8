package containers

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/containers/podman/v4/libpod/define"
	"github.com/containers/podman/v4/pkg/bindings/volumes"
	"github.com/containers/podman/v4/pkg/domain/entities"

	"cellblock.io/cellblock/kernels"
)

// memory is a memory file system of one kernel, as a volume: only so can Podman be given a limit for inodes. It is mounted
// while one of its containers runs, and empty again when none does.
type memory struct {
	role    role
	place   string   // in the containers
	options string   // of the file system, which belongs to the engine's user
	flags   []string // of the mount, of which the first is "rw"
}

var (
	// sockets is shared by kernel and bridge: 64 KiB, 64 names. A kernel cannot take the bridge's way in, since the directory
	// is not its own. Sockets need names but no blocks.
	sockets = memory{roleSockets, sockDir, "nr_blocks=16,nr_inodes=64,mode=0777,uid=0,gid=0,nosuid,nodev,noexec",
		[]string{"rw", "nosuid", "nodev", "noexec", "nocopy"}}
	// tmp is the kernel's own: 128 MiB. Programs are unpacked there, so that it is not noexec.
	tmp = memory{roleTmp, "/tmp", "nr_blocks=32768,nr_inodes=32768,mode=1777,uid=0,gid=0,nosuid,nodev",
		[]string{"rw", "nosuid", "nodev", "exec", "nocopy"}}
	// shm is the kernel's own: 64 MiB.
	shm = memory{roleShm, "/dev/shm", "nr_blocks=16384,nr_inodes=4096,mode=1777,uid=0,gid=0,nosuid,nodev,noexec",
		[]string{"rw", "nosuid", "nodev", "noexec", "nocopy"}}

	memories = []memory{sockets, tmp, shm}
)

// makeMemories makes a kernel's memory file systems.
func (e *Engine) makeMemories(ctx context.Context, l kernels.Launch) error {
	var steps []func() error
	for _, m := range memories {
		steps = append(steps, func() error {
			call, cancel := e.conn.unbroken(ctx, changeCall)
			defer cancel()
			_, err := volumes.Create(call, entities.VolumeCreateOptions{
				Name:    e.cfg.name(m.role, l.Record.Handle),
				Labels:  e.cfg.labels(m.role, l),
				Options: map[string]string{"type": "tmpfs", "device": "tmpfs", "o": m.options},
			}, nil)
			return failure(ctx, "make the volume for "+m.place, err)
		})
	}
	return parallel(steps...)
}

// makeWorkspace makes the owner's volume unless there is one. A volume of another user id is refused: its files would
// be there and could not be opened.
func (e *Engine) makeWorkspace(ctx context.Context, l kernels.Launch) error {
	err := e.checkWorkspace(ctx, l)
	if !answered(err, http.StatusNotFound) {
		return err
	}
	uid := strconv.Itoa(l.UID)
	call, cancel := e.conn.unbroken(ctx, changeCall)
	defer cancel()
	_, err = volumes.Create(call, entities.VolumeCreateOptions{
		Name: e.cfg.workspaceName(l.Record.Owner),
		Labels: map[string]string{
			labelInstance: e.cfg.Instance,
			labelRole:     string(roleWorkspace),
			labelOwner:    string(l.Record.Owner),
			labelUID:      uid,
		},
		Options: map[string]string{"o": "uid=" + uid + ",gid=" + uid},
	}, nil)
	if err != nil && e.checkWorkspace(ctx, l) == nil {
		return nil // two first kernels of one owner: the other call was faster
	}
	return failure(ctx, "make the workspace of "+string(l.Record.Owner), err)
}

// listTries is how often a list of volumes is asked for while others are being removed.
const listTries = 10

// UserIDs returns the user ids of all owners who have a workspace, as its labels tell. Errors: kernels.ErrUnavailable.
func (e *Engine) UserIDs(ctx context.Context) (map[kernels.Owner]int, error) {
	call, cancel := e.conn.within(ctx, quickCall)
	defer cancel()
	mine := map[string][]string{"label": {labelInstance + "=" + e.cfg.Instance}}
	found, err := volumes.List(call, new(volumes.ListOptions).WithFilters(mine))
	// Podman lists names first and then looks each up: one that is removed meanwhile makes all of it fail.
	for try := 1; err != nil && try < listTries && strings.Contains(err.Error(), define.ErrNoSuchVolume.Error()); try++ {
		found, err = volumes.List(call, new(volumes.ListOptions).WithFilters(mine))
	}
	if err != nil {
		return nil, failure(ctx, "list workspaces", err)
	}
	ids := make(map[kernels.Owner]int)
	for _, v := range found {
		uid, err := strconv.Atoi(v.Labels[labelUID])
		if err == nil && v.Labels[labelRole] == string(roleWorkspace) && v.Labels[labelInstance] == e.cfg.Instance {
			ids[kernels.Owner(v.Labels[labelOwner])] = uid
		}
	}
	return ids, nil
}

func (e *Engine) checkWorkspace(ctx context.Context, l kernels.Launch) error {
	call, cancel := e.conn.within(ctx, quickCall)
	defer cancel()
	volume, err := volumes.Inspect(call, e.cfg.workspaceName(l.Record.Owner), nil)
	if err != nil {
		return failure(ctx, "look for the workspace of "+string(l.Record.Owner), err)
	}
	if uid := volume.Labels[labelUID]; uid != strconv.Itoa(l.UID) {
		return fmt.Errorf("workspace of %s belongs to user id %q, not %d", l.Record.Owner, uid, l.UID)
	}
	return nil
}

// removeMemories removes a kernel's memory file systems, those that there are.
func (e *Engine) removeMemories(ctx context.Context, handle string) error {
	var steps []func() error
	for _, m := range memories {
		steps = append(steps, func() error {
			call, cancel := e.conn.within(ctx, removeCall)
			defer cancel()
			err := volumes.Remove(call, e.cfg.name(m.role, handle), nil)
			if answered(err, http.StatusNotFound) {
				return nil
			}
			return failure(ctx, "remove the volume for "+m.place, err)
		})
	}
	return parallel(steps...)
}
