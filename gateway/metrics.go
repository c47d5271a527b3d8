package gateway

import (
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts requests by the rows of the route table, never by what a client sent.
type metrics struct {
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	open     prometheus.Gauge
}

func newMetrics(r *prometheus.Registry) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cellblock_http_requests_total",
			Help: "HTTP requests by route, method and class of status (1xx: upgraded).",
		}, []string{"route", "method", "class"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "cellblock_http_request_seconds",
			Help:    "Time from a request's headers to its response's end, or to the upgrade.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"route", "method"}),
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "cellblock_websockets_open",
			Help: "WebSockets that are being piped to a bridge.",
		}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.latency, m.open} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

// request counts one that has been answered or upgraded.
func (m *metrics) request(c *call, took time.Duration) {
	method := c.route.method
	if method == "" {
		method = "other"
	}
	class := "none"
	if c.w.status >= 100 {
		class = strconv.Itoa(c.w.status/100) + "xx"
	}
	m.requests.WithLabelValues(c.route.path, method, class).Inc()
	m.latency.WithLabelValues(c.route.path, method).Observe(took.Seconds())
}
