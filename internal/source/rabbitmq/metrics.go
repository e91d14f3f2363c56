package rabbitmq

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Results of announcements in the metrics.
const (
	resultAccepted    = "accepted"    // handled and acknowledged
	resultFailed      = "failed"      // not handled, given back to the queue
	resultMalformed   = "malformed"   // skipped
	resultRedelivered = "redelivered" // counted in addition: the broker had delivered it before
)

// Metrics are shared by the sources of all projects.
type Metrics struct {
	notifications *prometheus.CounterVec
	connected     *prometheus.GaugeVec
	reconnects    *prometheus.CounterVec
}

// NewMetrics registers the metrics with reg, unless reg is nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	auto := promauto.With(reg)
	m := &Metrics{
		notifications: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "livekit_data_egress_notifications_total",
			Help: "Session announcements from the broker by result (accepted, failed, malformed; " +
				"redelivered in addition).",
		}, []string{"result"}),
		connected: auto.NewGaugeVec(prometheus.GaugeOpts{
			Name: "livekit_data_egress_broker_connected",
			Help: "1 while announcements reach us: logged in, queue consumed and bound. By the " +
				"number of the project in the configuration.",
		}, []string{"project"}),
		reconnects: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "livekit_data_egress_broker_reconnects_total",
			Help: "Connections to the broker after the first one, by the number of the project " +
				"in the configuration.",
		}, []string{"project"}),
	}
	for _, r := range []string{resultAccepted, resultFailed, resultMalformed, resultRedelivered} {
		m.notifications.WithLabelValues(r)
	}
	return m
}

// metrics are those of one project.
type metrics struct {
	notifications *prometheus.CounterVec
	connected     prometheus.Gauge
	reconnects    prometheus.Counter
}

func (m *Metrics) of(project string) metrics {
	return metrics{
		m.notifications, m.connected.WithLabelValues(project),
		m.reconnects.WithLabelValues(project),
	}
}
