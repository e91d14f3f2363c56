package recorder

import (
	"maps"
	"slices"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/filter"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/segment"
)

// maxHidden bounds the excluded participants whose return to the record can be stated at once.
const maxHidden = 2000

// Exclude replaces the identities that are excluded while the session runs. When it returns, also
// with an error, nothing of these participants is recorded any more: neither the packets that are
// being written to a full disk, nor further parts of their streams. It states in the record that
// participants left it or are back in it, and how many are excluded. An error means that it could
// not; the exclusion is in force all the same, and a repeated call states it.
func (r *Recorder) Exclude(identities []string) error {
	return r.changeFilter(func(f *filter.Filter) error {
		f.SetExcluded(identities)
		return nil
	})
}

// Select replaces the rules that apply beside those of the start, see [filter.Filter.SetRules].
// When it returns, nothing that they exclude is recorded any more. It states in the record the
// rules, and the participants who left the record or are back in it. An error means that the rules
// are malformed, and others stay in force, or that the record does not state them yet, and they are
// in force all the same.
func (r *Recorder) Select(rules textegress.SelectionRules) error {
	return r.changeFilter(func(f *filter.Filter) error { return f.SetRules(rules) })
}

// changeFilter changes the filter between two frames, and states the change.
func (r *Recorder) changeFilter(change func(*filter.Filter) error) error {
	r.mu.Lock()
	begun, connected := r.begun, r.connected
	r.mu.Unlock()
	r.rec.gate.Lock()
	defer r.rec.gate.Unlock()
	if err := change(r.rec.filter); err != nil {
		return err
	}
	if !begun { // Run states it, at the latest when it joins
		return nil
	}
	if err := r.rec.stateExclusions(time.Now(), connected); err != nil && !isFinal(err) {
		return err
	}
	return nil
}

// writeExclusions is stateExclusions for a caller that does not hold the gate.
func (r *record) writeExclusions(now time.Time, connected bool) error {
	r.gate.Lock()
	defer r.gate.Unlock()
	return r.stateExclusions(now, connected)
}

// stateExclusions writes what the record does not state yet: that excluded participants have left
// it and, if the recorder is connected, that others are back, and the rules. The caller holds gate.
func (r *record) stateExclusions(now time.Time, connected bool) error {
	leave, back := r.exclusionsToState(connected)
	for _, p := range leave {
		if err := r.event(now.UnixNano(), segment.Event{
			Kind: textegress.KindParticipantLeft, ParticipantSID: p.SID, Identity: p.Identity,
			Cause: segment.CauseExcluded,
		}); err != nil {
			return err
		}
		r.hide(p)
	}
	if err := r.writeRules(now.UnixNano()); err != nil {
		return err
	}
	for _, p := range back {
		if !r.filter.Participant(p.SID, p.Identity, p.Attributes) {
			continue
		}
		if err := r.event(now.UnixNano(),
			participantEvent(textegress.KindParticipantJoined, p)); err != nil {
			return err
		}
		r.unhide(p.SID)
	}
	return nil
}

// exclusionsToState returns the participants of whom the record says that they are there and who
// are excluded, and, if wanted, those who are there and not excluded any more.
func (r *record) exclusionsToState(wanted bool) (leave, back []room.Participant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, sid := range slices.Sorted(maps.Keys(r.state.present)) {
		if identity := r.state.present[sid]; r.filter.Excluded(identity) {
			p := room.Participant{SID: sid, Identity: identity}
			if who := r.state.people.by[identity]; who != nil {
				p.Name = who.name
			}
			leave = append(leave, p)
		}
	}
	if !wanted {
		return leave, nil
	}
	for _, sid := range slices.Sorted(maps.Keys(r.hidden)) {
		if p := r.hidden[sid]; !r.filter.Excluded(p.Identity) {
			back = append(back, p)
		}
	}
	return leave, back
}

// hide remembers an excluded participant who is in the room.
func (r *record) hide(p room.Participant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.hidden[p.SID]; !known && len(r.hidden) >= maxHidden {
		return
	}
	if r.hidden == nil {
		r.hidden = map[string]room.Participant{}
	}
	r.hidden[p.SID] = p
}

// unhide forgets an excluded participant, who has left the room or is in the record again.
func (r *record) unhide(sid string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.hidden, sid)
}

// unhideAll forgets all, because a new connection reports who is in the room.
func (r *record) unhideAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.hidden)
}
