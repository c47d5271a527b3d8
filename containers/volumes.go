package containers

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/containers/podman/v4/pkg/bindings/volumes"
	"github.com/containers/podman/v4/pkg/domain/entities"

	"cellblock.io/cellblock/kernels"
)

// socketOptions make the memory file system that kernel and bridge share: 64 KiB, 64 names. It belongs to the engine's
// user, so that a kernel cannot take the bridge's way in. Sockets need names but no blocks.
const socketOptions = "nr_blocks=16,nr_inodes=64,mode=0777,uid=0,gid=0,nosuid,nodev,noexec"

// makeSockets makes the volume for the sockets between a kernel and its bridge. It is mounted while one of them runs.
func (e *Engine) makeSockets(ctx context.Context, l kernels.Launch) error {
	call, cancel := e.conn.unbroken(ctx, changeCall)
	defer cancel()
	_, err := volumes.Create(call, entities.VolumeCreateOptions{
		Name:    e.cfg.name(roleSockets, l.Record.Handle),
		Labels:  e.cfg.labels(roleSockets, l),
		Options: map[string]string{"type": "tmpfs", "device": "tmpfs", "o": socketOptions},
	}, nil)
	return failure(ctx, "make the socket volume", err)
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

// removeSockets removes a kernel's socket volume; it succeeds when there is none.
func (e *Engine) removeSockets(ctx context.Context, handle string) error {
	call, cancel := e.conn.within(ctx, removeCall)
	defer cancel()
	err := volumes.Remove(call, e.cfg.name(roleSockets, handle), nil)
	if answered(err, http.StatusNotFound) {
		return nil
	}
	return failure(ctx, "remove the socket volume", err)
}
