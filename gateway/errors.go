package gateway

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"cellblock.io/cellblock/auth"
	"cellblock.io/cellblock/kernels"
)

// refusal is an answer that is not what the caller asked for.
type refusal struct {
	status  int
	reason  string // stable machine word, never empty
	message string // for the person, whole sentences
	header  http.Header
	cause   error // for the log; may be nil
}

func (r *refusal) Error() string { return r.reason + ": " + r.message }

func (r *refusal) Unwrap() error { return r.cause }

// refuse makes a refusal without headers of its own.
func refuse(status int, reason, message string) *refusal {
	return &refusal{status: status, reason: reason, message: message}
}

// invalid is the refusal of a request that has the wrong form.
func invalid(message string) *refusal {
	return refuse(http.StatusBadRequest, "invalid", message)
}

// kernelGone is what an unknown, a malformed and somebody else's kernel id all look like.
func kernelGone(id string) *refusal {
	return refuse(http.StatusNotFound, "not_found", "Kernel does not exist: "+shorten(id, maxName))
}

// sessionGone is the same for sessions.
func sessionGone(id string) *refusal {
	return refuse(http.StatusNotFound, "not_found", "Session does not exist: "+shorten(id, maxName))
}

// answers turns the errors of other packages into what callers see. There are no WebSocket close codes in it: all
// refusals happen before the upgrade, and after it the bridge alone speaks.
var answers = []struct {
	err     error
	status  int
	reason  string
	message string // for errors that bring no sentence of their own
}{
	{kernels.ErrNotFound, http.StatusNotFound, "not_found", "There is nothing of that id."},
	{kernels.ErrGone, http.StatusGone, "gone", "The kernel had gone before its session."},
	{kernels.ErrDead, http.StatusGone, "dead", "The kernel has died."},
	{kernels.ErrQuota, http.StatusForbidden, "quota", "Quota reached."},
	{kernels.ErrExists, http.StatusConflict, "exists", "Something of that id is there already."},
	{kernels.ErrUnknownSpec, http.StatusBadRequest, "unknown_kernelspec", "No kernelspec of that name is installed."},
	{kernels.ErrInvalid, http.StatusBadRequest, "invalid", "The request has a form or value that is not accepted."},
	{kernels.ErrUnavailable, http.StatusServiceUnavailable, "unavailable", "A part that is needed does not answer now. Try again."},
	{auth.ErrInvalidCredential, http.StatusUnauthorized, "unauthorized", "The credential is not valid or has expired."},
	{auth.ErrUnavailable, http.StatusServiceUnavailable, "unavailable", "Credentials cannot be checked now. Try again."},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, "timeout", "This took too long. Try again."},
	{context.Canceled, http.StatusServiceUnavailable, "canceled", "The request was given up."},
}

// answer finds what callers see of err. What is not in the table is ours to explain, in the log.
func answer(err error) *refusal {
	var r *refusal
	if errors.As(err, &r) {
		return r
	}
	for _, a := range answers {
		if errors.Is(err, a.err) {
			return &refusal{status: a.status, reason: a.reason, message: sentence(err, a.message), cause: err}
		}
	}
	return &refusal{status: http.StatusInternalServerError, reason: "internal", message: "internal error", cause: err}
}

// sentence is what err itself has to say to the person, or else.
func sentence(err error, otherwise string) string {
	var quota *kernels.QuotaError
	var request *kernels.RequestError
	switch {
	case errors.As(err, &quota):
		return quota.Error()
	case errors.As(err, &request):
		return request.Sentence
	}
	return otherwise
}

// errorBody is the object that all clients read. Lab's server shows message and reason in a dialog.
type errorBody struct {
	Message string `json:"message"`
	Reason  string `json:"reason"`
}

// refused writes err as the response.
func (c *call) refused(err error) *refusal {
	r := answer(err)
	h := c.w.Header()
	for k, v := range r.header {
		h[k] = v
	}
	if r.status == http.StatusServiceUnavailable && h.Get("Retry-After") == "" {
		h.Set("Retry-After", "1")
	}
	message := r.message
	if r.status != http.StatusNotFound && strings.HasPrefix(c.r.UserAgent(), "Tornado/") {
		message = forLab(message)
	}
	c.json(r.status, errorBody{message, r.reason})
	return r
}

// labLine is how wide Lab's dialog shows a line whole.
const labLine = 100

// forLab sets a message for the dialog of JupyterLab, which puts its own words before and after it in the same line:
// on lines of its own, none too long.
func forLab(message string) string {
	var lines []string
	for _, paragraph := range strings.Split(strings.TrimSpace(message), "\n") {
		line := ""
		for _, word := range strings.Fields(paragraph) {
			word = shorten(word, labLine)
			if line != "" && len(line)+1+len(word) > labLine {
				lines, line = append(lines, line), ""
			}
			line = strings.TrimPrefix(line+" "+word, " ")
		}
		lines = append(lines, line)
	}
	return "\n\n" + strings.Join(lines, "\n") + "\n\n"
}
