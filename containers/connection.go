package containers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/containers/podman/v4/pkg/bindings"
	"github.com/containers/podman/v4/pkg/errorhandling"

	"cellblock.io/cellblock/kernels"
)

// How long one call to Podman may take. The bindings try a call that did not reach the engine three times and pause
// 0.6 s in all between them without looking at the context, so a call may last that much longer.
const (
	quickCall  = 5 * time.Second  // look something up
	changeCall = 20 * time.Second // make or start something on a loaded disk
	makeCall   = time.Minute      // make a container; the first one of an image waits for a copy of the image (see ownUsers)
	removeCall = 20 * time.Second // kill and remove one container or volume; some seconds on a loaded machine
)

// maxAnswer bounds the body of one answer. 1 000 kernels need about 8 MiB.
const maxAnswer = 32 << 20

// maxIdle is how many connections to the engine are kept open between calls.
const maxIdle = 16

// connection is a connection to Podman in the form the bindings want: hidden among the values of a context.
type connection struct {
	values context.Context // only for its values: its end means nothing
	client *http.Client
}

// connect asks the engine for its version and returns the connection.
func connect(ctx context.Context, socket string) (connection, error) {
	ping, cancel := context.WithTimeout(ctx, quickCall)
	defer cancel()
	values, err := bindings.NewConnection(ping, "unix://"+socket)
	if err != nil {
		return connection{}, failure(ctx, "connect to Podman at "+socket, err)
	}
	conn, err := bindings.GetClient(values)
	if err != nil {
		return connection{}, fmt.Errorf("connect to Podman at %s: %w", socket, err)
	}
	transport, ok := conn.Client.Transport.(*http.Transport)
	if !ok {
		return connection{}, fmt.Errorf("connect to Podman at %s: the bindings use a %T", socket, conn.Client.Transport)
	}
	transport.MaxIdleConnsPerHost = maxIdle
	transport.IdleConnTimeout = time.Minute
	conn.Client.Transport = boundedTransport{transport}
	return connection{values: values, client: conn.Client}, nil
}

// callContext gives one call its caller's cancellation and the connection's values.
type callContext struct {
	context.Context
	values context.Context
}

// Value looks at the caller's values first.
func (c callContext) Value(key any) any {
	if v := c.Context.Value(key); v != nil {
		return v
	}
	return c.values.Value(key)
}

// within returns a context for one call that ends after limit at the latest.
func (c connection) within(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	return callContext{Context: ctx, values: c.values}, cancel
}

// unbroken is like within, but the caller's end does not end the call. A creation that is broken off half-way may still
// happen after whoever cleans up has looked.
func (c connection) unbroken(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return c.within(context.WithoutCancel(ctx), limit)
}

// failure names the step and tells what went wrong in terms of kernels: the caller's own end, an answer of the engine
// (as it is), or an engine that does not answer (kernels.ErrUnavailable). It returns nil for nil.
func failure(ctx context.Context, step string, err error) error {
	var answer *errorhandling.ErrorModel
	switch {
	case err == nil:
		return nil
	case errors.As(err, &answer):
		return fmt.Errorf("%s: %w", step, err)
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", step, ctx.Err())
	default:
		return fmt.Errorf("%s: %w: %w", step, kernels.ErrUnavailable, err)
	}
}

// answered reports whether err is the engine's answer with that HTTP status.
func answered(err error, status int) bool {
	var answer *errorhandling.ErrorModel
	return errors.As(err, &answer) && answer.Code() == status
}

// boundedTransport cuts answers at maxAnswer, but for the endless one of /events, whose reader has bounds of its own.
type boundedTransport struct{ *http.Transport }

// RoundTrip implements http.RoundTripper.
func (t boundedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.Transport.RoundTrip(req)
	if err == nil && !strings.HasSuffix(req.URL.Path, "/events") {
		resp.Body = boundedBody{Reader: io.LimitReader(resp.Body, maxAnswer), Closer: resp.Body}
	}
	return resp, err
}

type boundedBody struct {
	io.Reader
	io.Closer
}
