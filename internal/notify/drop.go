package notify

import (
	"maps"
	"slices"
)

// dropReceivers removes receivers that the settings no longer name, and gives up the events of
// receivers that no setting or request names. Events of a project that is not configured wait up to
// their age limit: its settings may be temporarily invalid.
func (n *Notifier) dropReceivers(now *round) {
	for id, projectID := range maps.Clone(n.known) {
		s := n.settings(now, projectID)
		is := func(t target) bool { return t.id == id }
		named := slices.ContainsFunc(s.targets, is) || slices.ContainsFunc(s.messages, is)
		if !s.configured || s.failed || named {
			continue
		}
		if err := n.store.removeReceiver(id); err != nil {
			n.log.Error("cannot forget a webhook that is no longer configured", "error", err)
			continue
		}
		delete(n.known, id)
		r := n.receiver(id, projectID)
		r.sinceNS, r.seenNS = 0, 0
	}
	var unlinked []*queue
	n.mu.Lock()
	for _, r := range n.receivers {
		if r.linked = now.links[r]; r.linked != nil {
			continue
		}
		for _, q := range r.queues {
			if len(q.pending) > 0 && !q.busy {
				q.busy = true
				unlinked = append(unlinked, q)
			}
		}
	}
	n.mu.Unlock()
	for _, q := range unlinked {
		s := n.settings(now, q.receiver.projectID)
		for len(q.pending) > 0 &&
			(s.configured && !s.failed || q.pending[0].expired(DefaultMaxAge)) {
			if !n.giveUp(q, "its receiver is no longer configured") {
				break
			}
		}
		n.mu.Lock()
		q.busy = false
		n.mu.Unlock()
	}
}

// dropRecordings removes the recordings that no longer exist in the spool, and their events.
func (n *Notifier) dropRecordings(present map[string]bool) {
	type mark struct {
		receiver *receiver
		egressID string
	}
	var gone, fed []mark
	n.mu.Lock()
	maps.DeleteFunc(n.recordings, func(id string, _ *recording) bool { return !present[id] })
	for _, r := range n.receivers {
		for id, q := range r.queues {
			if !present[id] && len(q.pending) == 0 {
				gone = append(gone, mark{r, id})
			}
		}
		for id, f := range r.feeds {
			switch {
			case present[id]:
			case f.stop != nil:
				f.stop() // the next scan removes it
			default:
				fed = append(fed, mark{r, id})
			}
		}
		for id := range r.fed {
			if !present[id] {
				fed = append(fed, mark{r, id})
			}
		}
	}
	n.mu.Unlock()
	for _, m := range fed {
		if err := n.store.cursors().remove(m.egressID, m.receiver.id); err != nil {
			n.log.Warn("cannot remove the mark of messages", "egress_id", m.egressID, "error", err)
			continue
		}
		n.mu.Lock()
		delete(m.receiver.feeds, m.egressID)
		delete(m.receiver.fed, m.egressID)
		n.mu.Unlock()
	}
	for _, m := range gone {
		if err := n.store.removeMarks(m.egressID, m.receiver.id, stepEnded); err != nil {
			n.log.Warn("cannot remove the mark of an event", "egress_id", m.egressID, "error", err)
			continue
		}
		n.mu.Lock()
		delete(m.receiver.queues, m.egressID)
		n.mu.Unlock()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.DeleteFunc(n.receivers, func(_ string, r *receiver) bool {
		return len(r.queues) == 0 && len(r.feeds) == 0 && len(r.fed) == 0 && r.linked == nil &&
			r.sinceNS == 0 && r.seenNS == 0
	})
}
