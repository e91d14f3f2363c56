package syncflow

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics are shared by the clients of all projects.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

// NewMetrics registers the metrics with reg, unless reg is nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	auto := promauto.With(reg)
	return &Metrics{
		requests: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "livekit_data_egress_api_requests_total",
			Help: "Requests to the SyncFlow API by endpoint and outcome (ok, unauthorized, " +
				"client_error, server_error, timeout, network, bad_answer, canceled, gave_way).",
		}, []string{"endpoint", "outcome"}),
		seconds: auto.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "livekit_data_egress_api_request_seconds",
			Help:    "Duration of one try of a request to the SyncFlow API.",
			Buckets: []float64{.01, .05, .1, .5, 1, 5, 10, 30, 60},
		}, []string{"endpoint"}),
	}
}
