package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var redis, podman atomic.Bool // true: broken
		fails := func(b *atomic.Bool) func(context.Context) ([]string, error) {
			return func(context.Context) ([]string, error) {
				if b.Load() {
					return nil, errors.New("broken")
				}
				return []string{"well"}, nil
			}
		}
		h := &health{
			checks: []check{{"no redis", true, fails(&redis)}, {"no podman", false, fails(&podman)}},
			log:    slog.New(slog.DiscardHandler),
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- h.Run(ctx) }()
		for _, step := range []struct {
			redis, podman, ok bool
			problems          []string
		}{
			{false, false, true, []string{"well", "well"}},
			{false, true, true, []string{"well", "no podman"}},
			{true, true, false, []string{"no redis", "no podman"}},
			{false, false, true, []string{"well", "well"}},
		} {
			redis.Store(step.redis)
			podman.Store(step.podman)
			time.Sleep(healthInterval)
			synctest.Wait()
			if got := h.state(); got.OK != step.ok || !slices.Equal(got.Problems, step.problems) {
				t.Errorf("redis broken %v, podman broken %v: %+v", step.redis, step.podman, got)
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
