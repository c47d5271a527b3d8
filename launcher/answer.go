package launcher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"cellblock.io/cellblock/kernels"
)

// answering serves one verb: a question of type Q is read and checked for its form, do answers it.
func answering[Q, A any](s *Server, do func(context.Context, Q) (A, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		question, err := read[Q](w, r)
		if err != nil {
			refuse(w, err)
			return
		}
		answer, err := do(r.Context(), question)
		if err != nil {
			s.cfg.Log.Debug("refused or failed", "verb", r.URL.Path, "err", err)
			refuse(w, err)
			return
		}
		send(w, http.StatusOK, answer)
	})
}

// read reads a question: one JSON object, of which every key is known. Errors are kernels.ErrInvalid.
func read[Q any](w http.ResponseWriter, r *http.Request) (question Q, err error) {
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Now().Add(headerLimit))
	text := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxQuestion))
	text.DisallowUnknownFields()
	if err := text.Decode(&question); err != nil {
		return question, fmt.Errorf("%w: %w", kernels.ErrInvalid, err)
	}
	if _, err := text.Token(); !errors.Is(err, io.EOF) {
		return question, fmt.Errorf("%w: more than one JSON object", kernels.ErrInvalid)
	}
	_ = conn.SetReadDeadline(time.Time{}) // what comes later is the end of the connection; of a bad one nobody waits for more
	return question, nil
}

func refuse(w http.ResponseWriter, err error) {
	f, status := failed(err)
	send(w, status, f)
}

func send(w http.ResponseWriter, status int, answer any) {
	text, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(lineLimit))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text) // whoever has gone away wants none
}
