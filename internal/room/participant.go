package room

import (
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/livekit/protocol/livekit"
)

// Participant is somebody else in the room, as the server described them. The server does
// not announce hidden participants.
type Participant struct {
	SID, Identity, Name, Metadata string
	// livekit.ParticipantInfo_Kind: "STANDARD", "AGENT", "SIP", …
	Kind       string
	Attributes map[string]string
	JoinedAt   time.Time // the server's clock, milliseconds
}

// EventType is the kind of an Event.
type EventType uint8

// The types of events.
const (
	ParticipantJoined EventType = iota + 1 // Participant came after us
	// Participant has left; without metadata and attributes if the server did not say so itself
	ParticipantLeft
	// name, metadata, attributes or kind of Participant changed
	ParticipantUpdated
	RoomUpdated // RoomSID, RoomMetadata changed
	SignalLost  // the websocket is lost; packets still come
	// the websocket is there again; participants who came and went meanwhile are not known
	SignalResumed
	ClockMeasured // ClockOffset was measured (once per websocket)
	// frames with Track.Handle are those of Track; again when its name becomes known
	DataTrackSubscribed
)

// String returns the name of the type, in snake case.
func (t EventType) String() string {
	return map[EventType]string{
		ParticipantJoined: "participant_joined", ParticipantLeft: "participant_left",
		ParticipantUpdated: "participant_updated",
		RoomUpdated:        "room_updated", SignalLost: "signal_lost",
		SignalResumed:       "signal_resumed",
		ClockMeasured:       "clock_measured",
		DataTrackSubscribed: "data_track_subscribed",
	}[t]
}

// Event is something that happened in the room besides packets. Only the fields of its type are
// set, and ClockOffset always once it is known: the server's clock minus ours, as measured over the
// websocket, so no better than half its round trip.
type Event struct {
	Type         EventType
	At           time.Time // reception
	Participant  Participant
	Track        Track
	RoomSID      string
	RoomMetadata string
	ClockOffset  time.Duration
}

func participantOf(p *livekit.ParticipantInfo) Participant {
	joined := time.Time{}
	switch {
	case p.GetJoinedAtMs() != 0:
		joined = time.UnixMilli(p.GetJoinedAtMs())
	case p.GetJoinedAt() != 0:
		joined = time.Unix(p.GetJoinedAt(), 0)
	}
	return Participant{
		SID: p.GetSid(), Identity: p.GetIdentity(), Name: p.GetName(), Metadata: p.GetMetadata(),
		Kind: p.GetKind().String(), Attributes: p.GetAttributes(), JoinedAt: joined,
	}
}

// roster keeps who is in the room and turns the server's updates into events. It belongs to the
// goroutine that reads the signals. Updates of participants who publish no media come in batches,
// up to three seconds late (livekit-server, subscriberUpdateInterval): a participant's packets may
// come before, and one who was there for a shorter time is only announced as gone.
type roster struct {
	own     string // our sid: we are in the updates too
	members map[string]member
	gone    map[string]bool // sids that were reported as left, lately
	full    bool            // the next update that contains us lists everybody
}

// maxMembers is more than LiveKit has in a room. Others are ignored.
const maxMembers = 20_000

// member is what is kept of a participant: not the metadata and attributes, which may be 64 kB
// each, only whether they changed.
type member struct {
	sid, identity, name, kind string
	joined                    time.Time
	version                   uint32
	rest                      uint64 // hash of metadata and attributes
}

var seed = maphash.MakeSeed()

func memberOf(p Participant, version uint32) member {
	var h maphash.Hash
	h.SetSeed(seed)
	maphash.WriteComparable(&h, p.Metadata)
	for _, k := range slices.Sorted(maps.Keys(p.Attributes)) {
		maphash.WriteComparable(&h, k)
		maphash.WriteComparable(&h, p.Attributes[k])
	}
	// Cloned: a string of a protobuf message may keep all of it.
	return member{
		sid: strings.Clone(p.SID), identity: strings.Clone(p.Identity), name: strings.Clone(p.Name),
		kind:   p.Kind,
		joined: p.JoinedAt, version: version, rest: h.Sum64(),
	}
}

// same reports whether a participant has changed, apart from the version.
func (m member) same(o member) bool {
	o.version, o.joined = m.version, m.joined
	return m == o
}

func newRoster(own string, others []*livekit.ParticipantInfo) *roster {
	r := &roster{own: own, members: map[string]member{}, gone: map[string]bool{}}
	for _, p := range others {
		if len(r.members) < maxMembers {
			m := memberOf(participantOf(p), p.GetVersion())
			r.members[m.sid] = m
		}
	}
	return r
}

// update takes a ParticipantUpdate.
func (r *roster) update(infos []*livekit.ParticipantInfo) []Event {
	var events []Event
	present := make(map[string]bool, len(infos))
	for _, p := range infos {
		present[p.GetSid()] = true
		if p.GetSid() != r.own && p.GetSid() != "" {
			events = append(events, r.one(p)...)
		}
	}
	if r.full && present[r.own] {
		r.full = false
		for sid := range r.members {
			if !present[sid] {
				events = append(events, r.leave(sid))
			}
		}
	}
	return events
}

func (r *roster) one(p *livekit.ParticipantInfo) []Event {
	sid, now := p.GetSid(), participantOf(p)
	old, known := r.members[sid]
	over := p.GetState() == livekit.ParticipantInfo_DISCONNECTED
	switch {
	case known && over:
		r.leave(sid)
		return []Event{{Type: ParticipantLeft, Participant: now}}
	case known && p.GetVersion() < old.version: // overtaken by a newer one
		return nil
	case known:
		m := memberOf(now, p.GetVersion())
		r.members[old.sid] = m
		if m.same(old) {
			return nil
		}
		return []Event{{Type: ParticipantUpdated, Participant: now}}
	case r.gone[sid]:
		return nil
	case len(r.members) >= maxMembers:
		return nil
	}
	var events []Event
	// The server does not announce the end of a session whose identity came back in a new one
	// (SupportsIdentityBasedReconnection).
	for other, m := range r.members {
		if m.identity == now.Identity && !m.joined.After(now.JoinedAt) {
			events = append(events, r.leave(other))
		}
	}
	m := memberOf(now, p.GetVersion())
	r.members[m.sid] = m
	events = append(events, Event{Type: ParticipantJoined, Participant: now})
	if over {
		events = append(events, r.leave(sid))
	}
	return events
}

func (r *roster) leave(sid string) Event {
	m := r.members[sid]
	delete(r.members, sid)
	if len(r.gone) >= 1000 {
		clear(r.gone)
	}
	r.gone[m.sid] = true
	return Event{Type: ParticipantLeft, Participant: Participant{
		SID: m.sid, Identity: m.identity,
		Name: m.name, Kind: m.kind, JoinedAt: m.joined,
	}}
}
