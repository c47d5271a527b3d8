package containers

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/containers/podman/v4/pkg/bindings"

	"cellblock.io/cellblock/kernels"
)

const (
	// maxEvent bounds one event of the engine: a line with all labels of one container.
	maxEvent = 1 << 20
	// overlap is how far a new stream of events reaches back before the last event of the one before: events are not
	// quite in the order of their times, since several processes of the engine write them.
	overlap = 2 * time.Second
	// maxOverlap bounds how many events are remembered to tell those that come twice. More in that time come twice.
	maxOverlap = 4096
	// shortStream is how long a stream lasts at least while the engine is in order, and maxShort how many in a row may
	// be shorter: one may have begun just before a cut.
	shortStream = time.Second
	maxShort    = 3
)

// Watch implements kernels.Observer. It sees every end from the moment of the call on, each once. fn is called from this
// goroutine and delays later ends while it runs. The engine ends its stream whenever it cuts its log of events; Watch
// then goes on with a new one and misses nothing. Errors: kernels.ErrUnavailable.
func (e *Engine) Watch(ctx context.Context, fn func(kernels.Exit)) error {
	ends := newExitReader(time.Now(), fn)
	for short := 0; ; {
		begin := time.Now()
		err := failure(ctx, "watch containers", e.watch(ctx, ends))
		short++
		if time.Since(begin) >= shortStream {
			short = 0
		}
		if !errors.Is(err, io.EOF) || ctx.Err() != nil || short == maxShort {
			return err
		}
		e.log.Debug("the engine has ended its stream of events; asking for another one")
	}
}

// watch reads one stream of events to its end. It never returns nil.
func (e *Engine) watch(ctx context.Context, ends *exitReader) error {
	filters, err := json.Marshal(map[string][]string{
		"type":  {"container"},
		"event": {"died"},
		"label": {labelInstance + "=" + e.cfg.Instance},
	})
	if err != nil {
		return err
	}
	call := callContext{Context: ctx, values: e.conn.values}
	conn, err := bindings.GetClient(call)
	if err != nil {
		return err
	}
	query := url.Values{
		"stream":  {"true"},
		"since":   {ends.since().Format(time.RFC3339Nano)}, // what happens before the engine begins to read is read too
		"filters": {string(filters)},
	}
	resp, err := conn.DoRequest(call, nil, http.MethodGet, "/events", query, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if !resp.IsSuccess() {
		if err = resp.Process(nil); err == nil {
			err = fmt.Errorf("status %s", resp.Status)
		}
		return err
	}
	return ends.read(resp.Body)
}

// exitReader tells of the ends in one stream of events after the other, of each once.
type exitReader struct {
	fn    func(kernels.Exit)
	begin time.Time // what ended before is not told
	last  time.Time // of the latest event; zero before the first
	seen  map[eventKey]bool
}

// eventKey tells the ends of processes apart.
type eventKey struct {
	handle string
	role   role
	nanos  int64
}

func newExitReader(begin time.Time, fn func(kernels.Exit)) *exitReader {
	return &exitReader{fn: fn, begin: begin, seen: make(map[eventKey]bool)}
}

// since is the time of the earliest event that the next stream must have.
func (x *exitReader) since() time.Time {
	if since := x.last.Add(-overlap); since.After(x.begin) {
		return since
	}
	return x.begin
}

// read reads a stream of events, one JSON object a line, to its end. It never returns nil.
func (x *exitReader) read(stream io.Reader) error {
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, maxEvent)
	for lines.Scan() {
		var event struct {
			Action   string `json:"Action"`
			TimeNano int64  `json:"timeNano"`
			Actor    struct {
				Attributes map[string]string `json:"Attributes"`
			} `json:"Actor"`
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return fmt.Errorf("read an event: %w", err)
		}
		rec, r, ok := record(event.Actor.Attributes)
		if event.Action != "died" || !ok || !x.first(eventKey{rec.Handle, r, event.TimeNano}) {
			continue
		}
		code, err := strconv.Atoi(event.Actor.Attributes["containerExitCode"])
		if err != nil {
			return fmt.Errorf("read an exit code: %w", err)
		}
		x.fn(kernels.Exit{Handle: rec.Handle, Bridge: r == roleBridge, Code: code})
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.EOF
}

// first notes an event and reports whether it is new.
func (x *exitReader) first(key eventKey) bool {
	if x.seen[key] {
		return false
	}
	if at := time.Unix(0, key.nanos); at.After(x.last) {
		x.last = at
	}
	if len(x.seen) >= maxOverlap {
		since := x.since().UnixNano()
		maps.DeleteFunc(x.seen, func(k eventKey, _ bool) bool { return k.nanos < since })
	}
	if len(x.seen) >= maxOverlap {
		clear(x.seen)
	}
	x.seen[key] = true
	return true
}
