//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// What may be more at the end than after the warm-up. One thing left behind by each round of any part of the mixture
// is far more than that: even the shortest run has hundreds of connections.
const (
	soakSpareMemory   = 4 << 20
	soakSpareKeys     = 4 // a lease that has not run out
	soakSpareThreads  = 8
	soakSpareMappings = 64        // the runtime's, of threads and of memory that it has grown by
	calmLooks         = 4         // in a row, without anything that falls
	stillFalls        = 256 << 10 // bytes
)

// level is what is held in all at one time.
type level struct {
	gateway    usage
	mappings   int // of memory in the gateway; each WebSocket has one
	goroutines int
	bridges    []bridgeLevel
	keys       int // in Redis, of any kind
}

type bridgeLevel struct {
	usage
	mappings int
	threads  int
}

const soakHead = "    time  connects restarts deaths floods | gateway: fds goroutines     MB | bridges: fds threads    MB | keys journal"

// look measures.
func (s *soak) look(t *testing.T) level {
	t.Helper()
	own := s.g.process.Process.Pid
	l := level{gateway: usageOf(t, own), mappings: mappingsOf(t, own), goroutines: s.g.goroutines(t), keys: s.g.allKeys(t)}
	for _, id := range s.lasting {
		pid := s.bridges[id]
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			t.Fatalf("the bridge of kernel %s has gone: %v", id, err)
		}
		l.bridges = append(l.bridges, bridgeLevel{usageOf(t, pid), mappingsOf(t, pid), len(threads)})
	}
	return l
}

// above says what of l is more than before by more than may be, or nothing.
func (l level) above(before level) string {
	var wrong []string
	check := func(what string, now, was, spare int) {
		if now > was+spare {
			wrong = append(wrong, fmt.Sprintf("%s %d, was %d", what, now, was))
		}
	}
	check("descriptors of the gateway", l.gateway.descriptors, before.gateway.descriptors, spareDescriptors)
	check("bytes of the gateway", l.gateway.memory, before.gateway.memory, soakSpareMemory)
	check("mappings of the gateway", l.mappings, before.mappings, soakSpareMappings)
	check("goroutines", l.goroutines, before.goroutines, spareGoroutines)
	check("keys in Redis", l.keys, before.keys, soakSpareKeys)
	for i, b := range l.bridges {
		was := before.bridges[i]
		name := fmt.Sprintf("of bridge %d", i)
		check("descriptors "+name, b.descriptors, was.descriptors, spareDescriptors)
		check("bytes "+name, b.memory, was.memory, soakSpareMemory)
		check("mappings "+name, b.mappings, was.mappings, soakSpareMappings)
		check("threads "+name, b.threads, was.threads, soakSpareThreads)
	}
	return strings.Join(wrong, "; ")
}

// falls reports whether anything of l is less than a moment ago.
func (l level) falls(before level) bool {
	if before.bridges == nil || l.goroutines < before.goroutines || l.keys < before.keys ||
		l.gateway.memory < before.gateway.memory-stillFalls || l.gateway.descriptors < before.gateway.descriptors {
		return true
	}
	for i, b := range l.bridges {
		was := before.bridges[i]
		if b.memory < was.memory-stillFalls || b.descriptors < was.descriptors {
			return true
		}
	}
	return false
}

// row is one line of the table. It checks the first kernel's journal.
func (s *soak) row(t *testing.T, l level, at time.Duration) string {
	t.Helper()
	journal := s.alice.journalLength(t, s.lasting[0])
	if journal > soakJournal {
		t.Errorf("a journal of at most %d messages has %d", soakJournal, journal)
	}
	var fds, threads, memory []string
	for _, b := range l.bridges {
		fds = append(fds, fmt.Sprint(b.descriptors))
		threads = append(threads, fmt.Sprint(b.threads))
		memory = append(memory, fmt.Sprintf("%.1f", float64(b.memory)/1e6))
	}
	return fmt.Sprintf("%8s %9d %8d %6d %6d | %12d %10d %6.1f | %12s %7s %9s | %4d %7d", at.Round(time.Second),
		s.connects.Load(), s.restarts.Load(), s.deaths.Load(), s.floods.Load(),
		l.gateway.descriptors, l.goroutines, float64(l.gateway.memory)/1e6,
		strings.Join(fds, "/"), strings.Join(threads, "/"), strings.Join(memory, "/"), l.keys, journal)
}

func mappingsOf(t *testing.T, pid int) int {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(content), "\n")
}

// journalLength counts the messages in a kernel's journal.
func (p person) journalLength(t *testing.T, id string) (n int) {
	t.Helper()
	for since := uint64(0); ; {
		got := p.call(t, "GET", fmt.Sprintf("/api/kernels/%s/journal?since=%d", id, since), "")
		var page struct {
			Next     uint64
			More     bool
			Messages []struct{ Seq uint64 }
		}
		if err := json.Unmarshal([]byte(got.body), &page); err != nil || got.status != http.StatusOK {
			t.Fatalf("journal of kernel %s: %d %v", id, got.status, err)
		}
		if n += len(page.Messages); !page.More {
			return n
		}
		since = page.Next
	}
}

// allKeys counts all keys in Redis.
func (g *gateway) allKeys(t *testing.T) int {
	t.Helper()
	client := g.redis(t)
	defer client.Close()
	n, err := client.DBSize(context.Background()).Result()
	if err != nil {
		t.Fatalf("ask redis for its size: %v", err)
	}
	return int(n)
}
