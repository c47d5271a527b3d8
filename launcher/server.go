package launcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"sync"
	"time"

	"cellblock.io/cellblock/internal/turns"
	"cellblock.io/cellblock/kernels"
)

// Config is what a Server needs. Engine and May are required.
type Config struct {
	Engine Engine
	// May reports whether processes of that user may ask. It is called for each connection.
	May func(uid int) bool
	// EnvAllow are the variables that may be set in a kernel.
	EnvAllow kernels.EnvAllow
	// Problems returns what is wrong on this side, in sentences that anybody may read. Nil means nothing.
	Problems func(ctx context.Context) []string
	// Log may be nil.
	Log *slog.Logger
}

// Server serves an engine to another process.
type Server struct {
	cfg     Config
	turns   turns.Turns
	changes chan struct{}  // a place for each change at once
	calls   sync.WaitGroup // handlers that run
}

// NewServer returns a Server that Run starts.
func NewServer(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Problems == nil {
		cfg.Problems = func(context.Context) []string { return nil }
	}
	return &Server{cfg: cfg, changes: make(chan struct{}, maxChanges)}
}

// Run serves ln until ctx ends, then lets calls in flight end for up to ten seconds, breaks off the others, waits until
// the engine has undone what they had begun, and returns nil. It owns ln. When serving itself fails it returns the error.
func (s *Server) Run(ctx context.Context, ln *net.UnixListener) error {
	requests, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	srv := &http.Server{
		Handler:           s.handler(ctx),
		Protocols:         &protocols,
		ReadHeaderTimeout: headerLimit,
		MaxHeaderBytes:    maxHead,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelWarn),
	}
	srv.SetKeepAlivesEnabled(false)
	var failure error
	var serving sync.WaitGroup
	serving.Go(func() {
		defer stop()
		guarded := &peers{UnixListener: ln, may: s.cfg.May, log: s.cfg.Log, places: make(chan struct{}, maxConns)}
		if err := srv.Serve(guarded); !errors.Is(err, http.ErrServerClosed) {
			failure = fmt.Errorf("serve: %w", err)
		}
	})
	<-ctx.Done()
	draining, cancel := context.WithTimeout(requests, drainLimit)
	defer cancel()
	if err := srv.Shutdown(draining); err != nil {
		giveUp()
		_ = srv.Close()
	}
	serving.Wait()
	s.calls.Wait()
	return failure
}

// handler serves all verbs. Watches end when ending does.
func (s *Server) handler(ending context.Context) http.Handler {
	verbs := http.NewServeMux()
	change := func(verb string, do func(ctx context.Context, handle string) error) {
		verbs.Handle("POST /v1/"+verb, answering(s, func(ctx context.Context, q kernelQuestion) (nothing, error) {
			return nothing{}, s.change(ctx, q.Handle, do)
		}))
	}
	change("restart", s.cfg.Engine.Restart)
	change("revive", s.cfg.Engine.Revive)
	change("interrupt", s.cfg.Engine.Interrupt)
	change("remove", s.cfg.Engine.Remove)
	verbs.Handle("POST /v1/launch", answering(s, s.launch))
	verbs.Handle("POST /v1/list", answering(s, func(ctx context.Context, _ nothing) ([]kernels.Instance, error) {
		return s.cfg.Engine.List(ctx)
	}))
	verbs.Handle("POST /v1/specs", answering(s, func(ctx context.Context, _ nothing) (map[string]kernels.Spec, error) {
		return s.cfg.Engine.Specs(ctx)
	}))
	verbs.Handle("POST /v1/networks", answering(s, s.networks))
	verbs.Handle("POST /v1/userids", answering(s, func(ctx context.Context, _ nothing) (map[kernels.Owner]int, error) {
		return s.cfg.Engine.UserIDs(ctx)
	}))
	verbs.Handle("POST /v1/state", answering(s, func(ctx context.Context, _ nothing) (problems, error) {
		return problems{s.cfg.Problems(ctx)}, nil
	}))
	verbs.HandleFunc("POST /v1/connect", s.connect)
	verbs.HandleFunc("POST /v1/watch", func(w http.ResponseWriter, r *http.Request) { s.watch(ending, w, r) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.calls.Add(1)
		defer s.calls.Done()
		verbs.ServeHTTP(w, r)
	})
}

