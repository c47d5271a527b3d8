package launcher_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/launcher"
)

// A launcher that ends and starts again under load: callers get an error that says "later", nothing else, and then go on.
func TestRestartUnderLoad(t *testing.T) {
	r := newRig(t)
	conn, err := r.Dial(t.Context(), "good1")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	var good, later atomic.Int64
	count := func(err error) {
		switch {
		case err == nil:
			good.Add(1)
		case errors.Is(err, kernels.ErrUnavailable):
			later.Add(1)
		case ctx.Err() == nil:
			t.Errorf("%v", err)
		}
	}
	for range 4 {
		all.Go(func() {
			for ctx.Err() == nil {
				l := describe("alice", "good")
				err := r.Launch(ctx, l)
				count(err)
				if err == nil {
					for r.Remove(context.WithoutCancel(ctx), l.Record.Handle) != nil {
					}
				}
			}
		})
		all.Go(func() {
			for ctx.Err() == nil {
				c, err := r.Dial(ctx, "good1")
				count(err)
				if err == nil {
					c.Close()
				}
			}
		})
		all.Go(func() {
			for ctx.Err() == nil {
				_, err := r.List(ctx)
				count(err)
			}
		})
		all.Go(func() {
			for ctx.Err() == nil {
				if err := r.Watch(ctx, func(kernels.Exit) {}); ctx.Err() == nil {
					count(err)
				}
			}
		})
	}
	for range 5 {
		had := good.Load()
		until(t, "success", func() bool { return good.Load() > had+20 })
		r.stop(t)
		had = later.Load()
		until(t, "a refusal", func() bool { return later.Load() > had })
		echoes(t, conn)
		r.start(t)
	}
	cancel()
	all.Wait()
}

// A launch whose caller goes away leaves nothing behind once it has returned.
func TestLaunchCancelled(t *testing.T) {
	r := newRig(t)
	entered := make(chan struct{})
	leave := make(chan struct{})
	r.engine.On("launch", func(context.Context, string) error { // one that does not look at its context
		close(entered)
		<-leave
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	l := describe("alice", "good")
	done := make(chan error, 1)
	go func() { done <- r.Launch(ctx, l) }()
	<-entered
	cancel()
	select {
	case err := <-done:
		t.Fatalf("returned while the engine was at it: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(leave)
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if list, err := r.List(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("left: %+v, %v", list, err)
	}
}

// A launch that is refused removes nothing: the handle may be that of a kernel that runs.
func TestLaunchRefused(t *testing.T) {
	r := newRig(t)
	l := describe("alice", "good")
	if err := r.Launch(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if err := r.Launch(t.Context(), l); err == nil {
		t.Error("launched twice")
	}
	r.stop(t)
	if err := r.Launch(t.Context(), l); !errors.Is(err, kernels.ErrUnavailable) {
		t.Errorf("without a launcher: %v", err)
	}
	r.start(t)
	if n := r.engine.Calls("remove", ""); n > 0 {
		t.Errorf("%d kernels removed", n)
	}
}

// A launcher that ends waits for what it has begun.
func TestEndWaits(t *testing.T) {
	r := newRig(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	r.engine.On("restart", func(context.Context, string) error {
		close(entered)
		<-leave
		return nil
	})
	l := describe("alice", "good")
	if err := r.Launch(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- r.Restart(t.Context(), l.Record.Handle) }()
	<-entered
	time.AfterFunc(20*time.Millisecond, func() { close(leave) })
	r.stop(t)
	if err := <-done; err != nil {
		t.Errorf("the call in flight: %v", err)
	}
}

// Watch gives up a launcher that was stopped in its midst, and tells why an engine's watch broke.
func TestWatch(t *testing.T) {
	r := newRig(t)
	r.engine.On("watch", func(context.Context, string) error { return errors.New("log of events was cut") })
	if err := r.Watch(t.Context(), func(kernels.Exit) {}); err == nil || !strings.Contains(err.Error(), "log of events was cut") {
		t.Errorf("%v", err)
	}
	for _, lines := range []string{"{}\n{\n", `{"exit":{"Handle":"../x"}}` + "\n", strings.Repeat("x", launcher.MaxLine+1)} {
		if err := launcher.Follow(strings.NewReader(lines), func(*kernels.Exit) {}); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%.20q: %v", lines, err)
		}
	}
}

func TestWatchFallsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		c := launcher.NewClientOn(func(context.Context) (net.Conn, error) { return near, nil })
		go func() {
			defer far.Close()
			_, _ = far.Read(make([]byte, 4096))
			_, _ = io.WriteString(far, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}\n")
			_, _ = io.Copy(io.Discard, far) // and not a word more
		}()
		began := time.Now()
		err := c.Watch(t.Context(), func(kernels.Exit) {})
		if took := time.Since(began); !errors.Is(err, kernels.ErrUnavailable) || took < 30*time.Second || took > time.Minute {
			t.Errorf("after %v: %v", took, err)
		}
		near.Close()
	})
}

// Nobody else's launcher is listened to by mistake: its user is known.
func TestPeer(t *testing.T) {
	r := newRig(t)
	r.stop(t)
	if _, err := r.Peer(t.Context()); !errors.Is(err, kernels.ErrUnavailable) {
		t.Errorf("without a launcher: %v", err)
	}
	r.start(t)
	if uid, err := r.Peer(t.Context()); err != nil || uid != os.Geteuid() {
		t.Errorf("%d, %v", uid, err)
	}
	if err := r.Apply(t.Context(), map[kernels.Owner]string{"alice": "pypi"}); err != nil || r.engine.policy.Load() != "pypi" {
		t.Errorf("policy %v, %v", r.engine.policy.Load(), err)
	}
	for owner, policy := range map[kernels.Owner]string{"../alice": "none", "alice": "no policy"} {
		if err := r.Apply(t.Context(), map[kernels.Owner]string{owner: policy}); !errors.Is(err, kernels.ErrInvalid) {
			t.Errorf("%s of %s: %v", policy, owner, err)
		}
	}
	if ids, err := r.UserIDs(t.Context()); err != nil || len(ids) != 1 || ids["alice"] != 20000 {
		t.Errorf("user ids %v, %v", ids, err)
	}
}
