package segment

import (
	"encoding/json"
	"fmt"
)

// Kind says what an [Event] is.
type Kind string

// Kinds of the recorder's own events.
const (
	KindRecordingStarted  Kind = "recording_started"
	KindJoined            Kind = "joined"
	KindParticipantJoined Kind = "participant_joined"
	KindParticipantLeft   Kind = "participant_left"
	// name, metadata or attributes of a participant changed; the event has all of them
	KindParticipantUpdated Kind = "participant_updated"
	KindRoomUpdated        Kind = "room_updated" // the room's metadata changed
	// frames of a data track are received, or its name has become known; the frames name their
	// track by its handle
	KindDataTrackSubscribed Kind = "data_track_subscribed"
	KindOutageStarted       Kind = "outage_started"
	KindOutageEnded         Kind = "outage_ended"
	KindRecordingEnded      Kind = "recording_ended"
	KindCorrupt             Kind = "corrupt" // a range of a segment that could not be read

	// One of the two recorders of a merged recording was not connected. Where
	// neither was, it is an outage.
	KindRecorderAway Kind = "recorder_away"
	KindRecorderBack Kind = "recorder_back"

	// the recorder's clock was set; times before and after it are by different clocks
	KindClockStep Kind = "clock_step"

	KindSelection Kind = "selection" // the rules in force from here on, of what is recorded
	// what was not recorded because of them since the last such line
	KindDropped Kind = "dropped"
	// KindForgotten stands in the place of a line of a participant who was
	// removed from the recording. Its time is that of the line before it.
	KindForgotten Kind = "forgotten"
)

// IsEvent reports whether k is one of the recorder's own events, not something
// that came over a data channel.
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

// LateLines says that lines of a removed participant stood before those of the
// frame with this index, or, where it is 0, after those of the last frame.
type LateLines struct {
	Index uint64 `json:"index,omitempty"`
	Lines int64  `json:"lines"`
}

// Event holds the details of the recorder's own events; which of them are set
// depends on the kind. It is also, as JSON, the payload of an event frame in a
// segment.
type Event struct {
	// Kind repeats the kind of the line. It is written in segments, not in
	// events.jsonl, where decoding fills it in.
	Kind Kind `json:"kind,omitempty"`

	// participant_joined, participant_left, participant_updated
	Identity        string            `json:"identity,omitempty"`
	ParticipantSID  string            `json:"participant_sid,omitempty"`
	Name            string            `json:"name,omitempty"`
	Metadata        string            `json:"metadata,omitempty"`
	Attributes      map[string]string `json:"attributes,omitempty"`
	ParticipantKind string            `json:"participant_kind,omitempty"`

	// data_track_subscribed, with identity, sid of its publisher and the track's
	// name. Handle is what the frames of this epoch say.
	TrackSID string `json:"track_sid,omitempty"`
	Handle   uint16 `json:"handle,omitempty"`

	// joined; room_updated has the metadata
	RoomSID           string `json:"room_sid,omitempty"`
	RoomMetadata      string `json:"room_metadata,omitempty"`
	ServerVersion     string `json:"server_version,omitempty"`
	Region            string `json:"region,omitempty"`
	RoomCreatedUnixMS int64  `json:"room_created_unix_ms,omitempty"`
	// ClockOffsetMS is the server's clock minus ours, in milliseconds.
	ClockOffsetMS int64 `json:"clock_offset_ms,omitempty"`

	// outage_started, outage_ended: why, and the reception time of the last
	// frame before it.
	Cause       string `json:"cause,omitempty"`
	SinceUnixNS int64  `json:"since_unix_ns,omitempty"`

	// clock_step: how far the clock was set forward (negative: back), the last time before and the
	// first after it. AtLeast: the recorder was not running, it may be more.
	OffsetNS     int64 `json:"offset_ns,omitempty"`
	BeforeUnixNS int64 `json:"before_unix_ns,omitempty"`
	AfterUnixNS  int64 `json:"after_unix_ns,omitempty"`
	AtLeast      bool  `json:"at_least,omitempty"`

	// In a merged recording: which recorder an event is from.
	EgressID string `json:"egress_id,omitempty"`
	Instance string `json:"instance,omitempty"`

	// selection: the rules (absent: there are none any more), dropped: the counts
	Selection *SelectionRules `json:"selection,omitempty"`
	Dropped   []Dropped       `json:"dropped,omitempty"`

	// forgotten, in segments only: how many lines stood for this frame, and for
	// how many lines it stands that came to be at later ones.
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

	// corrupt: where the unreadable range of a segment is, how long it is, and
	// how many frames are known to be lost with it.
	Segment       string `json:"segment,omitempty"`
	Offset        int64  `json:"offset,omitempty"`
	Bytes         int64  `json:"bytes,omitempty"`
	FramesMissing int64  `json:"frames_missing,omitempty"`
}

// EncodeEvent returns the payload of a frame of type FrameEvent.
func EncodeEvent(ev Event) ([]byte, error) { return json.Marshal(ev) }

// DecodeEvent reads the payload of a frame of type FrameEvent. Keys that it does
// not know are ignored.
func DecodeEvent(payload []byte) (Event, error) {
	var ev Event
	if err := json.Unmarshal(payload, &ev); err != nil {
		return Event{}, fmt.Errorf("decode event: %w", err)
	}
	return ev, nil
}
