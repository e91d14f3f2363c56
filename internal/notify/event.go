package notify

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// step numbers the events of one recording in their order.
type step int

// The steps, as LiveKit's server sends them (IOInfoService.CreateEgress and UpdateEgress).
const (
	stepStarting step = iota + 1 // recording.json exists
	stepActive                   // the recorder has joined the room
	stepEnding                   // sealed.json exists
	stepEnded                    // uploaded.json exists
)

// The events, see livekit/protocol/webhook.
const (
	EventStarted = "egress_started"
	EventUpdated = "egress_updated"
	EventEnded   = "egress_ended"
)

func (s step) event() string {
	switch s {
	case stepStarting:
		return EventStarted
	case stepEnded:
		return EventEnded
	}
	return EventUpdated
}

// description returns the part of a current description that was true at a step, so that an event
// that is written late states the same as one that is written in time.
func (s step) description(now *livekit.EgressInfo, roomSID string) *livekit.EgressInfo {
	e := proto.CloneOf(now)
	switch s {
	case stepStarting, stepActive:
		e.EndedAt, e.UpdatedAt = 0, e.StartedAt
	case stepEnding:
		e.UpdatedAt = e.EndedAt
	}
	switch s {
	case stepStarting:
		e.Status = livekit.EgressStatus_EGRESS_STARTING
	case stepActive:
		e.Status = livekit.EgressStatus_EGRESS_ACTIVE
	case stepEnding:
		e.Status = livekit.EgressStatus_EGRESS_ENDING
	}
	if s != stepStarting && e.RoomId == "" {
		e.RoomId = roomSID
	}
	if s != stepEnded {
		e.Error, e.Details, e.ManifestLocation, e.FileResults = "", "", "", nil
	}
	return e
}

// eventID returns the id of an event. It depends on the recording and the step only, so an event
// that is created again after a crash has the same id.
func eventID(egressID string, s step) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d", egressID, s.event(), s))
	return "EV_" + hex.EncodeToString(sum[:12])
}

// newEvent returns the content of an event file.
func newEvent(projectID string, s step, info *livekit.EgressInfo) (eventFile, error) {
	now := time.Now()
	e := eventFile{
		FormatVersion: formatVersion, ProjectID: projectID, EgressID: info.EgressId,
		Event: s.event(), ID: eventID(info.EgressId, s), CreatedUnixNS: now.UnixNano(),
	}
	b, err := protojson.Marshal(&livekit.WebhookEvent{
		Event: e.Event, Id: e.ID, CreatedAt: now.Unix(), EgressInfo: info,
	})
	if err != nil {
		return eventFile{}, fmt.Errorf("encode event %s of recording %s: %w", e.Event, e.EgressID,
			err)
	}
	var compact bytes.Buffer // protojson varies its white space
	if err := json.Compact(&compact, b); err != nil {
		return eventFile{}, fmt.Errorf("encode event %s of recording %s: %w", e.Event, e.EgressID,
			err)
	}
	e.Body = compact.Bytes()
	return e, nil
}

// wants reports whether a subscription includes an event; an empty list includes all but messages.
func (s Subscription) wants(event string) bool {
	return len(s.Events) == 0 && event != EventMessage || slices.Contains(s.Events, event)
}

// wantsEvents reports whether a subscription includes events of recordings.
func (s Subscription) wantsEvents() bool {
	return s.wants(EventStarted) || s.wants(EventUpdated) || s.wants(EventEnded)
}
