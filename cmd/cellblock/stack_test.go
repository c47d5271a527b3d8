package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestStackStopsFromTheTop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStack()
		var ended []string
		for _, name := range []string{"redis", "manager", "gateway"} {
			s.start(name, func(ctx context.Context) error {
				<-ctx.Done()
				time.Sleep(time.Second) // a part takes its time; those below must wait
				ended = append(ended, name)
				return nil
			})
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if want := []string{"gateway", "manager", "redis"}; !slices.Equal(ended, want) {
			t.Errorf("ended in the order %v, want %v", ended, want)
		}
	})
}

func TestStackTellsOfABrokenPart(t *testing.T) {
	boom := errors.New("boom")
	for name, end := range map[string]error{"error": boom, "silent": nil} {
		t.Run(name, func(t *testing.T) {
			s := newStack()
			s.start("good", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
			s.start("bad", func(context.Context) error { return end })
			err := s.await(t.Context(), time.Minute, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
			if err == nil || !strings.Contains(err.Error(), "bad") || end != nil && !errors.Is(err, end) {
				t.Errorf("await: %v", err)
			}
			if stopped := s.stop(); stopped == nil || stopped.Error() != err.Error() {
				t.Errorf("stop: %v, want %v", stopped, err)
			}
		})
	}
}

func TestStackAwaitEndsWithItsContext(t *testing.T) {
	s := newStack()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.await(ctx, time.Minute, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}
