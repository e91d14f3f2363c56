package notify

import (
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/syncflow/textegress/internal/delivery"
	"github.com/syncflow/textegress/internal/egressinfo"
	"github.com/syncflow/textegress/internal/spool"
)

// load reads the events of earlier processes. It reports whether that succeeded.
func (n *Notifier) load() bool {
	err := n.readStore()
	if err != nil {
		n.log.Error("cannot read the events for webhooks; trying again", "error", err)
	}
	return err == nil
}

func (n *Notifier) readStore() error {
	if err := n.store.open(); err != nil {
		return err
	}
	known, err := n.store.receivers()
	if err != nil {
		return err
	}
	entries, err := n.store.fs.ReadDir("load", n.store.dir)
	if err != nil {
		return err
	}
	receivers, marks := map[string]*receiver{}, map[*queue]int{}
	for _, e := range entries {
		egressID, id, s, suffix, ok := parseName(e.Name())
		if !ok {
			continue
		}
		r := receivers[id]
		if r == nil {
			r = newReceiver(id)
			receivers[id] = r
		}
		q := r.queue(egressID)
		if suffix != pendingSuffix {
			q.done = max(q.done, s)
			marks[q]++
			continue
		}
		f, err := n.store.read(n.store.path(egressID, id, s, suffix))
		if _, damaged := errors.AsType[*damagedError](err); damaged {
			// It is created again before it is sent.
			f, err = eventFile{Event: s.event(), CreatedUnixNS: time.Now().UnixNano()}, nil
		}
		if err != nil {
			return err
		}
		if f.ProjectID != "" {
			r.projectID = f.ProjectID
		}
		q.pending = append(q.pending, entryOf(s, f))
	}
	for q, count := range marks {
		if count == 1 {
			continue
		}
		// A process died before it removed the mark of the previous step.
		if err := n.store.removeMarks(q.egressID, q.receiver.id, q.done-1); err != nil {
			return err
		}
	}
	for _, r := range receivers {
		for _, q := range r.queues {
			slices.SortFunc(q.pending, func(a, b entry) int { return int(a.step - b.step) })
			q.pending = slices.DeleteFunc(q.pending, func(e entry) bool { return e.step <= q.done })
		}
	}
	if err := n.loadFeeds(receivers); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known, n.receivers = known, receivers
	return nil
}

// target is a receiver of the events of one recording.
type target struct {
	*receiver
	Subscription

	sinceNS int64
}

// settings are the receivers of one project at the time of a scan.
type settings struct {
	Project

	configured bool
	failed     bool // a receiver could not be stored on disk
	targets    []target
	messages   []target // the receivers of messages
}

// messagesTo returns the receiver of messages with a URL, nil if there is none.
func (s *settings) messagesTo(url string) *receiver {
	for _, t := range s.messages {
		if t.URL == url {
			return t.receiver
		}
	}
	return nil
}

// scan compares the recordings with the events and writes the events that are due. It returns the
// time until the next scan.
func (n *Notifier) scan() time.Duration {
	recordings := n.o.Spool.Recordings()
	now := &round{n.o.Projects(), map[string]*settings{}, map[*receiver]*link{}}
	for id := range now.configured {
		n.settings(now, id)
	}
	present := make(map[string]bool, len(recordings))
	again := n.o.Rescan
	for _, rec := range recordings {
		present[rec.ID()] = true
		known := n.recordings[rec.ID()]
		if known == nil {
			known = &recording{}
			n.mu.Lock()
			n.recordings[rec.ID()] = known
			n.mu.Unlock()
		}
		s := n.settings(now, rec.Info().ProjectID)
		fed := n.updateFeeds(rec, known, s)
		n.mu.Lock()
		known.fed = fed
		n.mu.Unlock()
		targets := n.targets(now, rec, s)
		if known.finished || len(targets) == 0 {
			continue
		}
		finished, err := n.update(rec, known, targets)
		if err != nil {
			n.log.Error("events of a recording for webhooks are not written yet", "egress_id",
				rec.ID(), "error", err)
		}
		if finished && err == nil && !s.failed {
			n.mu.Lock()
			known.finished = true
			n.mu.Unlock()
		}
		if rec.State() == spool.StateOpen && !known.joined {
			again = min(again, joinPoll)
		}
	}
	n.dropReceivers(now)
	n.dropRecordings(present)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.scanned = true
	return again
}

// round is the state of one scan.
type round struct {
	configured map[string]Project
	projects   map[string]*settings
	links      map[*receiver]*link
}

