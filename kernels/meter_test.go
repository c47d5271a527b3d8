package kernels_test

import (
	"sync/atomic"
	"time"

	"cellblock.io/cellblock/kernels"
)

// meter counts what a Manager reports.
type meter struct {
	launched, failed, died, bridges, culled atomic.Int64
}

var _ kernels.Meter = (*meter)(nil)

func (m *meter) Launched(_ string, _ time.Duration, err error) {
	if err != nil {
		m.failed.Add(1)
		return
	}
	m.launched.Add(1)
}

func (m *meter) Died(bridge bool) {
	if bridge {
		m.bridges.Add(1)
		return
	}
	m.died.Add(1)
}

func (m *meter) Culled() { m.culled.Add(1) }
