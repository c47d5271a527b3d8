package bridge

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// manner is how a kernel treats its heartbeat.
type manner struct {
	refuses bool // connections, and ends those it has
	deaf    bool // takes beats and echoes none
	late    time.Duration
	busy    string // with that request
}

// cardiac is a kernel's heartbeat by hand, in a synctest bubble.
type cardiac struct {
	wg sync.WaitGroup

	mu    sync.Mutex
	now   manner
	beats int
	dials int
}

// meets counts a beat and says what is done with it.
func (k *cardiac) meets(beats int) manner {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.beats += beats
	return k.now
}

func (k *cardiac) becomes(m manner) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.now = m
}

func (k *cardiac) busyWith(with string) (still bool, now string) {
	now = k.meets(0).busy
	return with != "" && with == now, now
}

func (k *cardiac) dial(context.Context) (*guard, error) {
	k.dials++
	if k.meets(0).refuses {
		return nil, errors.New("refused")
	}
	ours, theirs := net.Pipe()
	g := newEchoGuard(ours)
	g.greeted, g.established = true, true
	k.wg.Go(func() {
		defer theirs.Close()
		for b := make([]byte, 4+32); ; {
			if _, err := io.ReadFull(theirs, b); err != nil {
				return
			}
			m := k.meets(1)
			if m.refuses {
				return
			}
			time.Sleep(m.late)
			if m.deaf {
				continue
			}
			if _, err := theirs.Write(b); err != nil {
				return
			}
		}
	})
	return g, nil
}

// What a heart makes of a kernel that behaves well for a while and then changes.
func TestHeart(t *testing.T) {
	const beforehand, afterwards = 5 * time.Second, time.Hour
	const latest = 9 * time.Second // a second until the next beat, and eight without an echo
	for _, tt := range []struct {
		name     string
		untiring bool
		start    manner
		then     manner
		silent   bool
	}{
		{name: "beats"},
		{name: "stops", then: manner{deaf: true}, silent: true},
		{name: "closes", then: manner{refuses: true}, silent: true},
		{name: "late", then: manner{late: beatEvery - 1}},
		{name: "never was there", start: manner{refuses: true}, then: manner{refuses: true}},
		{name: "never echoed", start: manner{deaf: true}, then: manner{deaf: true}},
		{name: "one thread, busy", then: manner{deaf: true, busy: "r"}},
		{name: "ipython, busy", untiring: true, then: manner{deaf: true, busy: "r"}, silent: true},
		{name: "seen to echo while it was busy", start: manner{busy: "r"}, then: manner{deaf: true, busy: "r"}, silent: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := &cardiac{now: tt.start}
				h := heart{dial: k.dial, busy: k.busyWith}
				h.untiring = tt.untiring
				ctx, cancel := context.WithTimeout(t.Context(), beforehand+afterwards)
				defer cancel()
				ended := make(chan error, 1)
				go func() { ended <- h.run(ctx) }()
				time.Sleep(beforehand)
				k.becomes(tt.then)
				changed := time.Now()
				err := <-ended
				want := context.DeadlineExceeded
				if tt.silent {
					want = errSilent
				}
				if took := time.Since(changed); !errors.Is(err, want) || tt.silent && took != latest {
					t.Errorf("ended after %v with %v, not %v", took, err, want)
				}
				k.wg.Wait()
				if most := int((beforehand+afterwards)/beatEvery) + 1; k.beats > most || k.dials > most {
					t.Errorf("%d beats, %d dials", k.beats, k.dials)
				}
			})
		})
	}
}

// A kernel that has echoed a beat in the midst of a request is known to do so; one that could not is left in peace, and
// is sent nothing more, until it is idle.
func TestKernelShowsThatItEchoesWhileBusy(t *testing.T) {
	beat := func(p *pulse, busy string, echo bool) (sent bool, err error) {
		t.Helper()
		b, err := p.next(busy, busy != "" && p.watched() == busy)
		if echo && b != "" {
			p.echo([]byte(b))
		}
		return b != "", err
	}
	for _, tt := range []struct {
		name   string
		beats  []string // what it is busy with at each beat; with an exclamation mark it echoes
		silent bool
	}{
		{"shown", []string{"!", "r!", "r!", "r", "r", "r", "r", "r"}, true},
		{"not shown by what was answered between two requests", []string{"!", "a!", "b", "b", "b", "b", "b", "b"}, false},
		{"not shown by the beat before", []string{"!", "r", "r", "r", "r", "r", "r"}, false},
		{"idle afterwards, and silent", []string{"!", "r", "r", "r", "", "", "", ""}, true},
		{"idle afterwards, and slow", []string{"!", "r", "r", "r", "", "", "!", "!"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p pulse
			var err error
			for i, with := range tt.beats {
				echo := with != "" && with[len(with)-1] == '!'
				if echo {
					with = with[:len(with)-1]
				}
				if err != nil {
					t.Fatalf("silent before beat %d", i)
				}
				_, err = beat(&p, with, echo)
			}
			if (err != nil) != tt.silent {
				t.Errorf("ended with %v", err)
			}
			if len(p.open) > maxBeats {
				t.Errorf("%d beats are open", len(p.open))
			}
		})
	}
	var p pulse
	_, _ = beat(&p, "", true)
	for n := range 100 {
		if sent, err := beat(&p, "r", false); sent != (n == 0) || err != nil {
			t.Fatalf("beat %d of a busy kernel: sent %v, %v", n, sent, err)
		}
	}
}
