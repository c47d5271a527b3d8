package bridge

import (
	"time"

	"cellblock.io/cellblock/kernels"
)

// restartNews is when, after a restart that somebody asked for, the others are told. Nobody says who asked. But whoever
// did knows: JupyterLab opens a new connection at once, others go on with their next request.
const restartNews = 2 * time.Second

// knowsNext returns the generation of the process that a client means who connects or asks now. Called with mu held.
func (h *hub) knowsNext() int {
	if h.phase != running || h.holding() {
		return h.generation + 1
	}
	return h.generation
}

// tellRestart has the clients told that give no sign of knowing of the process which is up now. What they read is what
// Jupyter's clients take for a restart; what the kernel does now comes behind it. Called with mu held.
func (h *hub) tellRestart() {
	generation := h.generation
	time.AfterFunc(restartNews, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.phase != running || h.generation != generation {
			return
		}
		for _, s := range h.sessions {
			if s.client != nil && s.knows < generation {
				h.publishStatusTo(s.id, kernels.Restarting)
				h.publishStatusTo(s.id, h.activity.state())
			}
		}
	})
}
