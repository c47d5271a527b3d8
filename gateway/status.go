package gateway

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"cellblock.io/cellblock/auth"
)

// version answers GET /api, which clients ask without a credential to see whether a server is up.
func (g *Gateway) version(c *call) error {
	c.json(http.StatusOK, map[string]string{"version": g.cfg.Version})
	return nil
}

// statusModel is the answer of /api/status.
type statusModel struct {
	Started      string `json:"started"`
	LastActivity string `json:"last_activity"`
	Kernels      int    `json:"kernels"`
	Connections  int    `json:"connections"`
}

// status sums up the caller's own kernels; those of others are none of their business.
func (g *Gateway) status(c *call) error {
	list, err := g.cfg.Kernels.List(c.ctx(), c.owner())
	if err != nil {
		return err
	}
	last, connections := g.started, 0
	for _, k := range list {
		connections += k.Connections
		if k.LastActivity.After(last) {
			last = k.LastActivity
		}
	}
	c.json(http.StatusOK, statusModel{
		Started: timestamp(g.started), LastActivity: timestamp(last), Kernels: len(list), Connections: connections,
	})
	return nil
}

// Health is how the service is.
type Health struct {
	// OK means that requests can be served.
	OK bool
	// Problems are whole sentences about what is missing or not enforced, also when OK. Anybody can read them.
	Problems []string
}

// healthModel is the answer of /healthz. Status is "ok", "degraded" (serving, with problems), "failing" or "draining".
type healthModel struct {
	Status   string   `json:"status"`
	Problems []string `json:"problems"`
}

// healthz answers 200 while new work is welcome and 503 otherwise.
func (g *Gateway) healthz(c *call) error {
	h := g.cfg.Health()
	model, code := healthModel{Status: "ok", Problems: h.Problems}, http.StatusOK
	if len(h.Problems) > 0 {
		model.Status = "degraded"
	} else {
		model.Problems = []string{}
	}
	switch {
	case g.pipes.draining():
		model.Status, code = "draining", http.StatusServiceUnavailable
	case !h.OK:
		model.Status, code = "failing", http.StatusServiceUnavailable
	}
	c.json(code, model)
	return nil
}

// showMetrics gives the registry to this machine, to administrators, and to others only when the configuration says
// so. For tenants there is nothing here.
func (g *Gateway) showMetrics(c *call) error {
	if !g.cfg.MetricsOpen && !onLoopback(c.r) {
		if err := g.authenticate(c); err != nil {
			return err
		}
		if c.who.Role != auth.RoleAdmin {
			return errNoRoute
		}
	}
	promhttp.HandlerFor(g.cfg.Metrics, promhttp.HandlerOpts{}).ServeHTTP(c.w, c.r)
	return nil
}
