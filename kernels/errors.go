package kernels

import (
	"errors"
	"fmt"
)

// What callers must tell apart. Everything else is an internal error.
var (
	// ErrNotFound: no such kernel or session for this owner; also what another owner's id looks like.
	ErrNotFound = errors.New("not found")
	// ErrExists: the id that a client chose is taken among its own kernels.
	ErrExists = errors.New("already exists")
	// ErrUnknownSpec: no kernelspec of that name is installed.
	ErrUnknownSpec = errors.New("unknown kernelspec")
	// ErrQuota: the owner's quota is used up. It comes wrapped in a *QuotaError.
	ErrQuota = errors.New("quota reached")
	// ErrUnavailable: a part that is needed (engine, store, bridge) does not answer now; trying again may help.
	ErrUnavailable = errors.New("temporarily unavailable")
	// ErrInvalid: the request has a form or value that is not accepted; the wrapping text says which.
	ErrInvalid = errors.New("invalid request")
)

// QuotaError says which limit was met, in one sentence for the person who met it.
type QuotaError struct {
	Used, Limit int
}

// Error returns the sentence that a refused person reads.
func (e *QuotaError) Error() string {
	if e.Limit == 0 {
		return "Quota reached: this account may not run kernels. Ask your administrator."
	}
	return fmt.Sprintf("Quota reached: %d of %d kernels are running. Stop one first.", e.Used, e.Limit)
}

// Unwrap makes errors.Is(err, ErrQuota) true.
func (e *QuotaError) Unwrap() error { return ErrQuota }
