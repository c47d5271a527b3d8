//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	soakTime    = 10 * time.Second       // of the mixture, when E2E_SOAK says nothing
	soakWarm    = 6 * time.Second        // of it before the first look: more sessions than a bridge remembers, and full journals
	soakPace    = 100 * time.Millisecond // between the beginnings of a part's rounds at least
	soakRows    = 20                     // of the table
	soakJournal = 1000                   // messages, of each kernel
	calmTime    = 20 * time.Second       // until all that the mixture left has gone and the memory has been collected
)

// soak is one gateway under a mixture of everything that clients and kernels do when they do not behave.
type soak struct {
	g                                  *gateway
	alice                              person
	lasting                            []string       // kernels that live through all of it; the first prints and the second is restarted
	bridges                            map[string]int // their bridges' processes
	far                                person         // the same person behind a network that fails
	net                                *proxy
	sessions                           atomic.Int64
	connects, restarts, deaths, floods atomic.Int64
}

// TestSoak lets the mixture run for the time that E2E_SOAK gives, and fails when gateway, bridges or Redis then hold more
// than they held after a first, short one.
func TestSoak(t *testing.T) {
	length := soakTime
	if value := os.Getenv("E2E_SOAK"); value != "" {
		var err error
		if length, err = time.ParseDuration(value); err != nil || length <= 0 {
			t.Fatalf("E2E_SOAK=%q is not a length of time", value)
		}
	}
	s := newSoak(t)
	began := time.Now()
	s.mix(t, soakWarm, nil)
	before := s.calm(t, nil)
	t.Log(soakHead)
	t.Log(s.row(t, before, time.Since(began)))
	s.mix(t, length, func() { t.Log(s.row(t, s.look(t), time.Since(began))) })
	after := s.calm(t, &before)
	t.Log(s.row(t, after, time.Since(began)))
	if wrong := after.above(before); wrong != "" {
		t.Errorf("not back where it was after %v: %s", soakWarm, wrong)
	}
}

func newSoak(t *testing.T) *soak {
	t.Helper()
	g := startGateway(t, fmt.Sprintf("output: {journal_messages: %d}", soakJournal))
	s := &soak{g: g, alice: person{g.url, g.user(t, "alice", "--max-kernels", "8")}, bridges: map[string]int{}}
	var url string
	s.net, url = newProxy(t, g.url)
	s.far = person{url, s.alice.token}
	for range 2 {
		id := s.alice.newKernel(t)
		s.alice.connect(t, id, "first").execute(t, "1")
		s.lasting = append(s.lasting, id)
		s.bridges[id] = g.processOf(t, id, "bridge", "cellblock")
	}
	return s
}

// mix runs all parts of the mixture at once, each over and over, for a time, and each of soakRows times calls show.
func (s *soak) mix(t *testing.T, length time.Duration, show func()) {
	t.Helper()
	over := make(chan struct{})
	var actors sync.WaitGroup
	failed := make(chan error, len(soakParts))
	for _, part := range soakParts {
		actors.Go(func() {
			pace := time.NewTicker(soakPace)
			defer pace.Stop()
			for {
				select {
				case <-over:
					return
				case <-pace.C:
				}
				if err := part.once(s); err != nil {
					failed <- fmt.Errorf("%s: %w", part.name, err)
					return
				}
			}
		})
	}
	end := time.After(length)
	tick := time.NewTicker(max(length/soakRows, 2*time.Second))
	defer tick.Stop()
	for running := true; running; {
		select {
		case <-end:
			running = false
		case err := <-failed:
			t.Error(err)
			running = false
		case <-tick.C:
			if show != nil {
				show()
			}
		}
	}
	close(over)
	actors.Wait()
	s.net.reset()
	for len(failed) > 0 {
		t.Error(<-failed)
	}
}

// calm looks once a second, which leaves the processes alone enough to collect their memory, until nothing falls any more,
// or until nothing is above a limit. What is still above it when that has taken too long stays.
func (s *soak) calm(t *testing.T, limit *level) level {
	t.Helper()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var last level
	steady := 0
	for began := time.Now(); time.Since(began) < calmTime; <-tick.C {
		now := s.look(t)
		if steady++; now.falls(last) {
			steady = 0
		}
		if last = now; limit != nil && now.above(*limit) == "" || limit == nil && steady == calmLooks {
			break
		}
	}
	return last
}

// id is a session id that was not there before.
func (s *soak) id() string { return fmt.Sprintf("soak-%d", s.sessions.Add(1)) }
