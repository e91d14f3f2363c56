package notify

import (
	"fmt"
	"time"

	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/spool"
)

// markWaiting records that lines wait for the receiver.
func (n *Notifier) markWaiting(f *feed) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if f.waiting.IsZero() {
		f.waiting = time.Now()
	}
}

// markAccepted records that the receiver has everything up to the cursor.
func (n *Notifier) markAccepted(f *feed) {
	more := f.head != nil || f.reader.Ready() > f.cursor.N
	n.mu.Lock()
	defer n.mu.Unlock()
	f.lastError = ""
	if f.waiting = (time.Time{}); more {
		f.waiting = time.Now()
	}
}

// failRead records that the lines of a recording cannot be read now, and returns how long to wait.
func (n *Notifier) failRead(f *feed, err error) time.Duration {
	f.failures++
	n.markWaiting(f)
	n.logFeed(f, "read the messages of a recording", err)
	return eventPauses.Delay(f.failures)
}

// failBatch records that a receiver has not accepted a batch, and returns how long to wait.
func (n *Notifier) failBatch(f *feed, l link, err error, retryAfter time.Duration) time.Duration {
	n.metrics.batchesFailed.Inc()
	f.failures++
	text := errorText(err, l.URL)
	report, failures := n.failed(f.receiver, text, retryAfter)
	pause := max(eventPauses.Delay(f.failures), retryAfter)
	if report {
		n.log.Warn("a webhook has not accepted messages", "host", hostOf(l.URL), "egress_id",
			f.egressID, "error", text, "failures", failures, "next_attempt_in", pause)
	}
	return pause
}

// logFeed logs an error of this machine, the same one every ten minutes at most. doing says what
// failed.
func (n *Notifier) logFeed(f *feed, doing string, err error) {
	n.mu.Lock()
	text, now := err.Error(), time.Now()
	report := text != f.lastError || now.Sub(f.logged) >= logEvery
	if f.lastError = text; report {
		f.logged = now
	}
	n.mu.Unlock()
	if report {
		n.log.Warn("messages for a webhook wait because of this machine; trying again",
			"egress_id", f.egressID, "error", fmt.Errorf("%s: %w", doing, err))
	}
}

// reportGivenUp reports that the rest of a recording is not sent.
func (n *Notifier) reportGivenUp(f *feed, why string) {
	n.mu.Lock()
	host := ""
	if f.receiver.linked != nil {
		host = hostOf(f.receiver.linked.URL)
	}
	n.mu.Unlock()
	n.metrics.messagesGivenUp.Inc()
	n.log.Error("the remaining messages of a recording are given up for a webhook", "reason", why,
		"egress_id", f.egressID, "host", host, "accepted_up_to_n", f.cursor.SentN)
}

// updateFeeds creates the feeds of a recording. It reports whether all are there.
func (n *Notifier) updateFeeds(rec *spool.Recording, known *recording, s *settings) bool {
	info := rec.Info()
	for _, t := range s.messages {
		n.mu.Lock()
		there := t.feeds[info.EgressID] != nil || t.fed[info.EgressID]
		n.mu.Unlock()
		if there {
			continue
		}
		if state := rec.State(); state == spool.StateUploaded || state == spool.StateRemoved {
			if known.uploadedNS == 0 {
				up, ok, err := delivery.LoadUploaded(rec)
				if err != nil || !ok {
					return false
				}
				known.uploadedNS = up.UploadedUnixNS
			}
			if known.uploadedNS < t.sinceNS {
				continue // it was not subscribed then
			}
		}
		f := newFeed(t.receiver, info.EgressID, cursor{
			FormatVersion: formatVersion, EgressID: info.EgressID, ProjectID: info.ProjectID,
		})
		f.saved = cursor{}
		// From now on the recording is owed to the receiver, whatever becomes of the settings.
		n.save(f)
		n.mu.Lock()
		t.feeds[info.EgressID] = f
		n.mu.Unlock()
	}
	return !s.failed
}

// HoldsData reports whether the local data of a delivered recording is still needed, because a
// receiver has not accepted its messages. That ends with the receiver's MaxAge, and when the disk
// runs low: recordings come first.
func (n *Notifier) HoldsData(rec *spool.Recording) bool {
	if n.o.Spool.Disk().Low {
		return false
	}
	info := rec.Info()
	project, configured := n.o.Projects()[info.ProjectID]
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.receivers {
		if r.feeds[info.EgressID] == nil {
			continue
		}
		maxAge := DefaultMaxAge
		if r.linked != nil {
			maxAge = r.linked.maxAge()
		} else if configured {
			continue // the settings no longer name it
		}
		if !n.expired(rec, maxAge+lastTry) {
			return true
		}
	}
	if !configured || !project.wantsMessages() {
		return false
	}
	known := n.recordings[info.EgressID]
	return !n.scanned || known == nil || !known.fed
}

// wantsMessages reports whether a receiver in the settings of a project gets messages.
func (p Project) wantsMessages() bool {
	for _, s := range p.Subscriptions {
		if s.wants(EventMessage) {
			return true
		}
	}
	return false
}

// feeding reports whether messages of a recording still have to be sent to the receiver of a queue,
// before the event of the end. Notifier.mu is held.
func (q *queue) feeding() bool {
	l := q.receiver.linked
	return l != nil && l.messages != nil && l.messages.linked != nil &&
		l.messages.feeds[q.egressID] != nil
}

// loadFeeds reads the cursors of earlier processes.
func (n *Notifier) loadFeeds(receivers map[string]*receiver) error {
	c := n.store.cursors()
	if err := c.open(); err != nil {
		return err
	}
	entries, err := c.fs.ReadDir("load", c.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		egressID, id, suffix, ok := parseCursorName(e.Name())
		if !ok {
			continue
		}
		r := receivers[id]
		if r == nil {
			r = newReceiver(id)
			receivers[id] = r
		}
		if suffix != pendingSuffix {
			r.fed[egressID] = true
			delete(r.feeds, egressID)
			continue
		}
		if r.fed[egressID] {
			continue
		}
		f, err := c.read(c.path(egressID, id, suffix))
		if isDamaged(err) {
			n.log.Error("what a webhook has accepted of a recording cannot be read; it is sent "+
				"again", "egress_id", egressID, "error", err)
			f, err = cursor{FormatVersion: formatVersion, EgressID: egressID}, nil
			if rec, ok := n.o.Spool.Recording(egressID); ok {
				f.ProjectID = rec.Info().ProjectID
			}
		}
		if err != nil {
			return err
		}
		r.projectID = f.ProjectID
		r.feeds[egressID] = newFeed(r, egressID, f)
	}
	return nil
}
