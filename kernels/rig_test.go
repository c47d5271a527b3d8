package kernels_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"cellblock.io/cellblock/internal/redisserver/redistest"
	"cellblock.io/cellblock/internal/secret"
	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/kernels/kernelstest"
	"cellblock.io/cellblock/kernels/redisstore"
)

// patience is how long a test waits for what must come. What must not come within less is not waited for.
const patience = 30 * time.Second

const alice, bob = kernels.Owner("alice"), kernels.Owner("bob")

var specs = []kernels.Spec{
	{Name: "python3", Image: "sha256:aa", Interrupt: "signal"},
	{Name: "r", Image: "sha256:bb", Interrupt: "message"},
	{Name: "brief", Image: "sha256:cc", CullIdleTimeout: time.Second},
}

// rig is an engine in memory, a real store, and any number of gateways over them.
type rig struct {
	t     *testing.T
	ctx   context.Context
	world *kernelstest.World
	redis *redistest.Instance
	dir   string // of the Redis
	store *redisstore.Store
}

func newRig(t *testing.T) *rig {
	t.Helper()
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	dir, err := os.MkdirTemp("", "rig") // not t.TempDir: a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	redis := redistest.StartIn(t, dir)
	r := &rig{t: t, ctx: ctx, world: kernelstest.NewWorld(specs...), redis: redis, dir: dir}
	r.store = redisstore.New(redisstore.Config{Client: redis.Client, Key: secret.New(), DefaultQuota: kernels.Quota{MaxKernels: 100}})
	t.Cleanup(func() {
		for _, c := range r.world.Clashes() {
			t.Errorf("two calls for one kernel at once: %s", c)
		}
	})
	return r
}

// gateway is one Manager that runs.
type gateway struct {
	*kernels.Manager
	stop func() // ends Run and waits for it
}

// gateway starts a Manager over the rig; the test's end stops it if the test has not.
func (r *rig) gateway(change ...func(*kernels.Config)) gateway {
	r.t.Helper()
	cfg := kernels.Config{
		Launcher: r.world, Observer: r.world, Specs: r.world, Bridge: r.world.Bridge,
		Store: r.store, Sessions: r.store, Quotas: r.store, Leases: r.store, History: r.store,
		Log: slog.New(slog.NewTextHandler(testWriter{r.t}, nil)), DefaultSpec: "python3",
	}
	for _, f := range change {
		f(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		r.t.Fatal(err)
	}
	m := kernels.New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				r.t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			r.t.Error("Run does not end")
		}
	})
	r.t.Cleanup(stop)
	return gateway{Manager: m, stop: stop}
}

// testWriter sends a log to the test's own.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(line []byte) (int, error) {
	w.t.Logf("%s", line)
	return len(line), nil
}

// eventually waits until cond holds.
func (r *rig) eventually(what string, cond func() bool) {
	r.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			r.t.Fatalf("still not: %s", what)
		}
	}
}

// start starts a kernel without waiting for it.
func (r *rig) start(g gateway, owner kernels.Owner) kernels.Kernel {
	r.t.Helper()
	k, err := g.Start(r.ctx, owner, kernels.StartRequest{})
	if err != nil {
		r.t.Fatal(err)
	}
	return k
}

// started starts a kernel and waits until it runs.
func (r *rig) started(g gateway, owner kernels.Owner) kernels.Kernel {
	r.t.Helper()
	k := r.start(g, owner)
	r.runs(k, 1)
	return k
}

// record returns a kernel's record; the zero Record when there is none.
func (r *rig) record(k kernels.Kernel) kernels.Record {
	r.t.Helper()
	rec, err := r.store.Record(r.ctx, k.Owner, k.ID)
	if err != nil && !errors.Is(err, kernels.ErrNotFound) {
		r.t.Fatal(err)
	}
	return rec
}

// runs waits until the n-th process of a kernel runs and is recorded.
func (r *rig) runs(k kernels.Kernel, n int) {
	r.t.Helper()
	r.eventually("kernel runs", func() bool {
		rec := r.record(k)
		return rec.Phase == kernels.PhaseRunning && rec.Runs == n
	})
}

// gone waits until nothing of a kernel is left.
func (r *rig) gone(k kernels.Kernel) {
	r.t.Helper()
	r.eventually("record gone", func() bool { return r.record(k).Handle != k.Handle })
	if n, _, _ := r.world.Processes(k.Handle); n != 0 {
		r.t.Error("the kernel's containers are left")
	}
}

// goneWith is gone, and the kernel's clients have read that sentence.
func (r *rig) goneWith(k kernels.Kernel, sentence string) {
	r.t.Helper()
	r.gone(k)
	if got := r.world.Farewell(k.Handle); got != sentence {
		r.t.Errorf("clients read %q", got)
	}
}

// change rewrites a kernel's record behind the gateways' back.
func (r *rig) change(k kernels.Kernel, fn func(*kernels.Record)) {
	r.t.Helper()
	rec := r.record(k)
	fn(&rec)
	if err := r.store.Update(r.ctx, rec); err != nil {
		r.t.Fatal(err)
	}
}

// block has a verb wait until release is called, at most until the caller gives up. entered gets the handle of each
// call that waits.
func (r *rig) block(verb string) (entered chan string, release func()) {
	entered, open := make(chan string, 100), make(chan struct{})
	r.world.On(verb, func(ctx context.Context, handle string) error {
		entered <- handle
		select {
		case <-open:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	release = sync.OnceFunc(func() {
		r.world.On(verb, nil)
		close(open)
	})
	r.t.Cleanup(release)
	return entered, release
}

// receive waits for a value.
func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// async runs fn and delivers its error.
func async(fn func() error) <-chan error {
	c := make(chan error, 1)
	go func() { c <- fn() }()
	return c
}

// wantKind checks an error's kind.
func wantKind(t *testing.T, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("got error %v, want %v", err, kind)
	}
}

// failing is a hook that tells of each call and has it fail.
func failing(called chan<- string) kernelstest.Hook {
	return func(_ context.Context, handle string) error {
		select {
		case called <- handle:
		default:
		}
		return errors.New("does not answer")
	}
}
