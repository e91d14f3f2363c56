package spool

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// The operations that spool_errors_total distinguishes.
const (
	opCreate   = "create"   // creating a recording or a segment
	opWrite    = "write"    // appending a frame
	opTruncate = "truncate" // cutting a torn frame
	opSync     = "sync"     // making a segment durable
	opState    = "state"    // writing a state file
	opRead     = "read"     // reading recordings at start, segments when sealing
	opRemove   = "remove"   // removing local data
	opReserve  = "reserve"  // creating the ballast or releasing it
	opSpace    = "space"    // querying the free space
)

type metrics struct {
	recorded prometheus.Counter
	durable  prometheus.Counter
	fsync    prometheus.Histogram
	errors   *prometheus.CounterVec
	refused  prometheus.Counter
}

// newMetrics registers the metrics of s with reg. If reg is nil, it does not register them.
func newMetrics(reg prometheus.Registerer, s *Spool) *metrics {
	const namespace, subsystem = "livekit_data_egress", "spool"
	auto := promauto.With(reg)
	m := &metrics{
		recorded: auto.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "frames_recorded_total",
			Help: "Frames written to a segment; they survive a crash of the process.",
		}),
		durable: auto.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "frames_durable_total",
			Help: "Frames whose segment was synced after they were written; they survive a " +
				"power failure.",
		}),
		fsync: auto.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "fsync_seconds",
			Help:    "Duration of making one segment durable.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15), // 0.5 ms … 8 s
		}),
		errors: auto.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "errors_total",
			Help: "Failed operations on the local disk.",
		}, []string{"op"}),
		refused: auto.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "refused_total",
			Help: "Recordings refused because the disk is nearly full; each attempt counts.",
		}),
	}
	for _, op := range []string{
		opCreate, opWrite, opTruncate, opSync, opState, opRead, opRemove,
		opReserve, opSpace,
	} {
		m.errors.WithLabelValues(op)
	}
	for _, g := range []struct {
		name, help string
		value      func(*Spool) float64
	}{
		{
			"disk_free_bytes", "Free space on the file system of the data directory.",
			func(s *Spool) float64 { return float64(s.Disk().Free) },
		},
		{
			"disk_low", "1 while new sessions are refused because the disk is nearly full.",
			func(s *Spool) float64 { return truth(s.Disk().Low) },
		},
		{
			"disk_full", "1 while packets are refused because the disk is full.",
			func(s *Spool) float64 { return truth(s.Disk().Full) },
		},
		{
			"disk_reserve_bytes", "Size of the ballast; 0 while it is released.",
			func(s *Spool) float64 { return float64(s.Disk().Ballast) },
		},
		{
			"suspect_recordings", "Recordings in the data directory with a failed fsync.",
			(*Spool).countSuspect,
		},
	} {
		auto.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: subsystem, Name: g.name, Help: g.help,
		}, func() float64 { return g.value(s) })
	}
	return m
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (s *Spool) countSuspect() float64 {
	n := 0
	for _, r := range s.Recordings() {
		if r.Suspect() && r.State() != StateRemoved {
			n++
		}
	}
	return float64(n)
}

// count counts a disk failure and returns err. A call in the wrong state is not a disk failure.
func (m *metrics) count(op string, err error) error {
	if err != nil && !errors.Is(err, ErrState) {
		m.errors.WithLabelValues(op).Inc()
	}
	return err
}
