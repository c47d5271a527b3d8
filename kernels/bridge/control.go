package bridge

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"

	"cellblock.io/cellblock/kernels"
)

// maxReason bounds a sentence for the kernel's clients.
const maxReason = 4 << 10

func (s *server) health(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"status": "ok", "kernel": s.hub.status().State})
}

// model is the kernel model of jupyter_server's API.
func (s *server) model(w http.ResponseWriter, r *http.Request) {
	if !s.known(w, r) {
		return
	}
	st := s.hub.status()
	writeJSON(w, http.StatusOK, map[string]any{
		"id": r.PathValue("id"), "name": s.cfg.kernelName, "execution_state": st.State, "connections": st.Connections,
		"last_activity": st.LastActivity.UTC().Format(timeFormat),
	})
}

func (s *server) status(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.hub.status())
}

func (s *server) interrupt(w http.ResponseWriter, r *http.Request) {
	if err := s.hub.ask(r.Context(), "interrupt_request", nil); err != nil {
		answerError(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// shutdown asks the kernel to end. Requests are held from here on, whether it answers or not.
func (s *server) shutdown(w http.ResponseWriter, r *http.Request) {
	restart := r.URL.Query().Get("restart") == "true"
	s.hub.hold(restart)
	if err := s.hub.ask(r.Context(), "shutdown_request", map[string]bool{"restart": restart}); err != nil {
		answerError(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// leave takes leave of one client.
func (s *server) leave(w http.ResponseWriter, r *http.Request) {
	if !s.hub.leave(r.PathValue("connection")) {
		http.Error(w, "no such connection", http.StatusNotFound)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// ready waits for a kernel process of a generation later than the given one.
func (s *server) ready(w http.ResponseWriter, r *http.Request) {
	after, err := strconv.Atoi(r.URL.Query().Get("after"))
	if err != nil {
		http.Error(w, "after is not a number", http.StatusBadRequest)
		return
	}
	generation, err := s.hub.ready(r.Context(), after)
	if err != nil {
		answerError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]int{"generation": generation})
}

// tell is where the gateway says something to the kernel's clients.
func (s *server) tell(fn func(sentence string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if sentence, ok := readReason(w, r); ok {
			fn(sentence)
			w.WriteHeader(http.StatusNoContent)
		}
	}
}

// readReason reads the sentence that a call brings; false when it has answered that there is none.
func readReason(w http.ResponseWriter, r *http.Request) (string, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReason))
	if err != nil {
		http.Error(w, "reason too long", http.StatusRequestEntityTooLarge)
		return "", false
	}
	var reason struct {
		Reason string `json:"reason"`
	}
	if err := json.Unmarshal(body, &reason); err != nil {
		http.Error(w, "body is not a JSON object with a reason", http.StatusBadRequest)
		return "", false
	}
	return reason.Reason, true
}

// answerError is the other side of Client's errors.
func answerError(w http.ResponseWriter, err error) {
	status := http.StatusGatewayTimeout
	switch {
	case errors.Is(err, kernels.ErrUnavailable):
		status = http.StatusServiceUnavailable
	case errors.Is(err, kernels.ErrNotFound):
		status = http.StatusNotFound
	}
	http.Error(w, err.Error(), status)
}
