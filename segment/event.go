package segment

import (
	"encoding/json"
	"fmt"
)

// Kind is the kind of an [Event].
type Kind string

// Kinds of the recorder's own events.
const (
	KindRecordingStarted  Kind = "recording_started"
	KindJoined            Kind = "joined"
	KindParticipantJoined Kind = "participant_joined"
	KindParticipantLeft   Kind = "participant_left"
	// The name, metadata or attributes of a participant changed; the event contains all three.
	KindParticipantUpdated Kind = "participant_updated"
	KindRoomUpdated        Kind = "room_updated" // the room's metadata changed
	// Frames of a data track will be received, or the name of the track has become known. The
	// frames identify their track by its handle.
	KindDataTrackSubscribed Kind = "data_track_subscribed"
	KindOutageStarted       Kind = "outage_started"
	KindOutageEnded         Kind = "outage_ended"
	KindRecordingEnded      Kind = "recording_ended"
	KindCorrupt             Kind = "corrupt" // a range of a segment that could not be read

	// One of the two recorders of a merged recording was not connected. If neither was connected,
	// there is an outage instead.
	KindRecorderAway Kind = "recorder_away"
	KindRecorderBack Kind = "recorder_back"

	// The recorder's clock was set. Times before and after the step are not comparable.
	KindClockStep Kind = "clock_step"

	KindSelection Kind = "selection" // the selection rules in force from here on
	// Counts of the packets that these rules excluded since the last such line.
	KindDropped Kind = "dropped"
	// KindForgotten replaces a line of a participant who was removed from the recording. It carries
	// the time of the preceding line.
	KindForgotten Kind = "forgotten"
)

// IsEvent reports whether k is one of the recorder's own events rather than a message from a data
// channel.
func (k Kind) IsEvent() bool {
	switch k {
	case KindRecordingStarted, KindJoined, KindParticipantJoined, KindParticipantLeft,
		KindParticipantUpdated, KindRoomUpdated, KindDataTrackSubscribed, KindOutageStarted,
		KindOutageEnded, KindRecordingEnded, KindCorrupt,
		KindRecorderAway, KindRecorderBack, KindClockStep, KindSelection, KindDropped,
		KindForgotten:
		return true
	}
	return false
}

// LateLines counts the lines of a removed participant that were written before the lines of the
// frame with this index or, if it is 0, after the lines of the last frame.
type LateLines struct {
	Index uint64 `json:"index,omitempty"`
	Lines int64  `json:"lines"`
}

// CauseExcluded is the cause of an event participant_left if the participant is still in the room
// and opted out of the recording by an attribute, or was excluded by `textegress exclude`.
const CauseExcluded = "excluded"

// Event holds the details of the recorder's own events. The kind determines which fields are set.
// Its JSON form is the payload of an event frame in a segment.
type Event struct {
	// Kind is the kind of the line. Segments contain it; events.jsonl does not, and decoding fills
	// it in.
	Kind Kind `json:"kind,omitempty"`

	// participant_joined, participant_left, participant_updated
	Identity        string            `json:"identity,omitempty"`
	ParticipantSID  string            `json:"participant_sid,omitempty"`
	Name            string            `json:"name,omitempty"`
	Metadata        string            `json:"metadata,omitempty"`
	Attributes      map[string]string `json:"attributes,omitempty"`
	ParticipantKind string            `json:"participant_kind,omitempty"`

	// data_track_subscribed, with the publisher's identity and sid and the track's name. Handle
	// identifies the track in the frames of this epoch.
	TrackSID string `json:"track_sid,omitempty"`
	Handle   uint16 `json:"handle,omitempty"`

	// joined; room_updated has only the metadata
	RoomSID           string `json:"room_sid,omitempty"`
	RoomMetadata      string `json:"room_metadata,omitempty"`
	ServerVersion     string `json:"server_version,omitempty"`
	Region            string `json:"region,omitempty"`
	RoomCreatedUnixMS int64  `json:"room_created_unix_ms,omitempty"`
	// ClockOffsetMS is the server's clock minus ours, in milliseconds.
	ClockOffsetMS int64 `json:"clock_offset_ms,omitempty"`

	// outage_started, outage_ended: the cause, and the reception time of the last frame before the
	// outage.
	Cause       string `json:"cause,omitempty"`
	SinceUnixNS int64  `json:"since_unix_ns,omitempty"`

	// clock_step: the amount by which the clock was set forward (negative: back), the last time
	// before the step and the first after it. AtLeast means that the recorder was not running, so
	// the step may be larger.
	OffsetNS     int64 `json:"offset_ns,omitempty"`
	BeforeUnixNS int64 `json:"before_unix_ns,omitempty"`
	AfterUnixNS  int64 `json:"after_unix_ns,omitempty"`
	AtLeast      bool  `json:"at_least,omitempty"`

	// In a merged recording: the recorder that wrote the event.
	EgressID string `json:"egress_id,omitempty"`
	Instance string `json:"instance,omitempty"`

	// selection: the rules (absent: no rules apply any more). dropped: the counts.
	Selection *SelectionRules `json:"selection,omitempty"`
	Dropped   []Dropped       `json:"dropped,omitempty"`

	// forgotten, in segments only: the number of lines of this frame, and the numbers of its lines
	// that were written at later frames.
	Lines int64       `json:"lines,omitempty"`
	Late  []LateLines `json:"late,omitempty"`

	// recording_ended
	Reason string `json:"reason,omitempty"`
	Status string `json:"status,omitempty"`

	// recording_started
	Source          string `json:"source,omitempty"`
	AnnouncedUnixNS int64  `json:"announced_unix_ns,omitempty"`
	Part            int    `json:"part,omitempty"`
	Previous        string `json:"previous,omitempty"`

	// corrupt: the position and length of an unreadable range of a segment, and the number of
	// frames known to be lost in it.
	Segment       string `json:"segment,omitempty"`
	Offset        int64  `json:"offset,omitempty"`
	Bytes         int64  `json:"bytes,omitempty"`
	FramesMissing int64  `json:"frames_missing,omitempty"`
}

// EncodeEvent returns the payload of a frame of type FrameEvent.
func EncodeEvent(ev Event) ([]byte, error) { return json.Marshal(ev) }

// DecodeEvent decodes the payload of a frame of type FrameEvent. It ignores unknown keys.
func DecodeEvent(payload []byte) (Event, error) {
	var ev Event
	if err := json.Unmarshal(payload, &ev); err != nil {
		return Event{}, fmt.Errorf("decode event: %w", err)
	}
	return ev, nil
}
