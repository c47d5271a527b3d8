package kernels

import (
	"context"
	"fmt"
)

// runNetworks tells again and again which network policies hold, until ctx ends: a quota that has changed holds for
// running kernels within moments, and whoever applies policies notices when nobody knows them any more.
func (m *Manager) runNetworks(ctx context.Context) {
	failed := false
	for {
		err := m.applyNetworks(ctx)
		if err != nil && !failed && ctx.Err() == nil {
			m.log.Warn("apply network policies", "err", err)
		}
		failed = err != nil
		if !pause(ctx, networkInterval) {
			return
		}
	}
}

// applyNetworks says nothing about an owner whose quota cannot be read.
func (m *Manager) applyNetworks(ctx context.Context) error {
	records, err := m.cfg.Store.Records(ctx, "")
	if err != nil {
		return fmt.Errorf("list records: %w", err)
	}
	inForce := map[Owner]string{}
	var unread error
	for _, r := range records {
		if _, known := inForce[r.Owner]; known {
			continue
		}
		quota, err := m.cfg.Quotas.Quota(ctx, r.Owner)
		if err != nil {
			unread = fmt.Errorf("look up the quota of %s: %w", r.Owner, err)
			continue
		}
		inForce[r.Owner] = quota.Network
	}
	if err := m.cfg.Networks.Apply(ctx, inForce); err != nil {
		return err
	}
	return unread
}
