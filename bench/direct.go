package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const direct = "direct ZeroMQ"

// kernelMark is the send high-water mark of ipykernel's iopub socket, and of the echo kernel in the loss rows.
const kernelMark = 1_000

// directKernel is an echo kernel on ipc sockets, as Cellblock's are, with nothing between it and raw clients in C.
type directKernel struct {
	programs, connection string
	process              *exec.Cmd
}

// startDirect starts one whose socket keeps so many messages for a subscriber; 0 is no limit.
func startDirect(o options, dir string, mark int) (*directKernel, error) {
	d := &directKernel{programs: o.programs, connection: filepath.Join(dir, fmt.Sprintf("direct-%d.json", mark))}
	file, err := json.Marshal(map[string]any{
		"transport": "ipc", "ip": filepath.Join(dir, fmt.Sprintf("k%d", mark)), "key": "0123456789abcdef0123456789abcdef", "signature_scheme": "hmac-sha256",
		"shell_port": 1, "iopub_port": 2, "stdin_port": 3, "control_port": 4, "hb_port": 5, "kernel_name": "echo",
	})
	if err == nil {
		err = os.WriteFile(d.connection, file, 0o600)
	}
	if err != nil {
		return nil, err
	}
	d.process = exec.Command(filepath.Join(o.programs, "echo"), d.connection, strconv.Itoa(mark))
	d.process.Stderr = os.Stderr
	if err := d.process.Start(); err != nil {
		return nil, fmt.Errorf("start the echo kernel: %w", err)
	}
	return d, nil
}

// stop ends the kernel, if it was started.
func (d *directKernel) stop() {
	if d == nil {
		return
	}
	_ = d.process.Process.Kill() // it may have ended
	_ = d.process.Wait()
}

// client runs one of the raw clients and returns what it printed.
func (d *directKernel) client(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(d.programs, name), append([]string{d.connection}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return string(out), nil
}

// burst has the raw subscriber count one.
func (d *directKernel) burst(ctx context.Context, b burst) (outcome, error) {
	out, err := d.client(ctx, "sub", strconv.Itoa(b.count), strconv.Itoa(b.bytes), strconv.Itoa(b.rate))
	if err != nil {
		return outcome{}, err
	}
	var o outcome
	if err := json.Unmarshal([]byte(out), &o); err != nil {
		return outcome{}, fmt.Errorf("sub: %w", err)
	}
	return o, nil
}

// trips has the raw client ask n times. kind is kernel_info or execute.
func (d *directKernel) trips(ctx context.Context, kind string, n int) ([]time.Duration, error) {
	out, err := d.client(ctx, "ask", kind, strconv.Itoa(n))
	if err != nil {
		return nil, err
	}
	return microseconds(out)
}

// microseconds reads one number a line.
func microseconds(text string) (all []time.Duration, err error) {
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		µs, err := strconv.ParseFloat(lines.Text(), 64)
		if err != nil {
			return nil, err
		}
		all = append(all, time.Duration(µs*float64(time.Microsecond)))
	}
	return all, nil
}
