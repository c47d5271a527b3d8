//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	sparePeak  = 64 << 20  // bytes that the runtime may keep for a while after thousands of connections
	spareLong  = 20 << 20  // and a minute later
	bridgeMost = 200 << 20 // a full journal, requests under way, and what is not collected yet
)

// TestTarget attacks a running gateway with real kernels, real Redis and a real browser: the rows of security reference
// §2.4 (A40 to A55) and §3.9 (WS-01 to WS-36), each by its number. Meanwhile an honest person's cells go on, and at the
// end the gateway holds no more than before. Rows that need a clock of the test's own are unit tests of gateway and
// bridge; here they are seen to do no harm. Rows about what does not exist yet (single sign-on, roles that may only
// read, an administrator's page) come with it.
func TestTarget(t *testing.T) {
	key := jwtKey(t)
	s := besiege(t, fmt.Sprintf("auth: {jwt: {algorithm: HS256, key_file: %s, issuer: e2e, audience: cellblock}}", key.file))
	s.jwt = key
	fresh := usageOf(t, s.g.process.Process.Pid)
	revoked := s.revoke(t)
	t.Run("attacks", s.attack)
	t.Run("WS-09 A52 revoked while open", revoked)
	t.Run("A43 secrets are nowhere", s.secretsAreNowhere)
	t.Run("A49 one line each", s.logIsWhole)
	admin := s.g.redis(t)
	defer admin.Close()
	t.Run("A54 forged records", func(t *testing.T) { s.forgedRecords(t, admin) })
	t.Run("A54 Redis stops", func(t *testing.T) { s.stoppedRedis(t, admin) })
	t.Run("A54 Redis dies", func(t *testing.T) { s.killedRedis(t, admin) })
	t.Run("A54 Redis forgets", func(t *testing.T) { s.flushedRedis(t, admin) })
	t.Run("A38 output cannot reach the gateway", s.output)
	t.Run("A54 Redis knows again", s.adopted)
	eventually(t, settleTime, func() string {
		if now := usageOf(t, s.g.process.Process.Pid); now.memory > fresh.memory+spareLong {
			return fmt.Sprintf("long after the attacks the gateway has %+v, and had %+v", now, fresh)
		}
		return ""
	})
	t.Logf("after all the gateway has %+v, and had %+v", usageOf(t, s.g.process.Process.Pid), fresh)
	t.Run("WS-24 herd after a kill", s.herd)
}

// attack is all that is done while the gateway's size is watched.
func (s *siege) attack(t *testing.T) {
	defer s.settled(t, usageOf(t, s.g.process.Process.Pid), s.g.goroutines(t))
	release := s.hold(t)
	defer release()
	for _, row := range s.requests(t) {
		t.Run(row.name, func(t *testing.T) {
			s.strike(t, row)
			s.work.goesOn(t)
		})
	}
	for _, row := range frames {
		t.Run(row.name, func(t *testing.T) {
			c := s.open(t, row.lines...)
			if _, err := c.Write(row.bytes); err != nil {
				t.Fatal(err)
			}
			if got := c.code(); !row.ends(got) {
				t.Errorf("closed with %d, want %d", got, row.codes)
			}
			s.work.goesOn(t)
		})
	}
	t.Run("WS-30 WS-32 WS-33 messages", s.forge)
	t.Run("A46 WS-25 to 29 offsets", s.offsets)
	t.Run("WS-13 client that never reads", s.neverReads)
	t.Run("WS-22 flood of requests", s.flood)
	t.Run("slow", func(t *testing.T) {
		t.Run("WS-10 slow headers", s.slowHeaders)
		t.Run("WS-11 silent connections", s.silent)
	})
	t.Run("A41 nobody started a kernel", func(t *testing.T) {
		for _, p := range []person{s.alice, s.bob, s.mallory} {
			if got := p.call(t, "GET", "/api/kernels", ""); strings.Count(got.body, `"id"`) > 1 {
				t.Errorf("kernels that nobody wanted: %s", got.body)
			}
		}
	})
}

// settled fails the test unless the gateway holds again what it held, and a kernel's bridge no more than it may.
func (s *siege) settled(t *testing.T, was usage, goroutines int) {
	t.Helper()
	eventually(t, settleTime, func() string {
		now, running := usageOf(t, s.g.process.Process.Pid), s.g.goroutines(t)
		if now.descriptors > was.descriptors+spareDescriptors || now.memory > was.memory+sparePeak || running > goroutines+spareGoroutines {
			return fmt.Sprintf("the gateway has %+v and %d goroutines, and had %+v and %d", now, running, was, goroutines)
		}
		return ""
	})
	if n := s.g.bridgeMemory(t, s.own); n > bridgeMost {
		t.Errorf("the bridge of the attacker's kernel holds %d bytes", n)
	}
	t.Logf("the gateway has %+v and had %+v; the longest of %d honest cells took %v", usageOf(t, s.g.process.Process.Pid), was,
		s.work.rounds.Load(), time.Duration(s.work.worst.Load()).Round(time.Millisecond))
}

// key signs JSON Web Tokens for the gateway under attack.
type key struct{ file, secret string }

// jwtKey makes one where the instance's user can read it.
func jwtKey(t *testing.T) key {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e-jwt")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	k := key{file: filepath.Join(dir, "key"), secret: randomHex(t, 32)}
	if err := os.WriteFile(k.file, []byte(k.secret), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return k
}
