package notify

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	sent, failed, givenUp prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, n *Notifier) *metrics {
	auto := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return auto.NewCounter(prometheus.CounterOpts{
			Namespace: "livekit_data_egress", Name: name, Help: help,
		})
	}
	m := &metrics{
		sent:   counter("webhooks_sent_total", "Events that a receiver has accepted."),
		failed: counter("webhooks_failed_total", "Attempts to send an event that failed."),
		givenUp: counter("webhooks_given_up_total",
			"Events that were given up: too old, refused for good, or without a receiver."),
	}
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "livekit_data_egress", Name: "webhooks_pending",
		Help: "Events that wait for their receivers.",
	}, func() float64 { return float64(n.Pending()) })
	return m
}

// Pending returns the number of events that their receivers have not accepted yet.
func (n *Notifier) Pending() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	count := 0
	for _, r := range n.receivers {
		for _, q := range r.queues {
			count += len(q.pending)
		}
	}
	return count
}

// LateAfter is how long an event may wait before [Notifier.NotReady] reports it.
const LateAfter = 10 * time.Minute

// NotReady returns a message to the operator for each receiver with events that have waited longer
// than [LateAfter]. It names the project and the host.
func (n *Notifier) NotReady() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []string
	for _, r := range n.receivers {
		count, oldest := 0, time.Now()
		for _, q := range r.queues {
			if len(q.pending) > 0 {
				count += len(q.pending)
				if q.pending[0].created.Before(oldest) {
					oldest = q.pending[0].created
				}
			}
		}
		if count == 0 || time.Since(oldest) <= LateAfter {
			continue
		}
		project, host, why := "project "+r.projectID, "a receiver that is not configured",
			"the settings of the project are missing or invalid"
		if l := r.linked; l != nil {
			project, host = cmp.Or(l.project, project), hostOf(l.URL)
			why = cmp.Or(r.lastError, "they are being sent")
		}
		out = append(out, fmt.Sprintf("%s: %d events wait for the webhook at %s, the oldest since "+
			"%s: %s", project, count, host, oldest.UTC().Format(time.RFC3339), why))
	}
	slices.Sort(out)
	return out
}
