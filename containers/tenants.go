package containers

import (
	"context"
	"fmt"
	"sync"

	"cellblock.io/cellblock/kernels"
)

// span is how many user ids an owner has: a kernel's, and the next one for its bridge.
const span = 2

// tenants knows whose user ids are whose. Who asks for a launch says so, and need not be believed: the labels of the
// workspaces, which last, tell it as well. What was seen once is remembered, since no id is ever given to another owner.
type tenants struct {
	mu    sync.Mutex
	ids   map[kernels.Owner]int
	owner map[int]kernels.Owner // of every id of an owner's
}

func newTenants() *tenants {
	return &tenants{ids: map[kernels.Owner]int{}, owner: map[int]kernels.Owner{}}
}

// known reports whether that id is the owner's for certain.
func (t *tenants) known(owner kernels.Owner, uid int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	id, there := t.ids[owner]
	return there && id == uid
}

// claim remembers an id as an owner's, or refuses one that is not free for it.
func (t *tenants) claim(owner kernels.Owner, uid int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if id, there := t.ids[owner]; there && id != uid {
		return fmt.Errorf("%w: the workspace of %s belongs to user id %d, not %d", kernels.ErrInvalid, owner, id, uid)
	}
	for id := uid; id < uid+span; id++ {
		if other, taken := t.owner[id]; taken && other != owner {
			return fmt.Errorf("%w: user id %d belongs to the workspace of %s already", kernels.ErrInvalid, id, other)
		}
	}
	t.ids[owner] = uid
	for id := uid; id < uid+span; id++ {
		t.owner[id] = owner
	}
	return nil
}

// checkOwner refuses a launch under a user id that the engine cannot give, or that the labels of workspaces say is not the
// owner's. They are read at an owner's first launch.
func (e *Engine) checkOwner(ctx context.Context, l kernels.Launch) error {
	if last := l.UID + span - 1; e.caps.UIDs > 0 && last >= e.caps.UIDs {
		return fmt.Errorf("%w: user id %d is outside of the %d that the engine has", kernels.ErrInvalid, last, e.caps.UIDs)
	}
	if e.tenants.known(l.Record.Owner, l.UID) {
		return nil
	}
	ids, err := e.UserIDs(ctx)
	if err != nil {
		return err
	}
	for owner, uid := range ids {
		if err := e.tenants.claim(owner, uid); err != nil {
			e.log.Warn("two owners' workspaces have one user id", "err", err)
		}
	}
	return e.tenants.claim(l.Record.Owner, l.UID)
}
