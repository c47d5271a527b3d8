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
	// ErrGone: the session was there, but its kernel had gone before it. The session is closed now.
	ErrGone = errors.New("kernel already gone")
	// ErrDead: the kernel did not come to life again and has been removed; the text says why.
	ErrDead = errors.New("kernel died")
)

// RequestError is an error whose text is one sentence for the person who asked; errors.Is finds its kind.
type RequestError struct {
	Kind     error // one of the sentinels of this package
	Sentence string
}

// Error returns the sentence.
func (e *RequestError) Error() string { return e.Sentence }

// Unwrap returns the kind.
func (e *RequestError) Unwrap() error { return e.Kind }

// refuse makes a RequestError with a formatted sentence.
func refuse(kind error, format string, args ...any) error {
	return &RequestError{Kind: kind, Sentence: fmt.Sprintf(format, args...)}
}

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
