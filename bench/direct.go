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

// directKernel is a kernel on ipc sockets, as Cellblock's are, with nothing between it and raw clients.
type directKernel struct {
	options
	connection string
	process    *exec.Cmd
}

// startDirect starts one that takes the connection file's path behind its other arguments, or in the place of {}.
func startDirect(o options, dir, name string, command ...string) (*directKernel, error) {
	d := &directKernel{options: o, connection: filepath.Join(dir, name+".json")}
	file, err := json.Marshal(map[string]any{
		"transport": "ipc", "ip": filepath.Join(dir, name), "key": "0123456789abcdef0123456789abcdef", "signature_scheme": "hmac-sha256",
		"shell_port": 1, "iopub_port": 2, "stdin_port": 3, "control_port": 4, "hb_port": 5, "kernel_name": name,
	})
	if err == nil {
		err = os.WriteFile(d.connection, file, 0o600)
	}
	if err != nil {
		return nil, err
	}
	for i, argument := range command {
		if argument == "{}" {
			command[i] = d.connection
		}
	}
	d.process = exec.Command(command[0], command[1:]...)
	d.process.Dir = dir
	d.process.Stderr = os.Stderr
	if err := d.process.Start(); err != nil {
		return nil, fmt.Errorf("start kernel %s: %w", name, err)
	}
	return d, nil
}

// startEcho starts an echo kernel whose socket keeps so many messages for a subscriber; 0 is no limit.
func startEcho(o options, dir string, mark int) (*directKernel, error) {
	return startDirect(o, dir, fmt.Sprintf("echo-%d", mark), filepath.Join(o.programs(), "echo"), "{}", strconv.Itoa(mark))
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
	return d.output(ctx, filepath.Join(d.programs(), name), append([]string{d.connection}, args...)...)
}

// jupyterClient runs bench/client.py, which is a client made of jupyter_client, and returns what it printed.
func (d *directKernel) jupyterClient(ctx context.Context, args ...string) (string, error) {
	return d.output(ctx, d.python(), append([]string{"bench/client.py", d.connection}, args...)...)
}

func (d *directKernel) output(ctx context.Context, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", filepath.Base(program), err)
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
