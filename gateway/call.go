package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"time"
	"unicode/utf8"

	"cellblock.io/cellblock/kernels"
)

// call is one request on its way through a route.
type call struct {
	w     *recorder
	r     *http.Request
	route route
	// who is calling; empty on public routes.
	who caller
	// body is the whole request body, where the route reads one.
	body []byte
}

func (c *call) ctx() context.Context { return c.r.Context() }

func (c *call) owner() kernels.Owner { return kernels.Owner(c.who.Name) }

// lasting returns a context for work that must be finished once it is begun, also when the caller has gone.
func (c *call) lasting() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(c.ctx()), callTimeout)
}

// json writes v as the response. Errors of writing are the caller's loss: nobody is there to be told.
func (c *call) json(status int, v any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil { // no value of ours can make it fail
		status = http.StatusInternalServerError
		b.Reset()
		b.WriteString(`{"message":"internal error","reason":"internal"}`)
	}
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(status)
	_, _ = c.w.Write(b.Bytes())
}

// read takes in the whole body, up to limit bytes and for at most bodyTimeout.
func (c *call) read(limit int64) error {
	if c.r.Body == nil || c.r.Body == http.NoBody {
		return nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, limit))
	var tooLarge *http.MaxBytesError
	var netErr net.Error
	switch {
	case errors.As(err, &tooLarge):
		return refuse(http.StatusRequestEntityTooLarge, "too_large", "The request's body is too large for this path.")
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return refuse(http.StatusRequestTimeout, "slow_body", "The request's body did not arrive in time.")
	case err != nil:
		return invalid("The request's body could not be read.")
	}
	c.readBy(time.Time{})
	c.body = body
	return nil
}

// readBy sets until when the client may send the rest of this request; not all writers know deadlines.
func (c *call) readBy(t time.Time) { _ = http.NewResponseController(c.w).SetReadDeadline(t) }

// shorten cuts s to at most n bytes, at a character's border, and says so.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const dots = "…"
	cut := n - len(dots)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + dots
}

// recorder remembers what became of a response.
type recorder struct {
	http.ResponseWriter
	status   int
	upgraded bool
}

// WriteHeader passes the status on and keeps it.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write counts as status 200 when none was given.
func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Hijack takes the connection over from the HTTP server; the response is no longer the server's to write.
func (w *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	w.upgraded = err == nil
	return conn, rw, err
}

// Unwrap lets http.ResponseController find the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
