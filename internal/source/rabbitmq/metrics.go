package rabbitmq

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Results of announcements in the metrics.
const (
	resultAccepted    = "accepted"    // handled and acknowledged
	resultFailed      = "failed"      // not handled, given back to the queue
	resultMalformed   = "malformed"   // skipped
	resultRedelivered = "redelivered" // counted in addition: the broker had delivered it before
)

type metrics struct {
	notifications *prometheus.CounterVec
	connected     prometheus.Gauge
	reconnects    prometheus.Counter
}

// newMetrics registers the collectors, or finds those that another project's source has registered.
func newMetrics(reg prometheus.Registerer, project string) metrics {
	notifications := register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "livekit_data_egress_notifications_total",
		Help: "Session announcements from the broker by result (accepted, failed, malformed; " +
			"redelivered in addition).",
	}, []string{"result"}))
	for _, r := range []string{resultAccepted, resultFailed, resultMalformed, resultRedelivered} {
		notifications.WithLabelValues(r)
	}
	connected := register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "livekit_data_egress_broker_connected",
		Help: "1 while announcements reach us: logged in, queue consumed and bound. By the " +
			"number of the project in the configuration.",
	}, []string{"project"}))
	reconnects := register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "livekit_data_egress_broker_reconnects_total",
		Help: "Connections to the broker after the first one, by the number of the project in " +
			"the configuration.",
	}, []string{"project"}))
	return metrics{
		notifications, connected.WithLabelValues(project),
		reconnects.WithLabelValues(project),
	}
}

func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	err := reg.Register(c)
	if err == nil {
		return c
	}
	if are, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if old, ok := are.ExistingCollector.(C); ok {
			return old
		}
	}
	panic(err) // two different metrics of one name: a mistake in the program
}
