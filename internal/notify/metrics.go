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
	sent, failed, givenUp                             prometheus.Counter
	batches, batchesFailed, messages, messagesGivenUp prometheus.Counter
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
		batches: counter("webhooks_batches_sent_total",
			"Batches of messages that a receiver has accepted."),
		batchesFailed: counter("webhooks_batches_failed_total",
			"Attempts to send a batch of messages that failed."),
		messages: counter("webhooks_messages_sent_total",
			"Lines of recordings that a receiver has accepted."),
		messagesGivenUp: counter("webhooks_messages_given_up_total",
			"Recordings whose remaining messages were given up for a receiver."),
	}
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "livekit_data_egress", Name: "webhooks_messages_pending",
		Help: "Recordings with messages that wait for a receiver.",
	}, func() float64 { return float64(n.waitingFeeds()) })
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

// waitingFeeds returns the number of recordings with messages that wait for a receiver.
func (n *Notifier) waitingFeeds() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	count := 0
	for _, r := range n.receivers {
		for _, f := range r.feeds {
			if !f.waiting.IsZero() {
				count++
			}
		}
	}
	return count
}

// LateAfter is how long an event or a message may wait before [Notifier.NotReady] reports it.
const LateAfter = 10 * time.Minute

// NotReady returns a message to the operator for each receiver with events that have waited longer
// than [LateAfter]. It names the project and the host.
func (n *Notifier) NotReady() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []string
	for _, r := range n.receivers {
		count, oldest := 0, time.Now()
		what := "%d events wait"
		why := ""
		for _, q := range r.queues {
			if len(q.pending) > 0 {
				count += len(q.pending)
				if q.pending[0].created.Before(oldest) {
					oldest = q.pending[0].created
				}
			}
		}
		for _, f := range r.feeds {
			if !f.waiting.IsZero() {
				what = "messages of %d recordings wait"
				count++
				if f.waiting.Before(oldest) {
					oldest, why = f.waiting, f.lastError
				}
			}
		}
		if count == 0 || time.Since(oldest) <= LateAfter {
			continue
		}
		project, host := "project "+r.projectID, "a receiver that is not configured"
		if l := r.linked; l != nil {
			project, host = cmp.Or(l.project, project), hostOf(l.URL)
			why = cmp.Or(r.lastError, why, "they are being sent")
		} else {
			why = "the settings of the project are missing or invalid"
		}
		out = append(out, fmt.Sprintf("%s: "+what+" for the webhook at %s, the oldest since "+
			"%s: %s", project, count, host, oldest.UTC().Format(time.RFC3339), why))
	}
	slices.Sort(out)
	return out
}
