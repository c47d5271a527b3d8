package kernels

import (
	"context"
	"time"
)

// Ended is a kernel that is no more.
type Ended struct {
	ID     string
	Owner  Owner
	Spec   string
	Reason string // one sentence
	Born   time.Time
	At     time.Time
}

// History remembers for a while how kernels ended. It is for people: nothing depends on it.
type History interface {
	// Remember notes an end. It may forget older ones of the same owner for it.
	Remember(ctx context.Context, e Ended) error
	// Recall returns the latest end of a kernel of that id; ErrNotFound.
	Recall(ctx context.Context, owner Owner, id string) (Ended, error)
	// Recollect returns all ends of one owner, or of everybody when owner is empty, the latest first.
	Recollect(ctx context.Context, owner Owner) ([]Ended, error)
}

// remember notes how the kernel ended.
func (c *change) remember(ctx context.Context) {
	c.within(ctx, releaseTimeout, "remember the end", func(ctx context.Context) error {
		r := c.rec
		return c.m.cfg.History.Remember(ctx, Ended{r.ID, r.Owner, r.Spec, r.Reason, r.Created, time.Now().UTC()})
	})
}

// gone is ErrNotFound about an owner's kernel, with the reason of its end if that is remembered.
func (m *Manager) gone(ctx context.Context, owner Owner, id string) error {
	e, err := m.cfg.History.Recall(ctx, owner, id)
	if err != nil {
		return ErrNotFound
	}
	return refuse(ErrNotFound, "Kernel does not exist: %s. It ended on %s: %s", id, e.At.UTC().Format("2 January at 15:04 UTC"), e.Reason)
}
