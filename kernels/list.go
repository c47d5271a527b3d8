package kernels

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// lastKnown remembers what bridges said last, for the moments in which one does not answer.
type lastKnown struct {
	mu       sync.Mutex
	byHandle map[string]BridgeStatus
}

func (k *lastKnown) put(handle string, st BridgeStatus) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byHandle == nil {
		k.byHandle = make(map[string]BridgeStatus)
	}
	k.byHandle[handle] = st
}

func (k *lastKnown) get(handle string) (BridgeStatus, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	st, ok := k.byHandle[handle]
	return st, ok
}

func (k *lastKnown) forget(handle string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.byHandle, handle)
}

// keep forgets all kernels but these.
func (k *lastKnown) keep(records []Record) {
	handles := make(map[string]bool, len(records))
	for _, r := range records {
		handles[r.Handle] = true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for h := range k.byHandle {
		if !handles[h] {
			delete(k.byHandle, h)
		}
	}
}

// Get returns one kernel; ErrNotFound.
func (m *Manager) Get(ctx context.Context, owner Owner, id string) (Kernel, error) {
	r, err := m.record(ctx, owner, id)
	if err != nil {
		return Kernel{}, err
	}
	return m.show(ctx, []Record{r})[0], nil
}

// List returns all kernels of one owner, or of everybody when owner is empty, oldest first. A kernel is never missing
// because its bridge did not answer.
func (m *Manager) List(ctx context.Context, owner Owner) ([]Kernel, error) {
	records, err := m.cfg.Store.Records(ctx, owner)
	if err != nil {
		return nil, fmt.Errorf("list kernels: %w", err)
	}
	records = slices.DeleteFunc(records, func(r Record) bool { return r.Phase == PhaseEnding })
	return m.show(ctx, records), nil
}

// record looks up a kernel that is there for its owner: one that is being ended is not, and the error says why.
func (m *Manager) record(ctx context.Context, owner Owner, id string) (Record, error) {
	if !owner.Valid() || !ValidID(id) {
		return Record{}, ErrNotFound
	}
	r, err := m.cfg.Store.Record(ctx, owner, id)
	switch {
	case errors.Is(err, ErrNotFound):
		return Record{}, m.gone(ctx, owner, id)
	case err != nil:
		return Record{}, fmt.Errorf("look up kernel: %w", err)
	case r.Phase == PhaseEnding:
		return Record{}, refuse(ErrNotFound, "Kernel does not exist: %s. It is being ended: %s", id, r.Reason)
	}
	return r, nil
}

// show adds to each record what its bridge says, or said last.
func (m *Manager) show(ctx context.Context, records []Record) []Kernel {
	statuses := m.ask(ctx, records)
	kernels := make([]Kernel, len(records))
	now := time.Now()
	for i, r := range records {
		st := statuses[i]
		if st != nil {
			m.known.put(r.Handle, *st)
		} else if last, ok := m.known.get(r.Handle); ok {
			st = &last
		}
		kernels[i] = merge(r, st, now)
	}
	return kernels
}

// ask asks all bridges at once, for a moment; nil stands for no answer.
func (m *Manager) ask(ctx context.Context, records []Record) []*BridgeStatus {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	statuses := make([]*BridgeStatus, len(records))
	var asking errgroup.Group
	asking.SetLimit(maxAsking)
	for i, r := range records {
		asking.Go(func() error {
			if st, err := m.cfg.Bridge(r.Handle).Status(ctx); err == nil {
				statuses[i] = &st
			}
			return nil
		})
	}
	_ = asking.Wait() // a bridge that does not answer is no error here
	return statuses
}

// merge makes of a record and its bridge's word what the owner sees. The record has the say while the kernel is being
// started or restarted, the bridge otherwise; st is nil when nothing is known.
func merge(r Record, st *BridgeStatus, now time.Time) Kernel {
	k := Kernel{Record: r, State: Starting, LastActivity: r.Created}
	if r.Started.After(k.LastActivity) {
		k.LastActivity = r.Started
	}
	if st != nil {
		switch st.State {
		case Starting, Idle, Busy, Restarting, Dead:
			k.State = st.State
		}
		if st.LastActivity.After(k.LastActivity) {
			k.LastActivity = st.LastActivity
		}
		k.Connections = max(0, st.Connections)
	}
	if k.LastActivity.After(now) {
		k.LastActivity = now
	}
	switch r.Phase {
	case PhaseStarting:
		k.State = Starting
	case PhaseRestarting:
		k.State = Restarting
	}
	return k
}