// settings returns the receivers in the settings of a project, and links them.
func (n *Notifier) settings(now *round, projectID string) *settings {
	if s := now.projects[projectID]; s != nil {
		return s
	}
	s := &settings{}
	now.projects[projectID] = s
	if s.Project, s.configured = now.configured[projectID]; !s.configured {
		return s
	}
	for _, sub := range s.Subscriptions {
		if sub.wants(EventMessage) && n.o.Lines != nil {
			n.subscribe(now, s, &s.messages, messagesID(projectID, sub.URL), projectID, sub)
		}
	}
	for _, sub := range s.Subscriptions {
		if sub.wantsEvents() {
			n.subscribe(now, s, &s.targets, receiverID(projectID, sub.URL), projectID, sub)
		}
	}
	return s
}

// subscribe adds a receiver to a list, and links it.
func (n *Notifier) subscribe(now *round, s *settings, list *[]target, id, projectID string,
	sub Subscription,
) {
	if slices.ContainsFunc(*list, func(t target) bool { return t.id == id }) {
		return // a repeated URL
	}
	r := n.receiver(id, projectID)
	if r.sinceNS == 0 {
		if r.seenNS == 0 {
			r.seenNS = time.Now().UnixNano()
		}
		since, err := n.store.since(id, projectID, hostOf(sub.URL), r.seenNS)
		if err != nil {
			s.failed = true
			n.log.Error("a webhook gets no events yet", "host", hostOf(sub.URL), "error", err)
			return
		}
		r.sinceNS, n.known[id] = since, projectID
	}
	*list = append(*list, target{r, sub, r.sinceNS})
	now.links[r] = &link{sub, s.Name, false, s.messagesTo(sub.URL)}
}

func (n *Notifier) receiver(id, projectID string) *receiver {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.receivers[id]
	if r == nil {
		r = newReceiver(id)
		n.receivers[id] = r
	}
	r.projectID = projectID
	return r
}

// requested returns the receivers that a request to the API has named for a recording.
func requested(info spool.Info) []string { return info.Webhooks }

// targets returns the receivers of a recording, and links those that only a request names.
func (n *Notifier) targets(now *round, rec *spool.Recording, s *settings) []target {
	list := slices.Clone(s.targets)
	if !s.configured {
		return nil
	}
	for _, url := range requested(rec.Info()) {
		id := receiverID(rec.Info().ProjectID, url)
		if i := slices.IndexFunc(list, func(t target) bool { return t.id == id }); i >= 0 {
			list[i].sinceNS = 0
			continue
		}
		r := n.receiver(id, rec.Info().ProjectID)
		sub := Subscription{URL: url, Key: s.Key}
		if now.links[r] == nil {
			now.links[r] = &link{sub, s.Name, true, s.messagesTo(url)}
		}
		list = append(list, target{r, sub, 0})
	}
	return list
}

// update writes the events of one recording that are due. It reports whether no further event can
// become due.
func (n *Notifier) update(rec *spool.Recording, known *recording, targets []target) (bool, error) {
	state := rec.State() // first: files that are read later are at least as new
	delivered := state == spool.StateUploaded || state == spool.StateRemoved
	if delivered {
		up, ok, err := delivery.LoadUploaded(rec)
		if err != nil || !ok {
			return false, err
		}
		targets = slices.DeleteFunc(targets, func(t target) bool {
			return up.UploadedUnixNS < t.sinceNS // it was not subscribed then
		})
	}
	if len(targets) == 0 {
		return delivered, nil
	}
	if err := known.join(rec, delivered); err != nil {
		return false, err
	}
	info, err := egressinfo.Of(rec, egressinfo.Live{RoomSID: known.roomSID})
	if err != nil {
		return false, err
	}
	var errs []error
	for _, t := range targets {
		for s := stepStarting; s <= stepEnded; s++ {
			due := s == stepStarting || s == stepActive && known.joined ||
				s == stepEnding && state != spool.StateOpen || s == stepEnded && delivered
			if !due || !t.wants(s.event()) || n.written(t.receiver, rec.ID(), s) {
				continue
			}
			f, err := newEvent(rec.Info().ProjectID, s, s.description(info, known.roomSID))
			if err == nil {
				f, err = n.store.put(n.store.path(rec.ID(), t.id, s, pendingSuffix), f)
			}
			if err != nil {
				errs = append(errs, err)
				break // later events must not precede this one
			}
			n.mu.Lock()
			q := t.queue(rec.ID())
			q.pending = append(q.pending, entryOf(s, f))
			n.mu.Unlock()
		}
	}
	return delivered, errors.Join(errs...)
}

// written reports whether an event or a later one has been written.
func (n *Notifier) written(r *receiver, egressID string, s step) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return s <= r.queue(egressID).last()
}

// join reads whether the recorder has joined the room.
func (k *recording) join(rec *spool.Recording, delivered bool) error {
	if k.joined {
		return nil
	}
	sid, joined, err := egressinfo.Joined(rec)
	switch {
	case err == nil:
		k.roomSID, k.joined = sid, joined
	case delivered && errors.Is(err, fs.ErrNotExist):
		return err // the local data is being removed
	case delivered:
		k.joined = true // delivery has read the recording; nearly all recorders joined
	default:
		return err
	}
	return nil
}
