package delivery

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Snapshot is how far delivery is, for the status page.
type Snapshot struct {
	// Projects holds those that have something to deliver, by id.
	Projects map[string]ProjectSnapshot
	// Errors holds what the last attempt failed with, by egress id. The texts name no participants.
	Errors map[string]string
}

// ProjectSnapshot describes what is to be delivered to one project's bucket.
type ProjectSnapshot struct {
	Pending int       // sealed recordings that are not delivered and verified
	Oldest  time.Time // when the one that waits longest was sealed
	// LastError is what the latest attempt of any of them failed with, FailingSince when its
	// failures began, and NextAttempt when it is tried again. Without an error they are zero.
	LastError    string
	FailingSince time.Time
	NextAttempt  time.Time
	// Failing are the deliveries that need somebody's attention: those that fail in a way which no
	// retry cures, and those that have been failing for longer than [FailingAfter]. One for each
	// text, the one that has failed for the longest time.
	Failing []Failure
}

// FailingAfter is how long a delivery may fail in a way that can pass before it counts as failing.
const FailingAfter = time.Minute

// Failure is what one or more deliveries fail with.
type Failure struct {
	EgressID string // of the one that has failed for the longest time
	Others   int    // further deliveries that fail in the same way
	Error    string // cause and remedy, without names of participants
	Since    time.Time
}

// Snapshot returns the state of this moment.
func (d *Dispatcher) Snapshot() Snapshot {
	s := Snapshot{Projects: map[string]ProjectSnapshot{}, Errors: map[string]string{}}
	failed := map[string]time.Time{}
	recordings := d.o.Spool.Recordings()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, rec := range recordings {
		if !isPending(rec) {
			continue
		}
		id := rec.Info().ProjectID
		p := s.Projects[id]
		p.Pending++
		if sealed, ok := rec.Sealed(); ok {
			if t := time.Unix(0, sealed.EndedUnixNS); p.Oldest.IsZero() || t.Before(p.Oldest) {
				p.Oldest = t
			}
		}
		if j := d.jobs[rec.ID()]; j != nil && j.failures > 0 {
			s.Errors[rec.ID()] = j.lastError
			if j.failing && (j.permanent || time.Since(j.since) >= FailingAfter) {
				p.Failing = addFailure(p.Failing, Failure{
					EgressID: rec.ID(), Error: j.lastError,
					Since: j.since,
				})
			}
			if j.lastFailed.After(failed[id]) {
				failed[id] = j.lastFailed
				p.LastError, p.FailingSince, p.NextAttempt = j.lastError, j.since, j.next
				if out := d.backoffs[id]; out != nil && out.next.After(j.next) {
					p.NextAttempt = out.next
				}
			}
		}
		s.Projects[id] = p
	}
	return s
}

// addFailure adds f to a list with one entry for each text, which has that of the longest standing.
func addFailure(list []Failure, f Failure) []Failure {
	for i, g := range list {
		if g.Error != f.Error {
			continue
		}
		f.Others, g.Others = g.Others+1, g.Others+1
		if list[i] = g; f.Since.Before(g.Since) {
			list[i] = f
		}
		return list
	}
	return append(list, f)
}

const (
	resultOK        = "ok"
	resultError     = "error"
	resultPermanent = "permanent_error"
)

type metrics struct {
	uploads *prometheus.CounterVec
	bytes   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, d *Dispatcher) *metrics {
	const ns = "livekit_data_egress"
	auto := promauto.With(reg)
	m := &metrics{
		uploads: auto.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Name: "uploads_total",
			Help: "Attempts to deliver a recording, by result: ok, error (tried again soon), " +
				"permanent_error (needs operator action).",
		}, []string{"result"}),
		bytes: auto.NewCounter(prometheus.CounterOpts{
			Namespace: ns, Name: "upload_bytes_total",
			Help: "Bytes of objects that were uploaded and verified.",
		}),
	}
	for _, result := range []string{resultOK, resultError, resultPermanent} {
		m.uploads.WithLabelValues(result)
	}
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: ns, Name: "pending_recordings",
		Help: "Sealed recordings that are not delivered and verified.",
	}, func() float64 {
		n := 0
		for _, p := range d.Snapshot().Projects {
			n += p.Pending
		}
		return float64(n)
	})
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: ns, Name: "oldest_pending_seconds",
		Help: "How long the recording that waits longest for its delivery has been sealed, 0 if " +
			"none waits.",
	}, func() float64 {
		var longest time.Duration
		for _, p := range d.Snapshot().Projects {
			if !p.Oldest.IsZero() { // not known of a recording whose state cannot be read
				longest = max(longest, time.Since(p.Oldest))
			}
		}
		return longest.Seconds()
	})
	return m
}
