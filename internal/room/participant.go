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
// Updates of participants who publish no media come in batches, up to three seconds late (livekit-server,
// subscriberUpdateInterval): a participant's packets may come before, and one who was there for a shorter time is only told as gone.
type roster struct {
	own     string // our sid: we are in the updates too
	members map[string]member
	gone    map[string]bool // sids that were told as left, lately
	full    bool            // the next update that contains us lists everybody
}

type member struct {
	Participant
	version uint32
}

func newRoster(own string, others []*livekit.ParticipantInfo) *roster {
	r := &roster{own: own, members: map[string]member{}, gone: map[string]bool{}}
	for _, p := range others {
		r.members[p.GetSid()] = member{participantOf(p), p.GetVersion()}
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
		return []Event{r.leave(sid)}
	case known && p.GetVersion() < old.version: // overtaken by a newer one
		return nil
	case known:
		r.members[sid] = member{now, p.GetVersion()}
		if same(old.Participant, now) {
			return nil
		}
		return []Event{{Type: ParticipantUpdated, Participant: now}}
	case r.gone[sid]:
		return nil
	}
	var events []Event
	// The server does not tell the end of a session whose identity came back in a new one (SupportsIdentityBasedReconnection).
	for other, m := range r.members {
		if m.Identity == now.Identity && !m.JoinedAt.After(now.JoinedAt) {
			events = append(events, r.leave(other))
		}
	}
	r.members[sid] = member{now, p.GetVersion()}
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
	r.gone[sid] = true
	return Event{Type: ParticipantLeft, Participant: m.Participant}
}

func same(a, b Participant) bool {
	return a.Name == b.Name && a.Metadata == b.Metadata && a.Kind == b.Kind && a.Identity == b.Identity &&
		maps.Equal(a.Attributes, b.Attributes)
}
