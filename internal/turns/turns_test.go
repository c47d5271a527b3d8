package turns_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"cellblock.io/cellblock/internal/turns"
)

func TestOneAtATime(t *testing.T) {
	var all turns.Turns
	inside, most := 0, 0
	var mu sync.Mutex
	var callers sync.WaitGroup
	for range 50 {
		callers.Go(func() {
			give, err := all.Take(t.Context(), "a")
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			inside++
			most = max(most, inside)
			mu.Unlock()
			mu.Lock()
			inside--
			mu.Unlock()
			give()
		})
	}
	callers.Wait()
	if most != 1 {
		t.Errorf("%d had the turn at once", most)
	}
}

func TestTry(t *testing.T) {
	var all turns.Turns
	give := all.Try("a")
	if give == nil {
		t.Fatal("a free turn was not given")
	}
	if all.Try("a") != nil {
		t.Error("the same turn was given twice")
	}
	if other := all.Try("b"); other == nil {
		t.Error("one name keeps another from its turn")
	}
	give()
	if all.Try("a") == nil {
		t.Error("a turn that was given back is not free")
	}
}

func TestWhoWaitsCanGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all turns.Turns
		give := all.Try("a")
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := make(chan error)
		go func() {
			_, err := all.Take(ctx, "a")
			gone <- err
		}()
		synctest.Wait()
		cancel(cause)
		if err := <-gone; !errors.Is(err, cause) {
			t.Errorf("error %v", err)
		}
		give()
		if all.Try("a") == nil {
			t.Error("who gave up still holds it")
		}
	})
}
