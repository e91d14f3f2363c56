package controller

import "github.com/prometheus/client_golang/prometheus"

// Metrics are shared by the controllers of all projects.
type Metrics struct {
	failures prometheus.Counter
	strays   *prometheus.GaugeVec
}

// NewMetrics registers the controllers' metrics. The label project is the
// project's id from the configuration, a closed set.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	const ns = "livekit_data_egress"
	m := &Metrics{
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: ns, Name: "recorder_failures_total",
			Help: "Recorders that failed and were begun again on the same recording.",
		}),
		strays: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: ns, Name: "unrequested_sessions",
			Help: "Started sessions that nobody asked this service to record.",
		}, []string{"project"}),
	}
	if reg != nil {
		reg.MustRegister(m.failures, m.strays)
	}
	return m
}

func (m *Metrics) recorderFailed() {
	if m != nil {
		m.failures.Inc()
	}
}

func (m *Metrics) unrequested(project string, n int) {
	if m != nil {
		m.strays.WithLabelValues(project).Set(float64(n))
	}
}
