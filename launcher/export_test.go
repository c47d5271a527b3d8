package launcher

import (
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"cellblock.io/cellblock/kernels"
)

// ReadLaunch reads and checks the body of a question for a launch as a Server does.
func ReadLaunch(body io.Reader, allow kernels.EnvAllow) (kernels.Launch, error) {
	q, err := read[launchQuestion](httptest.NewRecorder(), &http.Request{Body: io.NopCloser(body)})
	if err == nil {
		err = q.check(allow, time.Now())
	}
	rec := kernels.Record{ID: q.ID, Owner: q.Owner, Handle: q.Handle, Spec: q.Spec, Created: q.Created}
	return kernels.Launch{Record: rec, UID: q.UID, Env: q.Env}, err
}

// For the tests, which are outside of this package.
var (
	Receive     = receive
	Follow      = follow
	NewClientOn = newClient
)

// MaxAnswer and the others are bounds that tests reach.
const (
	MaxAnswer = maxAnswer
	MaxLine   = maxLine
)
