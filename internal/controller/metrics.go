package controller

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics contains the metrics shared by the controllers of all projects.
type Metrics struct {
	failures prometheus.Counter
	strays   *prometheus.GaugeVec
}

// NewMetrics registers the controllers' metrics with reg; if reg is nil, they are not registered.
// The values of the label project are the project ids in the configuration, a closed set.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	const ns = "livekit_data_egress"
	auto := promauto.With(reg)
	return &Metrics{
		failures: auto.NewCounter(prometheus.CounterOpts{
			Namespace: ns, Name: "recorder_failures_total",
			Help: "Recorders that failed and were begun again on the same recording.",
		}),
		strays: auto.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: ns, Name: "unrequested_sessions",
			Help: "Started sessions that nobody asked this service to record.",
		}, []string{"project"}),
	}
}

func (m *Metrics) recorderFailed() { m.failures.Inc() }

func (m *Metrics) unrequested(project string, n int) {
	m.strays.WithLabelValues(project).Set(float64(n))
}
