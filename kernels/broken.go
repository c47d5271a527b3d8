package kernels

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// lookedAtOnce is how many kernels are asked in one go whether they are broken, so that each has the time to answer.
const lookedAtOnce = 100

// runLooking looks for kernels whose process lives but is of no use any more, which the engine cannot know, until ctx
// ends.
func (m *Manager) runLooking(ctx context.Context) {
	for pause(ctx, brokenInterval) {
		if err := m.findBroken(ctx); err != nil && !errors.Is(err, errBusy) && ctx.Err() == nil {
			m.log.Warn("look for broken kernels", "err", err)
		}
	}
}

// findBroken asks all bridges and has the kernels looked after that are broken. One gateway does it at a time.
func (m *Manager) findBroken(ctx context.Context) error {
	return m.alone(ctx, "broken", false, func(ctx context.Context, _ *turn) error {
		records, err := m.cfg.Store.Records(ctx, "")
		if err != nil {
			return fmt.Errorf("list records: %w", err)
		}
		records = slices.DeleteFunc(records, func(r Record) bool { return r.Phase != PhaseRunning })
		for some := range slices.Chunk(records, lookedAtOnce) {
			for i, st := range m.ask(ctx, some) {
				if st != nil && st.Broken != "" {
					m.lookAgain(kernelTurn(some[i].Handle))
				}
			}
		}
		return nil
	})
}

// mendBroken replaces the process of a kernel of which both processes live, if it still is broken. It counts as a
// death, and clients read of it as of one.
func (c *change) mendBroken(ctx context.Context, i Instance) error {
	st, ok := c.status(ctx)
	if !ok || st.Broken == "" {
		return nil
	}
	if st.ShutdownRequested {
		return c.end(ctx, ending{reason: "Shut down by a client."})
	}
	i.KernelRunning, i.Death = false, Death{Broken: st.Broken, Since: st.BrokenSince}
	if err := c.count(ctx, i); err != nil {
		return c.settled(ctx, err)
	}
	return c.replace(ctx, st.Generation)
}
