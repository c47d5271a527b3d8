package launcher_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cellblock.io/cellblock/kernels"
	"cellblock.io/cellblock/kernels/kernelstest"
	"cellblock.io/cellblock/launcher"
)

// echoes sends something through a connection to a bridge and back.
func echoes(t *testing.T, conn net.Conn) {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	back := make([]byte, 5)
	if _, err := io.ReadFull(conn, back); err != nil || string(back) != "hello" {
		t.Fatalf("%q came back, %v", back, err)
	}
}

func TestDial(t *testing.T) {
	r := newRig(t)
	conn, err := r.Dial(t.Context(), "good1")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, ok := conn.(*net.UnixConn); !ok {
		t.Errorf("a %T carries no receipts", conn)
	}
	echoes(t, conn)
	r.stop(t) // what was passed on does not need the launcher any more
	echoes(t, conn)
	if _, err := r.Dial(t.Context(), "good1"); !errors.Is(err, kernels.ErrUnavailable) {
		t.Errorf("without a launcher: %v", err)
	}
	r.start(t)
	if _, err := r.Dial(t.Context(), "dead1"); !errors.Is(err, kernels.ErrUnavailable) {
		t.Errorf("without a bridge: %v", err)
	}
	if _, err := r.Dial(t.Context(), "../x"); !errors.Is(err, kernels.ErrInvalid) {
		t.Errorf("no handle: %v", err)
	}
}

// descriptors counts this process's open files.
func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// Both ends run in this process: neither keeps a descriptor, whatever becomes of a connection.
func TestDialLeaksNothing(t *testing.T) {
	r := newRig(t)
	dial := func() {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				conn, err := r.Dial(t.Context(), "good1")
				if err != nil {
					t.Error(err)
					return
				}
				conn.Close()
			})
		}
		for range 4 {
			all.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				go cancel()
				if conn, err := r.Dial(ctx, "good1"); err == nil {
					conn.Close()
				}
			})
		}
		all.Go(func() { _, _ = r.Dial(t.Context(), "dead1") })
		all.Wait()
	}
	dial()
	settled := func() int {
		until(t, "an end of all connections to bridges", func() bool { return r.engine.open.Load() == 0 })
		return descriptors(t)
	}
	before := settled()
	for range 40 {
		dial()
	}
	until(t, "as few descriptors as before", func() bool { return settled() <= before+2 })
}

const accepted = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

// A launcher that was taken over can pass what it likes: only one connected socket is taken, and nothing is kept.
func TestHostilePasses(t *testing.T) {
	file, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	other, err := udp.(*net.UDPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for name, row := range map[string]struct {
		answer string
		files  []int
	}{
		"no descriptor":             {accepted, nil},
		"a file":                    {accepted, []int{int(file.Fd())}},
		"a socket of another kind":  {accepted, []int{int(other.Fd())}},
		"two files":                 {accepted, []int{int(file.Fd()), int(file.Fd())}},
		"very many":                 {accepted, many(int(file.Fd()), 200)},
		"no HTTP":                   {"hello\r\n\r\n", []int{int(file.Fd())}},
		"an endless head":           {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", []int{int(file.Fd())}},
		"an error with a file":      {"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\n{}", []int{int(file.Fd())}},
		"an error without a reason": {"HTTP/1.1 404 No\r\nContent-Length: 9\r\n\r\nnot found", nil},
		"an end":                    {"", nil},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := kernelstest.SocketPair(t)
			before := descriptors(t)
			go func() {
				if row.answer != "" {
					var rights []byte
					if row.files != nil {
						rights = unix.UnixRights(row.files...)
					}
					_, _, _ = far.WriteMsgUnix([]byte(row.answer), rights, nil)
				}
				_ = far.CloseWrite()
			}()
			_ = near.SetDeadline(time.Now().Add(patience))
			if conn, err := launcher.Receive(near); err == nil {
				conn.Close()
				t.Error("taken")
			}
			if now := descriptors(t); now != before {
				t.Errorf("%d descriptors, %d before", now, before)
			}
		})
	}
}

func many(fd, n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = fd
	}
	return all
}

// Answers are bounded, and so is the wait for one.
func TestHostileAnswers(t *testing.T) {
	for name, row := range map[string]struct {
		head string
		body io.Reader
	}{
		"too large":       {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", io.LimitReader(letters{}, launcher.MaxAnswer+2)},
		"not JSON":        {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", strings.NewReader("<html>")},
		"of another kind": {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", strings.NewReader(`{"a":1}`)},
		"a redirection":   {"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nConnection: close\r\n\r\n", strings.NewReader("")},
		"a long error":    {"HTTP/1.1 500 No\r\nConnection: close\r\n\r\n", io.LimitReader(letters{}, 1<<20)},
		"no HTTP":         {"SSH-2.0-x\r\n", strings.NewReader("")},
		"a long head":     {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20), strings.NewReader("")},
	} {
		t.Run(name, func(t *testing.T) {
			c := pretend(t, func(conn net.Conn) { _, _ = io.Copy(conn, io.MultiReader(strings.NewReader(row.head), row.body)) })
			if list, err := c.List(t.Context()); !errors.Is(err, kernels.ErrUnavailable) || len(err.Error()) > 2000 {
				t.Errorf("%d instances, %.300v", len(list), err)
			}
		})
	}
	mute := pretend(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := mute.List(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("list of who says nothing: %v", err)
	}
	if _, err := mute.Dial(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("dial of who says nothing: %v", err)
	}
}

// pretend is a client of somebody who only pretends to be a launcher.
func pretend(t *testing.T, answer func(net.Conn)) *launcher.Client {
	t.Helper()
	path := filepath.Join(shortDir(t), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				_, _ = conn.Read(make([]byte, 64<<10)) // the question
				answer(conn)
			})
		}
	})
	t.Cleanup(func() { ln.Close(); all.Wait() })
	return launcher.NewClient(path)
}

func FuzzWatch(f *testing.F) {
	for _, seed := range []string{"{}\n", `{"exit":{"Handle":"a","Code":1}}` + "\n", `{"failure":{"kind":"not_found","text":"x"}}`, "\n\n", "null\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, lines []byte) {
		err := launcher.Follow(bytes.NewReader(lines), func(e *kernels.Exit) {
			if e != nil && !kernels.ValidHandle(e.Handle) {
				t.Errorf("heard of %q", e.Handle)
			}
		})
		if err == nil {
			t.Error("an end without an error")
		}
	})
}
