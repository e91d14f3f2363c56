package delivery

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Snapshot is the state of delivery, for the status page.
type Snapshot struct {
	// Projects holds the projects with pending deliveries, by id.
	Projects map[string]ProjectSnapshot
	// Errors holds the error of each recording whose last attempt failed, by egress id. The texts
	// name no participants.
	Errors map[string]string
	// Progress holds how far the deliveries are that were begun by this process, by egress id.
	Progress map[string]Progress
}

// Progress is how much of a recording is verified in the bucket.
type Progress struct{ Done, Total int64 } // bytes

// ProjectSnapshot describes what remains to be delivered to one project's bucket.
type ProjectSnapshot struct {
	Pending int       // sealed recordings that are not yet delivered and verified
	Oldest  time.Time // when the longest waiting one was sealed
	// LastError is the error of the latest failed attempt, FailingSince the time of that
	// recording's first failure in a row, and NextAttempt the time of its next attempt. Without an
	// error they are zero.
	LastError    string
	FailingSince time.Time
	NextAttempt  time.Time
	// Failing lists the deliveries that need attention: those that no retry can fix, and those that
	// have been failing for longer than [FailingAfter]. Deliveries with the same text share one
	// entry.
	Failing []Failure
}

// FailingAfter is how long a delivery may fail with a temporary error before it counts as failing.
const FailingAfter = time.Minute

// Failure describes one or more deliveries that fail with the same error text.
type Failure struct {
	EgressID string // of the delivery that has been failing longest
	Others   int    // further deliveries with the same text
	Error    string // cause and remedy, without names of participants
	Since    time.Time
}

// Snapshot returns the current state.
func (d *Dispatcher) Snapshot() Snapshot {
	s := Snapshot{
		Projects: map[string]ProjectSnapshot{}, Errors: map[string]string{},
		Progress: map[string]Progress{},
	}
	failed := map[string]time.Time{}
	recordings := d.o.Spool.Select(isPending)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, rec := range recordings {
		id := rec.Info().ProjectID
		p := s.Projects[id]
		p.Pending++
		if sealed, ok := rec.Sealed(); ok {
			if t := time.Unix(0, sealed.EndedUnixNS); p.Oldest.IsZero() || t.Before(p.Oldest) {
				p.Oldest = t
			}
		}
		if j := d.jobs[rec.ID()]; j != nil && j.total > 0 {
			s.Progress[rec.ID()] = Progress{j.done, j.total}
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

// addFailure adds f to a list with one entry for each text, which describes the delivery that has
// been failing longest.
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
		Help: "Time since the oldest undelivered recording was sealed; 0 if there is none.",
	}, func() float64 {
		var longest time.Duration
		for _, p := range d.Snapshot().Projects {
			if !p.Oldest.IsZero() { // unknown for a recording whose state cannot be read
				longest = max(longest, time.Since(p.Oldest))
			}
		}
		return longest.Seconds()
	})
	return m
}
