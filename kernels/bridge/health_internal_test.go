package bridge

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestVerdict(t *testing.T) {
	broke := fmt.Errorf("read iopub: %w", errProtocol)
	stalled := fmt.Errorf("read iopub: %w", os.ErrDeadlineExceeded)
	times := func(n int, err error, lasting time.Duration) func(*hub) {
		return func(h *hub) {
			for range n {
				time.Sleep(lasting)
				h.kernelDown(err)
				h.kernelUp(nil, "k")
			}
		}
	}
	for _, tt := range []struct {
		name string
		do   func(*hub)
		want string // part of it
		well time.Duration
	}{
		{name: "nothing", do: func(*hub) { time.Sleep(time.Hour) }},
		{name: "death", do: func(h *hub) { h.kernelDown(errors.New("EOF")); time.Sleep(time.Hour) }},
		{name: "silence", do: func(h *hub) { time.Sleep(time.Hour); h.kernelDown(errSilent) },
			want: "did not answer", well: time.Hour - 8*time.Second},
		{name: "back from silence", do: func(h *hub) { h.kernelDown(errSilent); h.kernelUp(nil, "k") }},
		{name: "twice cut off", do: times(2, broke, time.Second)},
		{name: "thrice cut off", do: times(3, broke, time.Second), want: "no kernel may send", well: time.Second},
		{name: "thrice stalled", do: times(3, stalled, 12*time.Second), want: "no kernel may send", well: 12 * time.Second},
		{name: "cut off from time to time", do: times(10, broke, time.Minute)},
		{name: "thrice, and then well", do: func(h *hub) { times(3, broke, time.Second)(h); time.Sleep(stableLink) }},
		{name: "thrice, and then another process",
			do: func(h *hub) { times(3, broke, 0)(h); h.kernelDown(broke); h.kernelUp(nil, "another") }},
		{name: "takes connections only", do: func(h *hub) {
			time.Sleep(time.Hour)
			h.kernelDown(errors.New("EOF"))
			h.reach(true)
			time.Sleep(comebackTime)
			h.reach(true)
		}, want: "took connections", well: time.Hour},
		{name: "takes connections for a short time",
			do: func(h *hub) { h.kernelDown(errors.New("EOF")); h.reach(true); time.Sleep(comebackTime - 1) }},
		{name: "refuses connections meanwhile", do: func(h *hub) {
			h.kernelDown(errors.New("EOF"))
			h.reach(true)
			time.Sleep(comebackTime)
			h.reach(false)
			h.reach(true)
		}},
		{name: "takes connections before it has ever answered", do: func(h *hub) {
			h.phase, h.generation = waiting, 0
			h.reach(true)
			time.Sleep(time.Hour)
		}},
		{name: "ended", do: func(h *hub) { h.kernelDown(errSilent); h.end("Over.") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, began := busyHub(), time.Now()
				tt.do(h)
				st := h.status()
				if (tt.want == "") != (st.Broken == "") || !strings.Contains(st.Broken, tt.want) {
					t.Errorf("broken: %q", st.Broken)
				}
				if got := st.BrokenSince.Sub(began); st.Broken != "" && got != tt.well {
					t.Errorf("well until %v", got)
				}
				time.Sleep(reasonWait)
				synctest.Wait()
			})
		})
	}
}

func TestSilenceIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := busyHub()
		h.kernelDown(fmt.Errorf("heartbeat: %w", errSilent))
		got := strings.Join(h.heard("s4"), "\n")
		want := strings.Join(append(deathOf(cutOff(errSilent), "KernelDied"), restarting), "\n")
		if got != want {
			t.Errorf("heard\n%s\nwant\n%s", got, want)
		}
	})
}
