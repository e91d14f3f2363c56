package syncflow

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

// newMetrics registers the collectors, or finds those that the client of another project has
// registered.
func newMetrics(reg prometheus.Registerer) metrics {
	return metrics{
		requests: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "livekit_data_egress_api_requests_total",
			Help: "Requests to the SyncFlow API by endpoint and outcome (ok, unauthorized, " +
				"client_error, server_error, timeout, network, bad_answer, canceled, gave_way).",
		}, []string{"endpoint", "outcome"})),
		seconds: register(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "livekit_data_egress_api_request_seconds",
			Help:    "Duration of one try of a request to the SyncFlow API.",
			Buckets: []float64{.01, .05, .1, .5, 1, 5, 10, 30, 60},
		}, []string{"endpoint"})),
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
