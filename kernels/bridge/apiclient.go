package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"cellblock.io/cellblock/kernels"
)

// Client is the gateway's end of a bridge's control calls. It is safe for concurrent use and keeps no connection
// open between calls.
type Client struct {
	http http.Client
}

var _ kernels.Bridge = (*Client)(nil)

// NewClient takes the function that connects to the bridge's socket.
func NewClient(dial func(ctx context.Context) (net.Conn, error)) *Client {
	return &Client{http: http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}}}
}

// maxAnswer bounds a bridge's answer: the bridge may have been taken over by its kernel.
const maxAnswer = 64 << 10

// call performs one request and returns the body of a 2xx answer.
func (c *Client) call(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://bridge"+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("bridge: %w: %w", ctx.Err(), kernels.ErrUnavailable)
		}
		return nil, fmt.Errorf("bridge: %w: %w", err, kernels.ErrUnavailable)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("bridge: read answer: %w: %w", err, kernels.ErrUnavailable)
	}
	switch {
	case answer.StatusCode/100 == 2:
		return text, nil
	case answer.StatusCode == http.StatusNotFound:
		return nil, fmt.Errorf("bridge: %.200s: %w", text, kernels.ErrNotFound)
	}
	return nil, fmt.Errorf("bridge: %.200s: %w", text, kernels.ErrUnavailable)
}

// maxBroken bounds what a bridge says of a broken kernel.
const maxBroken = 200

// Status implements kernels.Bridge. What a bridge says is checked: a state that is none of the protocol's is busy, a
// time in the future is now.
func (c *Client) Status(ctx context.Context) (kernels.BridgeStatus, error) {
	var s kernels.BridgeStatus
	text, err := c.call(ctx, http.MethodGet, "/control/status", nil)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("bridge status: %w: %w", err, kernels.ErrUnavailable)
	}
	switch s.State {
	case kernels.Starting, kernels.Idle, kernels.Busy, kernels.Restarting, kernels.Dead:
	default:
		s.State = kernels.Busy
	}
	if now := time.Now(); s.LastActivity.After(now) {
		s.LastActivity = now
	}
	s.Connections = max(0, s.Connections)
	s.Broken = s.Broken[:min(len(s.Broken), maxBroken)]
	return s, nil
}

// Interrupt implements kernels.Bridge.
func (c *Client) Interrupt(ctx context.Context) error {
	_, err := c.call(ctx, http.MethodPost, "/control/interrupt", nil)
	return err
}

// Shutdown implements kernels.Bridge.
func (c *Client) Shutdown(ctx context.Context, restart bool) error {
	_, err := c.call(ctx, http.MethodPost, "/control/shutdown?restart="+strconv.FormatBool(restart), nil)
	return err
}

// Ready implements kernels.Bridge.
func (c *Client) Ready(ctx context.Context, after int) (int, error) {
	text, err := c.call(ctx, http.MethodGet, "/control/ready?after="+strconv.Itoa(after), nil)
	if err != nil {
		return 0, err
	}
	var answer struct {
		Generation int `json:"generation"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return 0, fmt.Errorf("bridge ready: %w: %w", err, kernels.ErrUnavailable)
	}
	return answer.Generation, nil
}

// Tell implements kernels.Bridge.
func (c *Client) Tell(ctx context.Context, n kernels.News, sentence string) error {
	body, err := json.Marshal(map[string]string{"reason": sentence})
	if err != nil {
		return fmt.Errorf("encode %s: %w", n, err)
	}
	_, err = c.call(ctx, http.MethodPost, newsPath[n], body)
	return err
}

// newsPath is where a bridge is told what.
var newsPath = map[kernels.News]string{
	kernels.Warned: "/control/warned",
	kernels.Died:   "/control/died",
	kernels.Over:   "/control/end",
}
