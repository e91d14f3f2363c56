package notify

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/internal/egressinfo"
	"github.com/syncflow/textegress/internal/spool"
)

const (
	// concurrency is the maximum number of simultaneous requests to one receiver, each for a
	// different recording. A failing receiver gets one at a time.
	concurrency = 4
	logEvery    = 10 * time.Minute // for a receiver that keeps failing
	// lastTry is how long an expired event may wait for its last attempt: earlier events may have
	// prevented every attempt. It bounds the number of events that wait for a receiver that is
	// gone.
	lastTry = time.Hour
)

// The pauses between attempts to send one event, and between requests to a failing receiver. The
// second is short, because one event that the receiver always rejects must not delay the others.
var (
	eventPauses    = backoff.Policy{First: time.Second, Max: 5 * time.Minute}
	receiverPauses = backoff.Policy{First: 500 * time.Millisecond, Max: 30 * time.Second}
)

// receiver is one URL to which events of one project are sent. Notifier.mu guards all fields but
// id, sinceNS and seenNS.
type receiver struct {
	id        string
	sinceNS   int64 // since when the settings name it; 0: unknown. Used by Run only.
	seenNS    int64 // when this process first found it there; 0: never. Used by Run only.
	projectID string
	linked    *link             // how to send; nil: currently not configured
	queues    map[string]*queue // by egress id

	// A receiver of messages has feeds by egress id, and the recordings that are settled. The
	// channels are semaphores: of requests, of requests while it fails, and of feeds of finished
	// recordings.
	feeds               map[string]*feed
	fed                 map[string]bool
	slots, probe, turns chan struct{}
	up                  chan struct{} // closed when it answers again after an outage; nil: unused

	running   int // requests in progress
	failures  int // in a row
	next      time.Time
	lastError string
	logged    time.Time
}

// link holds the current settings of a receiver.
type link struct {
	Subscription

	project   string
	requested bool // only a request to the API names it
	// messages is the receiver of messages with the same URL; nil: none.
	messages *receiver
}

// queue holds the events of one recording for one receiver. Notifier.mu guards its fields. Only the
// goroutine that has set busy may change pending[0] and verdict.
type queue struct {
	receiver *receiver
	egressID string
	done     step    // the last event that was accepted or given up
	pending  []entry // in order

	busy     bool
	verdict  string // suffix for pending[0] if it is settled but not marked yet
	tried    time.Time
	failures int // of pending[0], in a row
	next     time.Time
}

// entry is an event that waits in a queue.
type entry struct {
	step    step
	event   string
	created time.Time
}

func entryOf(s step, f eventFile) entry { return entry{s, f.Event, time.Unix(0, f.CreatedUnixNS)} }

func newReceiver(id string) *receiver {
	return &receiver{
		id: id, queues: map[string]*queue{}, feeds: map[string]*feed{}, fed: map[string]bool{},
		slots: make(chan struct{}, messageConcurrency), probe: make(chan struct{}, 1),
		turns: make(chan struct{}, messageConcurrency),
	}
}

func (r *receiver) queue(egressID string) *queue {
	q := r.queues[egressID]
	if q == nil {
		q = &queue{receiver: r, egressID: egressID}
		r.queues[egressID] = q
	}
	return q
}

// last returns the last step that was written.
func (q *queue) last() step {
	if len(q.pending) > 0 {
		return q.pending[len(q.pending)-1].step
	}
	return q.done
}

// expired reports whether an event has reached its maximum age.
func (e entry) expired(maxAge time.Duration) bool { return time.Since(e.created) >= maxAge }

func (l *link) maxAge() time.Duration {
	if l.MaxAge <= 0 {
		return DefaultMaxAge
	}
	return l.MaxAge
}

// dispatch starts the requests that are due. It returns how long to wait for the next one.
func (n *Notifier) dispatch(ctx context.Context, requests *sync.WaitGroup) time.Duration {
	wait := n.o.Rescan
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.receivers {
		for {
			q, pause := r.choose(time.Now())
			if q == nil {
				wait = min(wait, pause)
				break
			}
			q.busy, q.tried = true, time.Now()
			r.running++
			l := *r.linked
			requests.Go(func() {
				n.try(ctx, q, l)
				n.mu.Lock()
				q.busy = false
				r.running--
				n.mu.Unlock()
				signal(n.done)
			})
		}
	}
	return wait
}

// choose returns a queue whose first event is due, or how long to wait for one. The queue that was
// tried longest ago comes first.
func (r *receiver) choose(now time.Time) (*queue, time.Duration) {
	limit, wait := concurrency, time.Duration(1<<62)
	if r.failures > 0 {
		limit = 1
	}
	if r.linked == nil || r.running >= limit {
		return nil, wait
	}
	if pause := r.next.Sub(now); pause > 0 {
		return nil, pause
	}
	var found *queue
	for _, q := range r.queues {
		if len(q.pending) == 0 || q.busy || q.pending[0].step == stepEnded && q.feeding() {
			continue
		}
		if pause := q.next.Sub(now); pause > 0 {
			wait = min(wait, pause)
		} else if found == nil || q.before(found) {
			found = q
		}
	}
	return found, wait
}

func (q *queue) before(p *queue) bool {
	if !q.tried.Equal(p.tried) {
		return q.tried.Before(p.tried)
	}
	return q.pending[0].created.Before(p.pending[0].created)
}

