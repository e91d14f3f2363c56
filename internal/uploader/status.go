package uploader

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
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
	// LastError is what the latest attempt of any of them failed with, FailingSince when its failures began, and
	// NextAttempt when it is tried again. Without an error they are zero.
	LastError    string
	FailingSince time.Time
	NextAttempt  time.Time
}

// Snapshot returns the state of this moment.
func (u *Uploader) Snapshot() Snapshot {
	s := Snapshot{Projects: map[string]ProjectSnapshot{}, Errors: map[string]string{}}
	failed := map[string]time.Time{}
	recordings := u.o.Spool.Recordings()
	u.mu.Lock()
	defer u.mu.Unlock()
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
		if j := u.jobs[rec.ID()]; j != nil && j.failures > 0 {
			s.Errors[rec.ID()] = j.lastError
			if j.lastFailed.After(failed[id]) {
				failed[id] = j.lastFailed
				p.LastError, p.FailingSince, p.NextAttempt = j.lastError, j.since, j.next
				if out := u.outages[id]; out != nil && out.next.After(j.next) {
					p.NextAttempt = out.next
				}
			}
		}
		s.Projects[id] = p
	}
	return s
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

func newMetrics(reg prometheus.Registerer, u *Uploader) *metrics {
	const ns = "livekit_data_egress"
	m := &metrics{
		uploads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Name: "uploads_total",
			Help: "Attempts to deliver a recording, by result: ok, error (tried again soon), permanent_error (needs a person).",
		}, []string{"result"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: ns, Name: "upload_bytes_total",
			Help: "Bytes of objects that were uploaded and verified.",
		}),
	}
	for _, result := range []string{resultOK, resultError, resultPermanent} {
		m.uploads.WithLabelValues(result)
	}
	pending := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: ns, Name: "pending_recordings",
		Help: "Sealed recordings that are not delivered and verified.",
	}, func() float64 {
		n := 0
		for _, p := range u.Snapshot().Projects {
			n += p.Pending
		}
		return float64(n)
	})
	oldest := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: ns, Name: "oldest_pending_seconds",
		Help: "How long the recording that waits longest for its delivery has been sealed, 0 if none waits.",
	}, func() float64 {
		var d time.Duration
		for _, p := range u.Snapshot().Projects {
			d = max(d, time.Since(p.Oldest))
		}
		return d.Seconds()
	})
	if reg != nil {
		reg.MustRegister(m.uploads, m.bytes, pending, oldest)
	}
	return m
}