// change does something with one kernel, when it is that kernel's turn and there is a place.
func (s *Server) change(ctx context.Context, handle string, do func(context.Context, string) error) error {
	if !kernels.ValidHandle(handle) {
		return fmt.Errorf("%w: handle %.80q", kernels.ErrInvalid, handle)
	}
	ctx, cancel := context.WithTimeout(ctx, changeLimit)
	defer cancel()
	give, err := s.turns.Take(ctx, handle)
	if err != nil {
		return fmt.Errorf("wait for another change of kernel %s: %w: %w", handle, kernels.ErrUnavailable, err)
	}
	defer give()
	select {
	case s.changes <- struct{}{}:
		defer func() { <-s.changes }()
	case <-ctx.Done():
		return fmt.Errorf("wait for changes of other kernels: %w: %w", kernels.ErrUnavailable, ctx.Err())
	}
	return do(ctx, handle)
}

// launch starts a kernel of what this side itself knows of the kernelspec: who asks chooses among names.
func (s *Server) launch(ctx context.Context, q launchQuestion) (nothing, error) {
	if err := q.check(s.cfg.EnvAllow, time.Now()); err != nil {
		return nothing{}, err
	}
	specs, err := s.cfg.Engine.Specs(ctx)
	if err != nil {
		return nothing{}, err
	}
	spec, there := specs[q.Spec]
	if !there || spec.Image != q.Image {
		return nothing{}, fmt.Errorf("%w: no configured image is %.80q with the kernelspec %.80q", kernels.ErrInvalid, q.Image, q.Spec)
	}
	rec := kernels.Record{ID: q.ID, Owner: q.Owner, Handle: q.Handle, Spec: q.Spec, Created: q.Created}
	return nothing{}, s.change(ctx, q.Handle, func(ctx context.Context, _ string) error {
		return s.cfg.Engine.Launch(ctx, kernels.Launch{Record: rec, UID: q.UID, Spec: spec, Env: q.Env, Network: q.Network})
	})
}

// policyName is the form of a network policy's name.
var policyName = regexp.MustCompile(`^[a-z0-9_-]{0,64}$`)

// networks hands on which network policies hold.
func (s *Server) networks(ctx context.Context, inForce map[kernels.Owner]string) (nothing, error) {
	for owner, policy := range inForce {
		if !owner.Valid() || !policyName.MatchString(policy) {
			return nothing{}, fmt.Errorf("%w: network policy %.80q of %.80q", kernels.ErrInvalid, policy, owner)
		}
	}
	return nothing{}, s.cfg.Engine.Apply(ctx, inForce)
}

// clockSkew is how far in the future a kernel may have been created: both sides have the same clock, which may be set.
const clockSkew = time.Hour

// check refuses what an engine should never get to see. Whether the user id is the owner's own the engine knows.
func (q launchQuestion) check(allow kernels.EnvAllow, now time.Time) error {
	switch {
	case !kernels.ValidHandle(q.Handle):
		return fmt.Errorf("%w: handle %.80q", kernels.ErrInvalid, q.Handle)
	case !kernels.ValidID(q.ID):
		return fmt.Errorf("%w: kernel id %.80q", kernels.ErrInvalid, q.ID)
	case !q.Owner.Valid():
		return fmt.Errorf("%w: owner %.80q", kernels.ErrInvalid, q.Owner)
	case !policyName.MatchString(q.Network):
		return fmt.Errorf("%w: network policy %.80q", kernels.ErrInvalid, q.Network)
	case q.Created.Year() < 2000 || q.Created.After(now.Add(clockSkew)):
		return fmt.Errorf("%w: created at %v", kernels.ErrInvalid, q.Created)
	}
	return allow.Check(q.Env)
}
