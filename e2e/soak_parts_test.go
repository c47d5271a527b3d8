//go:build e2e

package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	stormTabs    = 16
	lostTabs     = 4
	floodLines   = 3000
	slowReads    = 200
	slowPause    = 2 * time.Millisecond // between the reads of a slow client
	soakPatience = 60 * time.Second     // for whatever the mixture waits for
)

// soakParts is the mixture. Each part goes over and over, beside the others.
var soakParts = []struct {
	name string
	once func(*soak) error
}{
	{"reload storm", (*soak).storm},
	{"abandoned tab", (*soak).abandon},
	{"half-open sockets", (*soak).lose},
	{"flood with slow clients", (*soak).flood},
	{"restart", (*soak).restart},
	{"death", (*soak).die},
}

// tab is one WebSocket that is read only when it is asked to.
type tab struct{ *websocket.Conn }

// open opens one.
func (s *soak) open(p person, kernel, session string) (tab, error) {
	address := strings.Replace(p.url, "http", "ws", 1) + "/api/kernels/" + kernel + "/channels?session_id=" + session
	dialer := websocket.Dialer{HandshakeTimeout: soakPatience}
	conn, _, err := dialer.Dial(address, http.Header{"Authorization": {"token " + p.token}})
	if err != nil {
		return tab{}, fmt.Errorf("connect: %w", err)
	}
	s.connects.Add(1)
	return tab{conn}, conn.SetReadDeadline(time.Now().Add(soakPatience))
}

// ask sends a request and does not wait for what comes of it.
func (c tab) ask(channel, kind string, content map[string]any) (id string, err error) {
	return (&channels{conn: c.Conn}).request(channel, kind, content)
}

// answer reads until a message of that kind, or of any if it is "", has come of a request.
func (c tab) answer(id, kind string) error {
	for {
		var m message
		if err := c.ReadJSON(&m); err != nil {
			return fmt.Errorf("wait for %q: %w", kind, err)
		}
		if m.Parent.ID == id && (kind == "" || m.Header.Type == kind) {
			return nil
		}
	}
}

// hello asks the kernel who it is, as every client does first.
func (c tab) hello() error {
	id, err := c.ask("control", "kernel_info_request", map[string]any{})
	if err != nil {
		return err
	}
	return c.answer(id, "kernel_info_reply")
}

// run sends one cell.
func (c tab) run(code string) (id string, err error) {
	return c.ask("shell", "execute_request", map[string]any{"code": code, "silent": false, "store_history": false,
		"allow_stdin": false, "stop_on_error": true, "user_expressions": map[string]any{}})
}

// execute runs one cell until its reply.
func (c tab) execute(code string) error {
	id, err := c.run(code)
	if err != nil {
		return err
	}
	return c.answer(id, "execute_reply")
}

// call makes one request that must have that status.
func (s *soak) call(status int, method, path string) (answer, error) {
	got, err := s.alice.try(method, path, "")
	if err == nil && got.status != status {
		err = fmt.Errorf("%s %s: status %d instead of %d", method, path, got.status, status)
	}
	return got, err
}

// together does something at once so many times.
func together(n int, do func() error) error {
	var all sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		all.Go(func() { errs[i] = do() })
	}
	all.Wait()
	return errors.Join(errs...)
}

// storm is many tabs that are reloaded at once: each has a new session.
func (s *soak) storm() error {
	return together(stormTabs, func() error {
		c, err := s.open(s.alice, s.lasting[0], s.id())
		if err != nil {
			return err
		}
		defer c.Close()
		return c.hello()
	})
}

// abandon leaves a tab in the midst of its cell, without a goodbye.
func (s *soak) abandon() error {
	c, err := s.open(s.alice, s.lasting[0], s.id())
	if err != nil {
		return err
	}
	defer c.Close()
	id, err := c.run("for i in range(50): print(i)")
	if err != nil {
		return err
	}
	return c.answer(id, "") // any: a flood may have pushed the others out of the journal
}

// lose has a network swallow what is for some tabs, which come back on another way while their old connections seem to
// live.
func (s *soak) lose() error {
	defer s.net.reset()
	sessions := map[string]tab{}
	for range lostTabs {
		session := s.id()
		old, err := s.open(s.far, s.lasting[0], session)
		if err != nil {
			return err
		}
		defer old.Close()
		if err := old.hello(); err != nil {
			return err
		}
		sessions[session] = old
	}
	s.net.swallow()
	for session, old := range sessions {
		id, err := old.run("print('nobody sees this')")
		if err != nil {
			return err
		}
		back, err := s.open(s.alice, s.lasting[0], session)
		if err != nil {
			return err
		}
		defer back.Close()
		if err := back.answer(id, "execute_reply"); err != nil {
			return err
		}
	}
	return nil
}

// flood prints much to one client that takes it slowly and goes away before the end, and to one that takes it all.
func (s *soak) flood() error {
	slow, err := s.open(s.alice, s.lasting[0], s.id())
	if err != nil {
		return err
	}
	defer slow.Close()
	fast, err := s.open(s.alice, s.lasting[0], s.id())
	if err != nil {
		return err
	}
	defer fast.Close()
	cell := make(chan error, 1)
	go func() {
		cell <- fast.execute(fmt.Sprintf("for i in range(%d): print('x' * 200, flush=True)", floodLines))
	}()
	pace := time.NewTicker(slowPause)
	defer pace.Stop()
	for range slowReads {
		<-pace.C
		if _, _, err := slow.ReadMessage(); err != nil {
			return fmt.Errorf("slow client: %w", errors.Join(err, <-cell))
		}
	}
	s.floods.Add(1)
	return <-cell
}

// restart restarts the second kernel under a client, which goes on afterwards.
func (s *soak) restart() error {
	c, err := s.open(s.alice, s.lasting[1], s.id())
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := s.call(http.StatusOK, "POST", "/api/kernels/"+s.lasting[1]+"/restart"); err != nil {
		return err
	}
	s.restarts.Add(1)
	return c.execute("x = 1")
}

// die is a kernel's whole life: it kills itself, is started again by the gateway, works, and is deleted.
func (s *soak) die() error {
	got, err := s.call(http.StatusCreated, "POST", "/api/kernels")
	if err != nil {
		return err
	}
	path := got.header.Get("Location")
	c, err := s.open(s.alice, strings.TrimPrefix(path, "/api/kernels/"), s.id())
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.execute("import os, signal"); err != nil {
		return err
	}
	if err := c.execute("os.kill(os.getpid(), signal.SIGKILL)"); err != nil { // the bridge answers in its place
		return err
	}
	s.deaths.Add(1)
	if err := c.execute("x = 1"); err != nil {
		return err
	}
	_, err = s.call(http.StatusNoContent, "DELETE", path)
	return err
}
