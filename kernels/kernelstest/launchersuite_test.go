package kernelstest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/kernels/kernelstest"
)

// TestWorld holds the engine in memory to the contract of the real one.
func TestWorld(t *testing.T) {
	kernelstest.LauncherSuite(t, func(t *testing.T) kernelstest.Place {
		w := kernelstest.NewWorld()
		w.On("launch", func(_ context.Context, handle string) error {
			if strings.HasPrefix(handle, "bad") {
				return errors.New("no such image")
			}
			return nil
		})
		var made, bridges atomic.Int64
		launch := func(prefix string, owner kernels.Owner) kernels.Launch {
			n := int(made.Add(1))
			return kernels.Launch{UID: 20000, Record: kernels.Record{
				ID: kernelstest.ID(n), Owner: owner, Handle: fmt.Sprintf("%s%d", prefix, n), Spec: "python3", Created: time.Now(),
			}}
		}
		return kernelstest.Place{
			Launcher: w,
			Observer: w,
			Launch:   func(owner kernels.Owner) kernels.Launch { return launch("good", owner) },
			Broken:   func(owner kernels.Owner) kernels.Launch { return launch("bad", owner) },
			Kill: func(_ *testing.T, handle string, bridge bool) {
				if bridge {
					bridges.Add(1)
					w.KillBridge(handle)
				} else {
					w.KillKernel(handle)
				}
			},
			Process: func(_ *testing.T, handle string, bridge bool) string {
				if bridge {
					return strconv.Itoa(int(bridges.Load()))
				}
				n, _, _ := w.Processes(handle)
				return strconv.Itoa(n)
			},
			Watching: func(*testing.T) {
				for w.Watchers() == 0 {
					runtime.Gosched()
				}
			},
			Again: func(*testing.T) (kernels.Launcher, kernels.Observer) { return w, w },
			Leftovers: func(_ *testing.T, handle string) []string {
				if w.Launched(handle).Record.Handle == "" {
					return nil
				}
				return []string{handle}
			},
		}
	})
}
