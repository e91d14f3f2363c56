package room

import (
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/livekit/protocol/livekit"
)

// Participant is another participant in the room, as described by the server. The server does not
// announce hidden participants.
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
	ParticipantJoined EventType = iota + 1 // Participant joined after us
	// Participant has left; without metadata and attributes if the server did not report it
	ParticipantLeft
	// name, metadata, attributes or kind of Participant changed
	ParticipantUpdated
	RoomUpdated // RoomSID, RoomMetadata changed
	SignalLost  // the websocket is lost; packets still arrive
	// the websocket has been resumed; participants who joined and left meanwhile are unknown
	SignalResumed
	ClockMeasured // ClockOffset was measured (once per websocket)
	// frames with Track.Handle belong to Track; sent again when the name becomes known
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

// Event is an event in the room other than a packet. Only the fields of its type are set, and
// additionally ClockOffset once it is known: the server's clock minus ours. It is measured over the
// websocket, so its precision is no better than half the round trip.
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

// roster keeps the participants in the room and converts the server's updates to events. It belongs
// to the goroutine readSignals. Updates of participants who publish no media arrive in batches, up
// to three seconds late (livekit-server, subscriberUpdateInterval). A participant's packets may
// therefore arrive first, and a participant who stayed for a shorter time is announced only as
// disconnected.
type roster struct {
	own     string // our sid; the updates include us
	members map[string]member
	gone    map[string]bool // sids recently reported as left
	full    bool            // the next update that includes us lists all participants
}

// maxMembers is more than the participants of any LiveKit room. Further participants are ignored.
const maxMembers = 20_000

// member is the stored description of a participant. Instead of the metadata and attributes, which
// may be 64 kB each, it contains a hash to detect changes.
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
	// The strings are cloned because a string of a protobuf message may keep the whole message in
	// memory.
	return member{
		sid: strings.Clone(p.SID), identity: strings.Clone(p.Identity), name: strings.Clone(p.Name),
		kind:   p.Kind,
		joined: p.JoinedAt, version: version, rest: h.Sum64(),
	}
}

// same reports whether two descriptions are equal, apart from the version and the time of the join.
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

// update handles a ParticipantUpdate.
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
	case known && p.GetVersion() < old.version: // a newer update arrived first
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
	// The server does not announce the end of a participant's session if the identity has returned
	// in a new session (SupportsIdentityBasedReconnection).
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
