package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"cellblock.io/cellblock/kernels"
)

// meter counts what happens to kernels.
type meter struct {
	launches *prometheus.CounterVec
	launch   *prometheus.HistogramVec
	deaths   *prometheus.CounterVec
	culled   prometheus.Counter
	kernels  *prometheus.GaugeVec
}

var _ kernels.Meter = (*meter)(nil)

// newRegistry returns a registry with the metrics of the process and of kernels.
func newRegistry(b build) (*prometheus.Registry, *meter, error) {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "cellblock_build_info", Help: "1, with what is known of the binary.",
		ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.Revision, "go": b.Go},
	})
	info.Set(1)
	m := &meter{
		launches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cellblock_kernel_launches_total", Help: "Attempts to start a kernel, by kernelspec and result (ok, failed).",
		}, []string{"kernelspec", "result"}),
		launch: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "cellblock_kernel_launch_seconds", Help: "Time until a started kernel has answered.",
			Buckets: []float64{.1, .25, .5, .75, 1, 1.5, 2, 3, 5, 10, 20, 40, 60},
		}, []string{"kernelspec"}),
		deaths: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cellblock_kernel_deaths_total", Help: "Processes that ended by themselves (kernel, bridge).",
		}, []string{"process"}),
		culled: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "cellblock_kernels_culled_total", Help: "Kernels ended for want of use.",
		}),
		kernels: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "cellblock_kernels", Help: "Kernels on record, by phase (starting, running, restarting, ending).",
		}, []string{"phase"}),
	}
	r := prometheus.NewRegistry()
	var errs []error
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		info, m.launches, m.launch, m.deaths, m.culled, m.kernels,
	} {
		errs = append(errs, r.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, fmt.Errorf("register metrics: %w", err)
	}
	return r, m, nil
}

// Launched implements kernels.Meter.
func (m *meter) Launched(spec string, took time.Duration, err error) {
	if err != nil {
		m.launches.WithLabelValues(spec, "failed").Inc()
		return
	}
	m.launches.WithLabelValues(spec, "ok").Inc()
	m.launch.WithLabelValues(spec).Observe(took.Seconds())
}

// Died implements kernels.Meter.
func (m *meter) Died(bridge bool) {
	process := "kernel"
	if bridge {
		process = "bridge"
	}
	m.deaths.WithLabelValues(process).Inc()
}

// Culled implements kernels.Meter.
func (m *meter) Culled() { m.culled.Inc() }

// count sets how many kernels there are.
func (m *meter) count(records []kernels.Record) {
	n := map[kernels.Phase]int{kernels.PhaseStarting: 0, kernels.PhaseRunning: 0, kernels.PhaseRestarting: 0, kernels.PhaseEnding: 0}
	for _, r := range records {
		n[r.Phase]++
	}
	for phase, count := range n {
		m.kernels.WithLabelValues(string(phase)).Set(float64(count))
	}
}
