//go:build e2e

package e2e_test

import (
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const adoptTime = 90 * time.Second // until a kernel has its record again

// forgedRecords makes mallory an administrator and alice's kernel hers, as far as who has not the key can.
func (s *siege) forgedRecords(t *testing.T, admin *redis.Client) {
	ctx := t.Context()
	read := func(hash, field string) string {
		text, err := admin.HGet(ctx, hash, field).Result()
		if err != nil {
			t.Fatalf("%s %s: %v", hash, field, err)
		}
		return text
	}
	write := func(hash, field, text string) {
		if err := admin.HSet(ctx, hash, field, text).Err(); err != nil {
			t.Fatal(err)
		}
	}
	user := read("cellblock:users", "mallory")
	write("cellblock:users", "mallory", strings.Replace(user, `"admin":false`, `"admin":true`, 1))
	if got := s.mallory.call(t, "GET", "/api/kernels", ""); got.status != http.StatusUnauthorized {
		t.Errorf("with a forged user mallory gets %d", got.status)
	}
	write("cellblock:users", "mallory", user)

	record := read("cellblock:kernels:alice", s.hers)
	for name, forged := range map[string]string{
		"a copy": record, "renamed": strings.Replace(record, `"owner":"alice"`, `"owner":"mallory"`, 1),
	} {
		write("cellblock:kernels:mallory", s.hers, forged)
		if got := s.mallory.call(t, "GET", "/api/kernels/"+s.hers, ""); got.status != http.StatusNotFound {
			t.Errorf("%s of alice's record gives mallory %d %s", name, got.status, got.body)
		}
		if got := s.mallory.upgrade(t, s.hers); got.status != http.StatusNotFound {
			t.Errorf("%s of alice's record opens a WebSocket: %d", name, got.status)
		}
	}
	s.mallory.expect(t, http.StatusOK, "GET", "/api/kernels/"+s.own, "")
	s.work.goesOn(t)
}

// stoppedRedis stops the server's process for a while: what is open goes on, nobody new comes in, and all is well after.
func (s *siege) stoppedRedis(t *testing.T, admin *redis.Client) {
	pid := serverOf(t, admin)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	resume := func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
	defer resume()
	rows := []strikeRow{
		{name: "a token", text: s.request("GET", "/api/kernels", "Authorization: token "+s.alice.token), want: []int{503}},
		{name: "a WebSocket", text: s.upgrade(s.hers, "Authorization: token "+s.alice.token), want: []int{503}},
		{name: "a login", text: s.withBody("POST", "/login", "token="+s.alice.token+"&_xsrf="+s.xsrf, "Cookie: _xsrf="+s.xsrf), want: []int{503}},
		{name: "no token", text: s.request("GET", "/api/kernels"), want: []int{401}},
	}
	t.Run("meanwhile", func(t *testing.T) {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				t.Parallel()
				s.strike(t, row)
				s.work.goesOn(t)
			})
		}
	})
	resume()
	s.known(t)
	s.work.goesOn(t)
}

// flushedRedis takes everything away: no kernel ends, nobody may do anything. Then the people are added again.
func (s *siege) flushedRedis(t *testing.T, admin *redis.Client) {
	s.alice.connect(t, s.hers, randomHex(t, 16)).execute(t, "kept = 42")
	if err := admin.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	cookie := "Cookie: " + s.session
	for _, p := range []person{s.alice, s.bob, s.mallory} {
		s.strike(t, strikeRow{text: s.request("GET", "/api/kernels", "Authorization: token "+p.token), want: []int{401}})
	}
	s.strike(t, strikeRow{text: s.request("GET", "/api/kernels", cookie), want: []int{401}})
	s.work.goesOn(t) // until somebody looks at her credential again
	for name, p := range map[string]*person{"alice": &s.alice, "bob": &s.bob, "mallory": &s.mallory} {
		*p = person{s.g.url, s.g.user(t, name)}
	}
}

// adopted waits until alice's kernel has its record again, and looks whether it is the same one.
func (s *siege) adopted(t *testing.T) {
	s.known(t)
	if got := s.alice.connect(t, s.hers, randomHex(t, 16)).execute(t, "print(kept)"); got != "42\n" {
		t.Errorf("after the flush her kernel says %q: not the same one", got)
	}
	if got := s.mallory.call(t, "GET", "/api/kernels/"+s.hers, ""); got.status != http.StatusNotFound {
		t.Errorf("after the flush alice's kernel is mallory's: %d", got.status)
	}
}

// known waits until alice may use her kernel.
func (s *siege) known(t *testing.T) {
	t.Helper()
	eventually(t, adoptTime, func() string {
		if got := s.alice.call(t, "GET", "/api/kernels/"+s.hers, ""); got.status != http.StatusOK {
			return got.body
		}
		return ""
	})
}

// killedRedis kills the server's process. The next one has all that was written, and nobody had to do anything.
func (s *siege) killedRedis(t *testing.T, admin *redis.Client) {
	if err := syscall.Kill(serverOf(t, admin), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.known(t)
	s.strike(t, strikeRow{text: s.request("GET", "/api/kernels", "Cookie: "+s.session), want: []int{200}})
	if got := s.alice.connect(t, s.hers, randomHex(t, 16)).execute(t, "print(count > 0)"); got != "True\n" {
		t.Errorf("her kernel says %q", got)
	}
	s.work.goesOn(t)
}

// serverOf is the process of the server that answers.
func serverOf(t *testing.T, admin *redis.Client) int {
	t.Helper()
	info, err := admin.Info(t.Context(), "server").Result()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(info, "process_id:")
	number, _, _ := strings.Cut(rest, "\r")
	pid, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	if command, err := os.ReadFile("/proc/" + number + "/cmdline"); err != nil || !strings.Contains(string(command), "redis") {
		t.Fatalf("process %d is not the server: %q %v", pid, command, err)
	}
	return pid
}
