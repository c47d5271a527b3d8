package gateway_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cellblock.io/cellblock/kernels/kernelstest"
)

const (
	neighbours = 19
	verdict    = 12 * time.Second // 10 s for a bridge to see that a kernel is hostile, and a little for busy machines
)

// street is kernels that behave, each with a client that has it echo a word again and again.
type street struct {
	mu    sync.Mutex
	trips []time.Duration
	err   error
}

func (h *house) newStreet(t testing.TB) *street {
	t.Helper()
	s := &street{}
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range neighbours {
		k := kernelstest.NewHostileKernel(t)
		k.Start()
		id, _ := h.moveIn(t, k)
		b := h.visit(t, id, "neighbour")
		if err := b.trip("hello", verdict); err != nil {
			t.Fatalf("neighbour: %v", err)
		}
		all.Go(func() {
			for beat := time.NewTicker(100 * time.Millisecond); ; {
				select {
				case <-stop:
					return
				case <-beat.C:
				}
				began := time.Now()
				s.note(b.trip("echo", verdict), time.Since(began))
			}
		})
	}
	t.Cleanup(func() { close(stop); all.Wait() })
	return s
}

func (s *street) note(err error, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = errors.Join(s.err, err)
	s.trips = append(s.trips, took)
}

// take returns the median and worst of the trips since it was called last.
func (s *street) take(t testing.TB) (median, worst time.Duration, n int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		t.Fatalf("a neighbour: %v", s.err)
	}
	trips := s.trips
	s.trips = nil
	if len(trips) == 0 {
		return 0, 0, 0
	}
	slices.Sort(trips)
	return trips[len(trips)/2], trips[len(trips)-1], len(trips)
}

// victim is one kernel under an attack, with those who use it.
type victim struct {
	kernelstest.Attack
	kernel    *kernelstest.HostileKernel
	bridge    *process
	id        string
	user      *tab
	bystander *tab
}

// besiege starts a kernel that attacks, and its bridge.
func (h *house) besiege(t testing.TB, a kernelstest.Attack) *victim {
	t.Helper()
	v := &victim{Attack: a, kernel: kernelstest.NewHostileKernel(t)}
	v.kernel.Arm(a)
	v.kernel.Start()
	v.id, v.bridge = h.moveIn(t, v.kernel)
	v.user, v.bystander = h.visit(t, v.id, "user"), h.visit(t, v.id, "bystander")
	v.user.wanted = a.Says
	go v.bystander.drain()
	h.visit(t, v.id, "stalled") // and reads nothing
	return v
}

// siege carries the attack out and sees that it comes to what it must come to.
func (v *victim) siege(h *house, t testing.TB) error {
	if v.Act == nil {
		return v.startup()
	}
	if err := v.user.trip("before", verdict); err != nil {
		return fmt.Errorf("before the attack: %w", err)
	}
	id, err := v.user.ask("shell", "execute_request", "attack")
	if err != nil {
		return err
	}
	if v.Alone {
		v.user.Close()
		v.bystander.Close()
		<-v.kernel.Done()
		v.user = h.visit(t, v.id, "later")
	}
	for deadline := time.Now().Add(verdict); v.Ends && v.user.restarts == 0; {
		if _, err := v.user.hear(deadline); err != nil {
			return fmt.Errorf("no end: %w", err)
		}
	}
	for deadline := time.Now().Add(verdict); ; {
		if err := v.user.trip("after", patience); err != nil {
			return fmt.Errorf("after the attack: %w", err)
		}
		if v.user.found {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("nobody said %q", v.Says)
		}
	}
	if !v.Ends && v.user.restarts > 0 {
		return errors.New("it ended the link")
	}
	if n := v.user.replies[id]; n > 1 {
		return fmt.Errorf("%d replies to one request", n)
	}
	return nil
}

// patience is how long a flood's last message may take to come through.
const patience = time.Minute

// startup: a kernel that does not come up is tried again, and what was asked meanwhile is answered when it does.
func (v *victim) startup() error {
	met, asked := v.kernel.Met(), v.kernel.Asked()
	for deadline := time.Now().Add(verdict); v.kernel.Met() < met+2 && v.kernel.Asked() < asked+2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("tried only %d times", v.kernel.Met())
		}
	}
	v.kernel.Relent()
	return v.user.trip("after", verdict)
}

// aftermath is what must hold after every attack.
func (v *victim) aftermath(t testing.TB) {
	t.Helper()
	peak := v.bridge.peak(t)
	t.Logf("%s: %d MiB", v.Name, peak>>20)
	if peak > bridgeMemory {
		t.Errorf("%s: its bridge took %d MiB", v.Name, peak>>20)
	}
	if fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", v.bridge.Process.Pid)); err != nil || len(fds) > 32 {
		t.Errorf("%s: its bridge has %d open files (%v)", v.Name, len(fds), err)
	}
	for _, b := range []*tab{v.user, v.bystander} {
		b.Close()
	}
	<-v.bystander.drained
	if err := errors.Join(v.user.wild, v.bystander.wild); err != nil {
		t.Errorf("%s: a client was sent %v", v.Name, err)
	}
	v.kernel.Stop()
	v.bridge.end(t)
	for line := range strings.Lines(v.bridge.log.String()) {
		if !strings.HasPrefix(line, "time=") || len(line) > 4<<10 {
			t.Errorf("%s: logged %.100q", v.Name, line)
		}
	}
}

// Whatever a kernel does hurts nobody but itself: its bridge stays within its memory, its clients read how it ends, and
// the kernels beside it do not notice.
func TestHostileKernels(t *testing.T) {
	h := newHouse(t)
	s := h.newStreet(t)
	until(t, "a calm street", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.trips) > 5*neighbours })
	calm, _, _ := s.take(t)
	var slow []kernelstest.Attack
	for name, attacks := range map[string][]kernelstest.Attack{
		"handshakes": kernelstest.Handshakes(), "starts": kernelstest.Starts(), "streams": kernelstest.Streams(),
		"messages": kernelstest.Messages(), "floods": kernelstest.Floods(), "heartbeats": kernelstest.Heartbeats(),
	} {
		for _, a := range attacks {
			if a.Slow {
				slow = append(slow, a)
				continue
			}
			t.Run(name+"/"+a.Name, func(t *testing.T) {
				v := h.besiege(t, a)
				if err := v.siege(h, t); err != nil {
					t.Error(err)
				}
				v.aftermath(t)
				s.check(t, calm)
			})
		}
	}
	t.Run("slow ones, together", func(t *testing.T) {
		var all sync.WaitGroup
		var victims []*victim
		for _, a := range slow {
			v := h.besiege(t, a)
			victims = append(victims, v)
			all.Go(func() {
				if err := v.siege(h, t); err != nil {
					t.Errorf("%s: %v", v.Name, err)
				}
			})
		}
		all.Wait()
		for _, v := range victims {
			v.aftermath(t)
		}
		s.check(t, calm)
	})
}

// check compares the street's trips during an attack with those in calm.
func (s *street) check(t testing.TB, calm time.Duration) {
	t.Helper()
	median, worst, n := s.take(t)
	if n > 0 && (median > 10*calm+100*time.Millisecond || worst > 5*time.Second) {
		t.Errorf("neighbours' trips took %v, the worst %v; %v in calm", median, worst, calm)
	}
}
