package filter

import (
	"github.com/syncflow/textegress"
)

const (
	// ExcludeAttribute is the attribute of a participant who must not be recorded; its value is
	// then "true". It counts only under [textegress.SelectionRules.ExcludeByAttribute].
	ExcludeAttribute = "textegress.exclude"
	// Held is the verdict on a packet whose sender the server has not announced yet, so that it is
	// unknown whether the sender may be recorded. LiveKit announces participants up to 3 s after
	// their first packets. The caller keeps the packet and asks again.
	Held = "held"
	// maxLeft bounds the participants who left but remain in the roster, because their packets may
	// arrive later.
	maxLeft = 4096
)

// roster holds the attributes that the server reports for participants, for exclusion by attribute.
// Filter.mu guards it. Participant sids distinguish connections: a participant who joins again may
// have other attributes.
type roster struct {
	known map[string]*member // by participant sid
	// numbers of known connections by identity: those that are excluded, and the others
	excluded, allowed map[string]int
	left              []string // sids of participants who left; ring, oldest at next
	next              int
}

type member struct {
	identity string
	excluded bool
	left     bool
}

func newRoster() *roster {
	return &roster{
		known: map[string]*member{}, excluded: map[string]int{}, allowed: map[string]int{},
	}
}

func (r *roster) count(m *member, by int) {
	counts := r.allowed
	if m.excluded {
		counts = r.excluded
	}
	if counts[m.identity] += by; counts[m.identity] == 0 {
		delete(counts, m.identity)
	}
}

func (r *roster) set(sid string, m member) {
	if was := r.known[sid]; was != nil {
		r.count(was, -1)
		m.left = was.left
	}
	r.known[sid] = &m
	r.count(&m, 1)
}

func (r *roster) leave(sid string) {
	m := r.known[sid]
	if m == nil || m.left {
		return
	}
	m.left = true
	if len(r.left) < maxLeft {
		r.left = append(r.left, sid)
		return
	}
	if old := r.known[r.left[r.next]]; old != nil {
		r.count(old, -1)
		delete(r.known, r.left[r.next])
	}
	r.left[r.next] = sid
	r.next = (r.next + 1) % maxLeft
}

// verdict judges a packet by its participants: the sender and, in a transcription, the speaker. A
// packet without a sender comes from the server's API or a hidden participant, which have no
// attributes.
func (r *roster) verdict(p peeked) string {
	sender := ""
	switch m := r.known[string(p.sid)]; {
	case m != nil && m.excluded:
		return textegress.DroppedIdentity
	case m == nil && len(p.sid) > 0:
		sender = Held
	case m == nil:
		sender = r.byName(p.identity)
	}
	if inner := r.byName(p.inner); inner == textegress.DroppedIdentity || sender == "" {
		return inner
	}
	return sender
}

// byName judges an identity without a sid.
func (r *roster) byName(identity []byte) string {
	switch {
	case len(identity) == 0:
		return ""
	case r.excluded[string(identity)] > 0:
		return textegress.DroppedIdentity
	case r.allowed[string(identity)] > 0:
		return ""
	}
	return Held
}

// publisher judges the publisher of a data track.
func (r *roster) publisher(sid string) string {
	switch m := r.known[sid]; {
	case m == nil:
		return textegress.DroppedTrackUnknown
	case m.excluded:
		return textegress.DroppedIdentity
	}
	return ""
}

// Participant stores the server's report about a participant, and reports whether the participant
// may be recorded. A later report replaces an earlier one.
func (f *Filter) Participant(sid, identity string, attributes map[string]string) bool {
	if f == nil || f.roster == nil {
		return f.Identity(identity)
	}
	excluded := attributes[ExcludeAttribute] == "true"
	f.mu.Lock()
	f.roster.set(sid, member{identity: identity, excluded: excluded})
	f.mu.Unlock()
	return !excluded && f.Identity(identity)
}

// Allows is Identity, and also false for a participant who is excluded by attribute at present.
func (f *Filter) Allows(identity string) bool {
	if f == nil || !f.Identity(identity) || f.roster == nil {
		return f.Identity(identity)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.roster.excluded[identity] == 0
}

// ParticipantLeft records that a participant left. Packets that arrive later are judged as before.
func (f *Filter) ParticipantLeft(sid string) {
	if f == nil || f.roster == nil {
		return
	}
	f.mu.Lock()
	f.roster.leave(sid)
	f.mu.Unlock()
}

// Holds reports whether the verdict on a packet may be [Held].
func (f *Filter) Holds() bool { return f != nil && f.roster != nil }

// DropHeld counts a held packet whose sender the server did not announce in time.
func (f *Filter) DropHeld(size int) string {
	f.count(textegress.DroppedSenderUnknown, size)
	return textegress.DroppedSenderUnknown
}
