package room

import (
	"maps"
	"time"

	"github.com/livekit/protocol/livekit"
)

// Participant is somebody else in the room, as the server described them. Hidden participants are not told to others.
type Participant struct {
	SID, Identity, Name, Metadata string
	Kind                          string // livekit.ParticipantInfo_Kind: "STANDARD", "AGENT", "SIP", …
	Attributes                    map[string]string
	JoinedAt                      time.Time // the server's clock, milliseconds
}

// EventType is the kind of an Event.
type EventType uint8

// The types of events.
const (
	ParticipantJoined  EventType = iota + 1 // Participant came after us
	ParticipantLeft                         // Participant has gone; the fields are the last ones known
	ParticipantUpdated                      // name, metadata, attributes or kind of Participant changed
	RoomUpdated                             // RoomSID, RoomMetadata changed
	SignalLost                              // the websocket is lost; packets still come
	SignalResumed                           // the websocket is there again; participants who came and went meanwhile are not known
	ClockMeasured                           // ClockOffset was measured (once per websocket)
)

// String returns the name of the type, in snake case.
func (t EventType) String() string {
	return map[EventType]string{
		ParticipantJoined: "participant_joined", ParticipantLeft: "participant_left", ParticipantUpdated: "participant_updated",
		RoomUpdated: "room_updated", SignalLost: "signal_lost", SignalResumed: "signal_resumed", ClockMeasured: "clock_measured",
	}[t]
}

// Event is something that happened in the room besides packets. Only the fields of its type are set, and ClockOffset always once
// it is known: the server's clock minus ours, as measured over the websocket, so no better than half its round trip.
type Event struct {
	Type         EventType
	At           time.Time // reception
	Participant  Participant
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

// roster knows who is in the room and turns the server's updates into events. It belongs to the goroutine that reads the signals.
type roster struct {
	own     string // our sid: we are in the updates too
	members map[string]member
	full    bool // the next update that contains us lists everybody
}

type member struct {
	Participant
	version uint32
}

func newRoster(own string, others []*livekit.ParticipantInfo) *roster {
	r := &roster{own: own, members: map[string]member{}}
	for _, p := range others {
		r.members[p.GetSid()] = member{participantOf(p), p.GetVersion()}
	}
	return r
}

// update takes a ParticipantUpdate. Several participants with the same identity are several participants: who reconnects has a new
// sid, and the end of the old one may be told later.
func (r *roster) update(infos []*livekit.ParticipantInfo) []Event {
	var events []Event
	present := make(map[string]bool, len(infos))
	for _, p := range infos {
		sid := p.GetSid()
		present[sid] = true
		if sid == r.own || sid == "" {
			continue
		}
		old, known := r.members[sid]
		switch {
		case known && p.GetVersion() < old.version: // overtaken by a newer one
		case p.GetState() == livekit.ParticipantInfo_DISCONNECTED:
			if known {
				delete(r.members, sid)
				events = append(events, Event{Type: ParticipantLeft, Participant: old.Participant})
			}
		default:
			now := participantOf(p)
			r.members[sid] = member{now, p.GetVersion()}
			if !known {
				events = append(events, Event{Type: ParticipantJoined, Participant: now})
			} else if !same(old.Participant, now) {
				events = append(events, Event{Type: ParticipantUpdated, Participant: now})
			}
		}
	}
	if r.full && present[r.own] {
		r.full = false
		for sid, m := range r.members {
			if !present[sid] {
				delete(r.members, sid)
				events = append(events, Event{Type: ParticipantLeft, Participant: m.Participant})
			}
		}
	}
	return events
}

func same(a, b Participant) bool {
	return a.Name == b.Name && a.Metadata == b.Metadata && a.Kind == b.Kind && a.Identity == b.Identity &&
		maps.Equal(a.Attributes, b.Attributes)
}
