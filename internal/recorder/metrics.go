package recorder

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/room"
)

// Metrics contains the metrics shared by all recorders. Their label values come from closed sets.
type Metrics struct {
	packets *prometheus.CounterVec
	bytes   *prometheus.CounterVec
	joins   *prometheus.CounterVec
	joinSec prometheus.Histogram
	outages *prometheus.CounterVec
	ends    *prometheus.CounterVec
	drops   *prometheus.CounterVec
	// byChannel holds the children of packets and bytes by channel number, so that the hot path
	// needs no lookup by name.
	byChannel [4]struct{ packets, bytes prometheus.Counter }
}

// NewMetrics registers the recorders' metrics with reg; if reg is nil, they are not registered.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	const ns = "livekit_data_egress"
	auto := promauto.With(reg)
	m := &Metrics{
		packets: auto.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Name: "packets_total",
			Help: "Data packets written to the spool, by channel.",
		}, []string{"channel"}),
		bytes: auto.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Name: "packet_bytes_total",
			Help: "Bytes of the data packets written to the spool, by channel.",
		}, []string{"channel"}),
		joins: auto.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Name: "joins_total",
			Help: "Attempts to join a room, by result.",
		}, []string{"result"}),
		joinSec: auto.NewHistogram(prometheus.HistogramOpts{
			Namespace: ns, Name: "join_seconds",
			Help:    "Time from the join request to open data channels.",
			Buckets: []float64{.025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		outages: auto.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Name: "outages_total",
			Help: "Intervals in which a recorder was not connected, by cause.",
		}, []string{"cause"}),
		ends: auto.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Name: "recordings_sealed_total",
			Help: "Sealed recordings, by status.",
		}, []string{"status"}),
		drops: auto.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Name: "packets_dropped_total",
			Help: "Packets that were received and, because of a project's lists, not " +
				"recorded, by reason.",
		}, []string{"reason"}),
	}
	for i := range m.byChannel {
		l := channelLabel(room.Channel(i))
		m.byChannel[i].packets, m.byChannel[i].bytes = m.packets.WithLabelValues(l),
			m.bytes.WithLabelValues(l)
	}
	return m
}

func (m *Metrics) packet(ch room.Channel, n int) {
	c := &m.byChannel[int(ch)%len(m.byChannel)]
	c.packets.Inc()
	c.bytes.Add(float64(n))
}

func channelLabel(ch room.Channel) string {
	switch ch {
	case room.Reliable:
		return "reliable"
	case room.Lossy:
		return "lossy"
	case room.DataTrack:
		return "data_track"
	}
	return "other"
}

func (m *Metrics) join(err error, took time.Duration) {
	switch {
	case err == nil:
		m.joins.WithLabelValues("ok").Inc()
		m.joinSec.Observe(took.Seconds())
	case errors.Is(err, ErrOtherSession), errors.Is(err, errEmptyRoom),
		errors.Is(err, errUndecided):
		m.joins.WithLabelValues("refused_by_us").Inc()
	default:
		m.joins.WithLabelValues("failed").Inc()
	}
}

func (m *Metrics) outage(cause string) {
	m.outages.WithLabelValues(cause).Inc()
}

func (m *Metrics) dropped(reason string) {
	m.drops.WithLabelValues(reason).Inc()
}

func (m *Metrics) sealed(s textegress.Status) {
	m.ends.WithLabelValues(string(s)).Inc()
}
