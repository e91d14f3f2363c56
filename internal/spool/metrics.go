package spool

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// The operations that spool_errors_total distinguishes.
const (
	opCreate   = "create"   // beginning a recording or a segment
	opWrite    = "write"    // appending a frame
	opTruncate = "truncate" // cutting a torn frame
	opSync     = "sync"     // making a segment durable
	opState    = "state"    // writing a state file
	opRead     = "read"     // reading recordings at start, segments when sealing
	opRemove   = "remove"   // removing local data
)

type metrics struct {
	recorded prometheus.Counter
	durable  prometheus.Counter
	fsync    prometheus.Histogram
	errors   *prometheus.CounterVec

	reg  prometheus.Registerer
	done []prometheus.Collector // registered, in order
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	const namespace, subsystem = "livekit_data_egress", "spool"
	m := &metrics{
		reg: reg,
		recorded: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "frames_recorded_total",
			Help: "Frames written to a segment; they survive the death of the process.",
		}),
		durable: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "frames_durable_total",
			Help: "Frames whose segment was synced after they were written; they survive a power failure.",
		}),
		fsync: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "fsync_seconds",
			Help:    "Duration of making one segment durable.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15), // 0.5 ms … 8 s
		}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "errors_total",
			Help: "Failed operations on the local disk.",
		}, []string{"op"}),
	}
	for _, op := range []string{opCreate, opWrite, opTruncate, opSync, opState, opRead, opRemove} {
		m.errors.WithLabelValues(op)
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.recorded, m.durable, m.fsync, m.errors} {
		if err := reg.Register(c); err != nil {
			m.unregister()
			return nil, fmt.Errorf("register metrics: %w", err)
		}
		m.done = append(m.done, c)
	}
	return m, nil
}

func (m *metrics) unregister() {
	for _, c := range m.done {
		m.reg.Unregister(c)
	}
	m.done = nil
}

// count counts a failure of the disk and returns err. Being asked for something
// in the wrong state is no such failure.
func (m *metrics) count(op string, err error) error {
	if err != nil && !errors.Is(err, ErrState) {
		m.errors.WithLabelValues(op).Inc()
	}
	return err
}
