package respawn_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"cellblock.io/cellblock/internal/respawn"
)

var errEnd = errors.New("end")

func TestPausesGrowAndAStableRunMakesThemShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var starts []time.Duration
		began := time.Now()
		errFinal := errors.New("final")
		ends := 0
		err := respawn.Keep(t.Context(), slog.New(slog.DiscardHandler), respawn.Program{
			Name: "p",
			Run: func(context.Context) error {
				starts = append(starts, time.Since(began).Round(time.Millisecond))
				switch len(starts) {
				case 9:
					<-time.After(2 * time.Minute)
				case 11:
					return errFinal
				}
				return errEnd
			},
			Final: func(err error) bool { return errors.Is(err, errFinal) },
			Ended: func(error) { ends++ },
		})
		if !errors.Is(err, errFinal) || ends != 10 {
			t.Errorf("%v after %d ends", err, ends)
		}
		var gaps []time.Duration
		for i := 1; i < len(starts); i++ {
			gaps = append(gaps, starts[i]-starts[i-1])
		}
		const ms = time.Millisecond
		want := []time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 5000 * ms, 5000 * ms, 120_100 * ms, 200 * ms}
		if !slices.Equal(gaps, want) {
			t.Errorf("gaps %v, want %v", gaps, want)
		}
	})
}

func TestContextEndsThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		err := respawn.Keep(ctx, slog.New(slog.DiscardHandler), respawn.Program{
			Run:   func(context.Context) error { return errEnd },
			Ended: func(error) { cancel() },
		})
		if err != nil {
			t.Error(err)
		}
	})
}
