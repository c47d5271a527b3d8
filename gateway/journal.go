package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"cellblock.io/cellblock/kernels"
)

// journalID is the form of a journal's identity.
var journalID = regexp.MustCompile(`^[0-9a-f]{1,64}$`)

// position reads where in a kernel's journal a client wants to begin, and returns it as a bridge is asked for it.
func position(query url.Values) (url.Values, error) {
	asked := url.Values{}
	if query.Has("since") {
		n, err := strconv.ParseUint(query.Get("since"), 10, 64)
		if err != nil {
			return nil, invalid("since must be a sequence number: 0 or more, in digits.")
		}
		asked.Set("since", strconv.FormatUint(n, 10))
	}
	if id := query.Get("journal"); id != "" {
		if !journalID.MatchString(id) {
			return nil, invalid("journal must be the identity of one, as an earlier answer gave it.")
		}
		asked.Set("journal", id)
	}
	return asked, nil
}

// channelsPosition is position for a WebSocket, on which a client may want each message's number as well.
func channelsPosition(query url.Values) (url.Values, error) {
	asked, err := position(query)
	if err != nil {
		return nil, err
	}
	switch query.Get("seq") {
	case "", "0":
	case "1":
		asked.Set("seq", "1")
	default:
		return nil, invalid("seq must be 0 or 1.")
	}
	return asked, nil
}

// pagePosition is position for one page of a journal, whose length a client may choose.
func pagePosition(query url.Values) (url.Values, error) {
	asked, err := position(query)
	if err != nil || !query.Has("limit") {
		return asked, err
	}
	n, err := strconv.Atoi(query.Get("limit"))
	if err != nil || n < 1 || n > kernels.MaxPageItems {
		return nil, invalid(fmt.Sprintf("limit must be a number from 1 to %d.", kernels.MaxPageItems))
	}
	asked.Set("limit", strconv.Itoa(n))
	return asked, nil
}

// journal hands on one page of what the kernel said since a sequence number, as its bridge writes it (docs/journal.md).
// Whose kernel it is is looked up before anything else about the request is. The page goes through as it comes; when it
// breaks off the client sees that, since its length was announced.
func (g *Gateway) journal(c *call) error {
	k, err := g.kernel(c)
	if err != nil {
		return err
	}
	asked, err := pagePosition(c.r.URL.Query())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.ctx(), pageTimeout)
	defer cancel()
	conn, err := g.cfg.Dial(ctx, k.Handle)
	if err != nil {
		return unreachable(err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	page, err := askBridge(conn, http.MethodGet, "/api/kernels/"+url.PathEscape(k.ID)+"/journal?"+asked.Encode())
	if err != nil {
		return err
	}
	switch {
	case page.StatusCode == http.StatusNotFound:
		return kernelGone(k.ID)
	case page.StatusCode == http.StatusServiceUnavailable:
		return refuse(http.StatusServiceUnavailable, "busy", "This kernel's journal is being read by too many at once. Try again.")
	case page.StatusCode != http.StatusOK || page.ContentLength < 0 || page.ContentLength > maxPage:
		return badBridge(fmt.Errorf("%w: status %d, %d bytes", errBridge, page.StatusCode, page.ContentLength))
	}
	c.w.Header().Set("Content-Type", "application/json")
	c.w.Header().Set("Content-Length", strconv.FormatInt(page.ContentLength, 10))
	c.w.WriteHeader(http.StatusOK)
	if _, err := io.CopyN(c.w, page.Body, page.ContentLength); err != nil && c.r.Method != http.MethodHead {
		g.log.Debug("page of a journal broke off", "error", err)
	}
	return nil
}

// askBridge sends a request without a body on a fresh connection and reads the head of the answer, of at most maxHead
// bytes. Its body has at most maxPage.
func askBridge(conn net.Conn, method, target string) (*http.Response, error) {
	if _, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: bridge\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", method, target); err != nil {
		return nil, unreachable(fmt.Errorf("ask bridge: %w", err))
	}
	limited := &io.LimitedReader{R: conn, N: maxHead}
	in := bufio.NewReaderSize(limited, maxHead)
	if _, err := in.Peek(1); err != nil {
		return nil, unreachable(fmt.Errorf("read answer: %w", err))
	}
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		return nil, badBridge(fmt.Errorf("%w: read answer: %w", errBridge, err))
	}
	limited.N = maxPage
	return answer, nil
}

// unreachable is the refusal when nobody listens at a kernel's bridge.
func unreachable(err error) error {
	return &refusal{status: http.StatusServiceUnavailable, reason: "starting", cause: errors.Join(kernels.ErrUnavailable, err),
		message: "The kernel is not reachable yet. Try again."}
}

// badBridge is the refusal when a bridge answers what it must not.
func badBridge(err error) error {
	return &refusal{status: http.StatusBadGateway, reason: "bridge", cause: err,
		message: "The kernel's bridge does not answer as it should."}
}
