package kernels

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Manager drives all kernels of one machine. Any number of gateways may each have one over the same Store and the
// same engine: leases keep them out of each other's way, and none holds anything that another could not find again.
// Its methods may be called from any goroutine.
type Manager struct {
	cfg    Config
	log    *slog.Logger
	holder string // this process among those that share leases

	turns turnTable
	known lastKnown

	queue  chan launch   // starts on their way to Run
	exits  chan string   // handles of kernels of which a process ended
	kick   chan struct{} // asks for reconciling at once
	closed chan struct{} // closed when Run has stopped taking starts
}

// New makes a Manager; it starts nothing. The Config must be valid.
func New(c Config) *Manager {
	c = c.withDefaults()
	return &Manager{
		cfg:    c,
		log:    c.Log,
		holder: uuid.NewString(),
		queue:  make(chan launch, maxQueued),
		exits:  make(chan string, maxExits),
		kick:   make(chan struct{}, 1),
		closed: make(chan struct{}),
	}
}

// Run launches what Start has recorded, watches over what runs, reconciles records with the engine and culls. It
// blocks until ctx ends and all of that has come to rest: launches and restarts in flight have Config.Grace to
// finish and are then left for the next gateway to mend. Afterwards no kernel can be started; Run is called once.
func (m *Manager) Run(ctx context.Context) error {
	work, cancel := m.withGrace(ctx)
	defer cancel(nil)

	var parts sync.WaitGroup
	for range maxLaunching {
		parts.Go(func() { m.runLaunches(ctx, work) })
	}
	for range maxMending {
		parts.Go(func() { m.runMending(ctx, work) })
	}
	parts.Go(func() { m.runWatch(ctx) })
	parts.Go(func() { m.runReconciling(ctx, work) })
	parts.Go(func() { m.runCulling(ctx, work) })
	parts.Go(func() { m.runLooking(ctx) })
	if m.cfg.Networks != nil {
		parts.Go(func() { m.runNetworks(ctx) })
	}

	<-ctx.Done()
	close(m.closed)
	m.refuseQueued(work)
	parts.Wait()
	return nil
}

// withGrace returns a context that ends Config.Grace after ctx.
func (m *Manager) withGrace(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		time.AfterFunc(m.cfg.Grace, func() { cancel(errDraining) })
	})
	return work, cancel
}

// kernelLog is the logger for what happens to one kernel.
func (m *Manager) kernelLog(r Record) *slog.Logger {
	return m.log.With("kernel", r.ID, "owner", r.Owner, "handle", r.Handle)
}
