package containers

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/containers/podman/v4/pkg/bindings"
	"github.com/containers/podman/v4/pkg/bindings/containers"

	"cellblock.io/cellblock/kernels"
)

// maxEvent bounds one event of the engine: a line with all labels of one container.
const maxEvent = 1 << 20

// List implements kernels.Observer with one call to the engine. A directory without containers, as a launch that was
// killed half-way leaves it, is an Instance with nothing but its handle. Oldest first.
func (e *Engine) List(ctx context.Context) ([]kernels.Instance, error) {
	// The directories first: a kernel that is made meanwhile is then seen as its containers or not at all.
	dirs, err := os.ReadDir(e.cfg.RunDir)
	if err != nil {
		return nil, fmt.Errorf("list kernels' directories: %w", err)
	}
	call, cancel := e.conn.within(ctx, quickCall)
	defer cancel()
	mine := map[string][]string{"label": {labelInstance + "=" + e.cfg.Instance}}
	found, err := containers.List(call, new(containers.ListOptions).WithAll(true).WithFilters(mine))
	if err != nil {
		return nil, failure(ctx, "list containers", err)
	}
	byHandle := make(map[string]*kernels.Instance)
	for _, dir := range dirs {
		if dir.IsDir() && handlePattern.MatchString(dir.Name()) {
			byHandle[dir.Name()] = &kernels.Instance{Record: kernels.Record{Handle: dir.Name()}}
		}
	}
	parts := make(map[string]int)
	for _, c := range found {
		rec, r, ok := record(c.Labels)
		if !ok {
			continue // of this instance, but no kernel's
		}
		at := byHandle[rec.Handle]
		if at == nil {
			at = new(kernels.Instance)
			byHandle[rec.Handle] = at
		}
		at.Record = rec
		if r == roleKernel {
			at.KernelRunning = c.State == "running"
		} else {
			at.BridgeRunning = c.State == "running"
		}
		parts[rec.Handle]++
		at.Complete = parts[rec.Handle] == 2
	}
	list := make([]kernels.Instance, 0, len(byHandle))
	for _, at := range byHandle {
		list = append(list, *at)
	}
	slices.SortFunc(list, func(a, b kernels.Instance) int {
		return cmp.Or(a.Record.Created.Compare(b.Record.Created), cmp.Compare(a.Record.Handle, b.Record.Handle))
	})
	return list, nil
}

// Watch implements kernels.Observer. It sees every end from the moment of the call on. fn is called from this goroutine and
// delays later ends while it runs. The engine ends the stream when its log of events is cut; that too is
// kernels.ErrUnavailable.
func (e *Engine) Watch(ctx context.Context, fn func(kernels.Exit)) error {
	filters, err := json.Marshal(map[string][]string{
		"type":  {"container"},
		"event": {"died"},
		"label": {labelInstance + "=" + e.cfg.Instance},
	})
	if err != nil {
		return fmt.Errorf("watch containers: %w", err)
	}
	call := callContext{Context: ctx, values: e.conn.values}
	conn, err := bindings.GetClient(call)
	if err != nil {
		return fmt.Errorf("watch containers: %w", err)
	}
	query := url.Values{
		"stream":  {"true"},
		"since":   {time.Now().Format(time.RFC3339Nano)}, // what happens before the engine has begun to read is read too
		"filters": {string(filters)},
	}
	resp, err := conn.DoRequest(call, nil, http.MethodGet, "/events", query, nil)
	if err != nil {
		return failure(ctx, "watch containers", err)
	}
	defer resp.Body.Close()
	if !resp.IsSuccess() {
		return failure(ctx, "watch containers", resp.Process(nil))
	}
	return failure(ctx, "watch containers", readExits(resp.Body, fn))
}

// readExits calls fn for each end in a stream of events, one JSON object a line, until the stream ends. It never returns
// nil.
func readExits(stream io.Reader, fn func(kernels.Exit)) error {
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, maxEvent)
	for lines.Scan() {
		var event struct {
			Action string `json:"Action"`
			Actor  struct {
				Attributes map[string]string `json:"Attributes"`
			} `json:"Actor"`
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return fmt.Errorf("read an event: %w", err)
		}
		rec, r, ok := record(event.Actor.Attributes)
		if event.Action != "died" || !ok {
			continue
		}
		code, err := strconv.Atoi(event.Actor.Attributes["containerExitCode"])
		if err != nil {
			return fmt.Errorf("read an exit code: %w", err)
		}
		fn(kernels.Exit{Handle: rec.Handle, Bridge: r == roleBridge, Code: code})
	}
	return errors.Join(lines.Err(), io.EOF)
}