// try makes one attempt to send the first event of a queue, and records the result.
func (n *Notifier) try(ctx context.Context, q *queue, l link) {
	n.mu.Lock()
	e, verdict := q.pending[0], q.verdict
	overdue := q.receiver.failures > 0 && e.expired(l.maxAge()+lastTry)
	n.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return
	case verdict != "":
		n.finish(q, verdict)
		return
	case overdue:
		n.giveUp(q, "its receiver has not accepted it in time")
		return
	}
	f, err := n.store.read(n.store.path(q.egressID, q.receiver.id, e.step, pendingSuffix))
	if damaged, ok := errors.AsType[*damagedError](err); ok {
		rec, exists := n.o.Spool.Recording(q.egressID)
		if !exists {
			n.giveUp(q, "its file is damaged, and its recording was removed")
			return
		}
		n.log.Error("an event for a webhook is damaged; it is made again", "egress_id",
			q.egressID, "error", damaged)
		f, err = n.remake(rec, q, e)
	}
	if err != nil {
		n.fail(q, l, err, 0)
		return
	}
	code, retryAfter, err := n.send(ctx, l, f.Body)
	switch {
	case err == nil:
		n.metrics.sent.Inc()
		n.log.Debug("event accepted", "egress_id", q.egressID, "event", e.event, "host",
			hostOf(l.URL))
		n.recovered(q.receiver)
		n.finish(q, sentSuffix)
	case code == statusGone:
		n.recovered(q.receiver)
		n.giveUp(q, "its receiver answered 410 Gone")
	default:
		n.fail(q, l, err, retryAfter)
		if e.expired(l.maxAge()) {
			n.giveUp(q, "its receiver has not accepted it in time")
		}
	}
}

// remake writes a damaged event again.
func (n *Notifier) remake(rec *spool.Recording, q *queue, e entry) (eventFile, error) {
	sid, _, err := egressinfo.Joined(rec)
	if err != nil {
		return eventFile{}, err
	}
	info, err := egressinfo.Of(rec, egressinfo.Live{RoomSID: sid})
	if err != nil {
		return eventFile{}, err
	}
	f, err := newEvent(rec.Info().ProjectID, e.step, e.step.description(info, sid))
	if err != nil {
		return eventFile{}, err
	}
	return n.store.put(n.store.path(q.egressID, q.receiver.id, e.step, pendingSuffix), f)
}

// outage is the number of consecutive failures after which a receiver counts as unavailable. A
// single event that always fails does not reach it while other events are accepted.
const outage = 3

// recovered records that the receiver answers. After an outage, everything that waits is due.
func (n *Notifier) recovered(r *receiver) {
	n.mu.Lock()
	failed := r.failures >= outage
	if failed {
		for _, other := range r.queues {
			other.next = time.Time{}
		}
		if r.up != nil {
			close(r.up)
			r.up = nil
		}
	}
	r.failures, r.next, r.lastError = 0, time.Time{}, ""
	host := ""
	if r.linked != nil {
		host = hostOf(r.linked.URL)
	}
	n.mu.Unlock()
	if failed {
		n.log.Info("a webhook accepts requests again", "host", host)
	}
}

// fail schedules the next attempt.
func (n *Notifier) fail(q *queue, l link, err error, retryAfter time.Duration) {
	n.metrics.failed.Inc()
	text := errorText(err, l.URL)
	report, failures := n.failed(q.receiver, text, retryAfter)
	n.mu.Lock()
	q.failures++
	now := time.Now()
	pause := max(eventPauses.Delay(q.failures), retryAfter)
	q.next = now.Add(pause)
	if last := q.pending[0].created.Add(l.maxAge()); last.After(now) && last.Before(q.next) {
		q.next = last
	}
	event := q.pending[0].event
	n.mu.Unlock()
	if report {
		n.log.Warn("a webhook has not accepted an event", "host", hostOf(l.URL), "egress_id",
			q.egressID, "event", event, "error", text, "failures", failures, "next_attempt_in",
			pause)
	}
}

// failed records that a request to a receiver has failed. It reports whether the error is to be
// logged, and the number of failures in a row.
func (n *Notifier) failed(r *receiver, text string, retryAfter time.Duration) (bool, int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r.failures++
	now := time.Now()
	r.next = now.Add(max(receiverPauses.Delay(r.failures), retryAfter))
	report := text != r.lastError || now.Sub(r.logged) >= logEvery
	if r.lastError = text; report {
		r.logged = now
	}
	return report, r.failures
}

// giveUp stops the attempts to send the first event of a queue, which the caller has made busy. It
// reports whether the decision is durable.
func (n *Notifier) giveUp(q *queue, why string) bool {
	n.mu.Lock()
	e, host := q.pending[0], ""
	if q.receiver.linked != nil {
		host = hostOf(q.receiver.linked.URL)
	}
	n.mu.Unlock()
	if !n.finish(q, givenUpSuffix) {
		return false
	}
	n.metrics.givenUp.Inc()
	n.log.Error("an event for a webhook is given up", "reason", why, "egress_id", q.egressID,
		"event", e.event, "host", host, "age", time.Since(e.created).Round(time.Second))
	return true
}

// finish marks the first event of a queue, which the caller has made busy. It reports whether the
// mark is durable; otherwise the mark is retried, without another request.
func (n *Notifier) finish(q *queue, suffix string) bool {
	n.mu.Lock()
	e := q.pending[0]
	n.mu.Unlock()
	err := n.store.finish(q.egressID, q.receiver.id, e.step, suffix)
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		q.verdict = suffix
		q.failures++
		q.next = time.Now().Add(eventPauses.Delay(q.failures))
		n.log.Error("cannot note that an event for a webhook is settled; trying again", "egress_id",
			q.egressID, "event", e.event, "error", err)
		return false
	}
	q.done, q.pending, q.verdict = e.step, q.pending[1:], ""
	q.failures, q.next = 0, time.Time{}
	return true
}
