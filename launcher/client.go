package launcher

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"cellblock.io/cellblock/kernels"
)

// Client asks a Server in another process. It holds no connection between calls, so that a launcher that starts again is
// there at the next one; while none answers, calls fail with kernels.ErrUnavailable. Its methods may be called
// concurrently.
type Client struct {
	open func(context.Context) (net.Conn, error)
	http http.Client
}

var _ Engine = (*Client)(nil)

// NewClient returns a Client for the socket of that path. It connects when it is used.
func NewClient(socket string) *Client {
	return newClient(func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "unix", socket) })
}

func newClient(open func(context.Context) (net.Conn, error)) *Client {
	return &Client{open: open, http: http.Client{
		Transport: &http.Transport{
			DisableKeepAlives:      true,
			DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return open(ctx) },
			MaxResponseHeaderBytes: maxHead,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// connect opens a connection for more than HTTP.
func (c *Client) connect(ctx context.Context) (*net.UnixConn, error) {
	conn, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}

// Peer returns the user id of the launcher's process, as the system knows it.
func (c *Client) Peer(ctx context.Context) (uid int, err error) {
	ctx, cancel := context.WithTimeout(ctx, quickLimit)
	defer cancel()
	conn, err := c.connect(ctx)
	if err != nil {
		return -1, lost(ctx, "look for the launcher", err)
	}
	defer conn.Close()
	return uidOf(conn)
}

// Problems returns what is wrong on the launcher's side, in sentences for people.
func (c *Client) Problems(ctx context.Context) ([]string, error) {
	state, err := ask[problems](ctx, c, question{"state", nothing{}, quickLimit})
	return state.Problems, err
}

// Launch implements kernels.Launcher. Of l.Spec only the image counts, which must be the launcher's own of that kernelspec.
// When ctx ends, or the connection breaks, Launch returns only when what had been begun is removed again, or with an
// error that says that it could not be. Errors: those of the engine.
func (c *Client) Launch(ctx context.Context, l kernels.Launch) error {
	_, err := ask[nothing](ctx, c, question{"launch", launchQuestion{
		ID: l.Record.ID, Owner: l.Record.Owner, Handle: l.Record.Handle, Spec: l.Record.Spec, Image: l.Spec.Image,
		Created: l.Record.Created, UID: l.UID, Env: l.Env, Network: l.Network,
	}, changeLimit})
	if err == nil || errors.As(err, new(*answered)) || !reached(err) {
		return err
	}
	// The other side notices the end of the connection and undoes what it has begun; this waits for its turn behind that.
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	if failed := c.Remove(undo, l.Record.Handle); failed != nil {
		err = errors.Join(err, fmt.Errorf("undo the launch: %w", failed))
	}
	return err
}

// Restart implements kernels.Launcher. Errors: those of the engine.
func (c *Client) Restart(ctx context.Context, handle string) error {
	return c.change(ctx, "restart", handle)
}

// Revive implements kernels.Launcher. Errors: those of the engine.
func (c *Client) Revive(ctx context.Context, handle string) error {
	return c.change(ctx, "revive", handle)
}

// Interrupt implements kernels.Launcher. Errors: those of the engine.
func (c *Client) Interrupt(ctx context.Context, handle string) error {
	return c.change(ctx, "interrupt", handle)
}

// Remove implements kernels.Launcher. Errors: those of the engine.
func (c *Client) Remove(ctx context.Context, handle string) error {
	return c.change(ctx, "remove", handle)
}

func (c *Client) change(ctx context.Context, verb, handle string) error {
	_, err := ask[nothing](ctx, c, question{verb, kernelQuestion{handle}, changeLimit})
	return err
}

// List implements kernels.Observer. Errors: those of the engine.
func (c *Client) List(ctx context.Context) ([]kernels.Instance, error) {
	return ask[[]kernels.Instance](ctx, c, question{"list", nothing{}, quickLimit})
}

// Specs implements kernels.Specs. Errors: those of the engine.
func (c *Client) Specs(ctx context.Context) (map[string]kernels.Spec, error) {
	return ask[map[string]kernels.Spec](ctx, c, question{"specs", nothing{}, quickLimit})
}

// Apply implements kernels.Networks. Errors: those of the engine.
func (c *Client) Apply(ctx context.Context, inForce map[kernels.Owner]string) error {
	_, err := ask[nothing](ctx, c, question{"networks", inForce, quickLimit})
	return err
}

// UserIDs implements Engine. Errors: those of the engine.
func (c *Client) UserIDs(ctx context.Context) (map[kernels.Owner]int, error) {
	return ask[map[kernels.Owner]int](ctx, c, question{"userids", nothing{}, quickLimit})
}

// question is one call.
type question struct {
	verb  string
	what  any
	limit time.Duration
}

// ask asks and reads the answer.
func ask[A any](ctx context.Context, c *Client, q question) (answer A, err error) {
	ctx, cancel := context.WithTimeout(ctx, q.limit)
	defer cancel()
	body, err := c.post(ctx, q.verb, q.what)
	if err != nil {
		return answer, err
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	if err == nil && len(text) > maxAnswer {
		err = fmt.Errorf("an answer of more than %d bytes", maxAnswer)
	}
	if err == nil {
		err = json.Unmarshal(text, &answer)
	}
	if err != nil {
		return answer, lost(ctx, q.verb, err)
	}
	return answer, nil
}

// post sends a question and returns the body of a good answer, the caller's to close.
func (c *Client) post(ctx context.Context, verb string, what any) (io.ReadCloser, error) {
	request, err := newRequest(ctx, verb, what)
	if err != nil {
		return nil, err
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, lost(ctx, verb, err)
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		return nil, lost(ctx, verb, refusal(answer.Body))
	}
	return answer.Body, nil
}

func newRequest(ctx context.Context, verb string, what any) (*http.Request, error) {
	text, err := json.Marshal(what)
	if err != nil {
		return nil, fmt.Errorf("ask the launcher to %s: %w", verb, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://launcher/v1/"+verb, bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("ask the launcher to %s: %w", verb, err)
	}
	return request, nil
}

// lost names the step and tells what went wrong in terms of kernels: an answer of the launcher as it is, the caller's own
// end, or a launcher that does not answer, or nothing sensible (kernels.ErrUnavailable).
func lost(ctx context.Context, step string, err error) error {
	switch {
	case errors.As(err, new(*answered)):
		return fmt.Errorf("%s: %w", step, err)
	case ctx.Err() != nil:
		return fmt.Errorf("%s: the launcher did not answer in time: %w", step, ctx.Err())
	default:
		return fmt.Errorf("%s: the launcher does not answer: %w: %w", step, kernels.ErrUnavailable, err)
	}
}

// reached reports whether a call that failed may have been heard.
func reached(err error) bool {
	var op *net.OpError
	return !errors.As(err, &op) || op.Op != "dial"
}
