package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Names of kernelspecs that every server has.
const (
	echoKernel   = "echo"       // whose iopub socket keeps as much as ipykernel's for a slow reader, and drops the rest
	wholeKernel  = "echo-whole" // the same without a limit: it loses nothing
	pythonKernel = "python3"    // ipykernel
)

const (
	startTime = 60 * time.Second // for a server, and for a kernel
	stopTime  = 20 * time.Second
	pollPause = 50 * time.Millisecond
)

// server is one way to a kernel by WebSocket: Cellblock or another gateway.
type server struct {
	name, url, token string
	process          *exec.Cmd
	log              *os.File
	// bridges lists the processes beside the server's own that carry messages; nil when there are none.
	bridges func() []int
	// newToken adds a person and returns a token of theirs; nil where one token is everybody's.
	newToken func(ctx context.Context, person string) (string, error)
	// purge removes what is left when the process has ended; may be nil.
	purge func()
}

// pids are the processes that carry messages.
func (s *server) pids() []int {
	pids := []int{s.process.Process.Pid}
	if s.bridges != nil {
		pids = append(pids, s.bridges()...)
	}
	return pids
}

// begin starts the process and waits until path answers.
func (s *server) begin(ctx context.Context, path string) error {
	s.process.Stdout, s.process.Stderr = s.log, s.log
	if err := s.process.Start(); err != nil {
		return fmt.Errorf("start %s: %w", s.name, err)
	}
	err := eventually(ctx, startTime, func() error {
		_, err := s.call(ctx, "GET", path, "")
		return err
	})
	if err != nil {
		s.stop()
		return fmt.Errorf("%s does not answer (see %s): %w", s.name, s.log.Name(), err)
	}
	return nil
}

// stop ends the process, politely at first, and removes what is left.
func (s *server) stop() {
	_ = s.process.Process.Signal(syscall.SIGTERM) // it may have ended
	late := time.AfterFunc(stopTime, func() { _ = s.process.Process.Kill() })
	_ = s.process.Wait() // how it ended does not matter any more
	late.Stop()
	if s.purge != nil {
		s.purge()
	}
	s.log.Close()
}

// call makes one REST request and returns its body; a status over 299 is an error.
func (s *server) call(ctx context.Context, method, path, body string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "token "+s.token)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode > 299 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, response.Status, bytes.TrimSpace(content))
	}
	return content, err
}

// newKernel starts a kernel and waits until it has answered.
func (s *server) newKernel(ctx context.Context, spec string) (id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	body, err := s.call(ctx, "POST", "/api/kernels", fmt.Sprintf(`{"name":%q,"env":{"KERNEL_USERNAME":"bench"}}`, spec)) // as Lab does
	if err != nil {
		return "", fmt.Errorf("start a kernel of %s: %w", s.name, err)
	}
	var model struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(body, &model); err != nil {
		return "", fmt.Errorf("start a kernel of %s: %w", s.name, err)
	}
	c, err := dial(ctx, s, model.ID, dialOptions{})
	if err != nil {
		return "", err
	}
	defer c.close()
	if _, err := c.kernelInfo(startTime); err != nil {
		return "", fmt.Errorf("new kernel of %s: %w", s.name, err)
	}
	return model.ID, nil
}

// endKernel deletes a kernel.
func (s *server) endKernel(ctx context.Context, id string) error {
	_, err := s.call(ctx, "DELETE", "/api/kernels/"+id, "")
	return err
}

// eventually calls check until it returns nil; after limit it returns check's last error.
func eventually(ctx context.Context, limit time.Duration, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pollPause):
		}
	}
}

// freeAddress is an address on which nobody listens now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
