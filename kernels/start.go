package kernels

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// launch is a start on its way.
type launch struct {
	rec  Record
	uid  int
	spec Spec
	env  map[string]string
	// timeout is what the client asked for; 0 when it did not.
	timeout time.Duration
	network string
}

// Start reserves a place in the owner's quota, records the kernel as starting and returns at once; the launch goes on
// in the background under Run. Errors: ErrInvalid, ErrUnknownSpec, ErrExists, *QuotaError, ErrUnavailable.
func (m *Manager) Start(ctx context.Context, owner Owner, req StartRequest) (Kernel, error) {
	l, err := m.prepare(ctx, owner, req)
	if err != nil {
		return Kernel{}, err
	}
	quota, err := m.cfg.Quotas.Quota(ctx, owner)
	if err != nil {
		return Kernel{}, fmt.Errorf("look up quota: %w", err)
	}
	l.network = quota.Network
	err = m.cfg.Store.Reserve(ctx, l.rec, quota)
	var full *QuotaError
	switch {
	case errors.As(err, &full):
		return Kernel{}, full
	case errors.Is(err, ErrExists):
		return Kernel{}, refuse(ErrExists, "A kernel with the id %s is there already.", l.rec.ID)
	case err != nil:
		return Kernel{}, fmt.Errorf("reserve: %w", err)
	}
	if !m.enqueue(ctx, l) {
		return Kernel{}, refuse(ErrUnavailable, "No kernel can be started at the moment. Try again soon.")
	}
	return merge(l.rec, nil, time.Now()), nil
}

// prepare checks what the client said and collects what the launch will need.
func (m *Manager) prepare(ctx context.Context, owner Owner, req StartRequest) (launch, error) {
	if !owner.Valid() {
		return launch{}, refuse(ErrInvalid, "The account name %s cannot own kernels.", shown(string(owner)))
	}
	id := req.ID
	if id == "" {
		id = uuid.NewString()
	} else if !ValidID(id) {
		return launch{}, refuse(ErrInvalid, "The kernel id %s does not have the form of a UUID.", shown(id))
	}
	spec, err := m.spec(ctx, req.Spec)
	if err != nil {
		return launch{}, err
	}
	uid, err := m.cfg.Quotas.UID(ctx, owner)
	if err != nil {
		return launch{}, fmt.Errorf("look up user id: %w", err)
	}
	return launch{uid: uid, spec: spec, env: req.Env, timeout: req.Timeout, rec: Record{
		ID:      id,
		Owner:   owner,
		Handle:  newHandle(),
		Spec:    spec.Name,
		Phase:   PhaseStarting,
		Created: time.Now().UTC(),
	}}, nil
}

// newHandle returns 16 random characters that fit in names of containers and short socket paths.
func newHandle() string {
	u := uuid.New()
	return fmt.Sprintf("%x", u[8:])
}

// enqueue hands a reserved start to Run. When Run cannot take it the reservation is released.
func (m *Manager) enqueue(ctx context.Context, l launch) bool {
	select {
	case m.queue <- l:
	default:
		m.refuseStart(ctx, l, errors.New("too many starts are waiting"))
		return false
	}
	select {
	case <-m.closed:
		m.refuseQueued(ctx) // Run may have looked at the queue before the send
		return false
	default:
		return true
	}
}

// refuseQueued releases what waits in the queue and will not be launched.
func (m *Manager) refuseQueued(ctx context.Context) {
	for {
		select {
		case l := <-m.queue:
			m.refuseStart(ctx, l, errDraining)
		default:
			return
		}
	}
}

// refuseStart releases the reservation of a start that was never begun.
func (m *Manager) refuseStart(ctx context.Context, l launch, cause error) {
	log := m.kernelLog(l.rec)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	if err := m.cfg.Store.Release(ctx, l.rec); err != nil {
		log.Warn("release a refused start", "err", err) // reconciling will
	}
	log.Warn("kernel not started", "err", cause)
}

// runLaunches launches one start after the other until ctx ends; the one in flight goes on under work.
func (m *Manager) runLaunches(ctx, work context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case l := <-m.queue:
			m.launch(work, l)
		}
	}
}

// launch brings one start to its end, good or bad.
func (m *Manager) launch(ctx context.Context, l launch) {
	begun, touched := time.Now(), false
	err := m.exclusively(ctx, l.rec, waits, func(ctx context.Context, c *change) error {
		touched = true
		return c.launch(ctx, l)
	})
	log := m.kernelLog(l.rec).With("spec", l.spec.Name, "took", time.Since(begun))
	switch {
	case err == nil:
		log.Info("kernel started")
	case errors.Is(err, errEnding), errors.Is(err, ErrNotFound):
		log.Info("kernel stopped while it was starting")
		return
	case errors.Is(err, errDraining), errors.Is(err, errLeaseLost):
		log.Warn("start left to another gateway", "err", err)
		return
	case !touched:
		m.refuseStart(ctx, l, err)
	case !errors.Is(err, ErrDead): // which was logged where it was found out
		log.Error("kernel start", "err", err)
	}
	m.cfg.Meter.Launched(l.spec.Name, time.Since(begun), err)
}

// launch makes the kernel and waits for its first answer.
func (c *change) launch(ctx context.Context, l launch) error {
	if l.timeout > 0 {
		c.limit = min(c.limit, l.timeout)
	}
	limited, cancel := context.WithTimeoutCause(ctx, c.limit, errNoAnswer)
	defer cancel()
	err := c.m.cfg.Launcher.Launch(limited, Launch{Record: c.rec, UID: l.uid, Spec: l.spec, Env: l.env, Network: l.network})
	if err != nil {
		err = fmt.Errorf("launch: %w", err)
	} else {
		err = c.settle(limited, 0)
	}
	return c.settled(ctx, err)
}
