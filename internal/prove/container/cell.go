package container

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"cellblock.io/cellblock/containers"
	"cellblock.io/cellblock/internal/prove"
	"cellblock.io/cellblock/kernels"
)

// goneWithin is how soon after its removal nothing of a place may be left.
const goneWithin = 5 * time.Second

// surveyTime is how long one look into a place may take.
const surveyTime = 30 * time.Second

// cell is one container.
type cell struct {
	level  *Level
	slot   int // of its tenant; -1 for the neighbour
	handle string
	owner  kernels.Owner
	uid    int
	weak   bool // a control was taken away
	place  containers.Place
}

// Output implements prove.Cell. The engine's log has a time, the stream and F or P before each line.
func (c *cell) Output() ([]byte, error) {
	text, err := os.ReadFile(c.place.Log)
	if err != nil {
		return nil, fmt.Errorf("read the place's output: %w", err)
	}
	var output []byte
	for line := range bytes.Lines(text) {
		fields := bytes.SplitN(line, []byte(" "), 4)
		if len(fields) < 4 {
			continue
		}
		if bytes.Equal(fields[2], []byte("P")) { // goes on in the next line
			fields[3] = bytes.TrimSuffix(fields[3], []byte("\n"))
		}
		output = append(output, fields[3]...)
	}
	return output, nil
}

// Alive implements prove.Cell.
func (c *cell) Alive() bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d/ns", c.place.PID))
	return err == nil && c.place.PID > 0
}

// Search implements prove.Cell.
func (c *cell) Search(ctx context.Context, needles []string) ([]prove.Find, error) {
	seen, err := c.level.survey(ctx, question{
		PID: c.place.PID, Dirs: containers.Writable(), Layer: c.place.Layer, Needles: needles,
	})
	return seen.Found, err
}

// Close implements prove.Cell.
func (c *cell) Close(ctx context.Context) (left []string, err error) {
	if c.slot >= 0 {
		defer func() { c.level.slots <- c.slot }()
	}
	if c.weak {
		// Without a process name space of its own, and without control groups, the engine ends only some of its processes.
		_, err = c.level.survey(ctx, question{End: c.uid, Init: c.place.PID})
	}
	if removed := c.level.cfg.Engine.Remove(ctx, c.handle); err != nil || removed != nil {
		return nil, errors.Join(err, removed)
	}
	for end := time.Now().Add(goneWithin); ; {
		left, err = c.remains(ctx)
		if err != nil || len(left) == 0 || time.Now().After(end) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	return left, errors.Join(err, c.level.cfg.Engine.RemoveWorkspace(ctx, c.owner))
}

// remains looks for containers, directories, processes and mounts of the place.
func (c *cell) remains(ctx context.Context) ([]string, error) {
	var left []string
	list, err := c.level.cfg.Engine.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, i := range list {
		if i.Record.Handle == c.handle {
			left = append(left, "container or directory of "+c.handle)
		}
	}
	seen, err := c.level.survey(ctx, question{UID: c.uid, Name: c.handle, Init: c.place.PID})
	if err != nil {
		return nil, err
	}
	return append(left, seen.Left...), nil
}

// survey asks one question of a program that runs as root of the engine's user name space: a tenant's files are closed to
// this user.
func (l *Level) survey(ctx context.Context, q question) (seen answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, surveyTime)
	defer cancel()
	text, err := json.Marshal(q)
	if err != nil {
		return seen, err
	}
	cmd := exec.CommandContext(ctx, l.cfg.Survey[0], l.cfg.Survey[1:]...)
	var out, problems bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(text), &out, &problems
	if err := cmd.Run(); err != nil {
		return seen, fmt.Errorf("look into the place: %w: %.300s", err, problems.String())
	}
	if err := json.Unmarshal(out.Bytes(), &seen); err != nil {
		return seen, fmt.Errorf("look into the place: %w", err)
	}
	return seen, nil
}
