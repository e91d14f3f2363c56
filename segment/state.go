package segment

import (
	"encoding/json"
	"fmt"
)

// State is the payload, as JSON, of a frame of type [FrameState]. It summarises the preceding
// frames to the extent that a recorder needs to continue the recording after a crash. It is the
// first frame of a segment, so that recovery need not read earlier segments. Readers of a recording
// skip it, because everything in it follows from the preceding frames.
type State struct {
	// Epoch is the number of the last connection to the room, RoomSIDs the sids under which the
	// room was joined.
	Epoch    int      `json:"epoch,omitempty"`
	RoomSIDs []string `json:"room_sids,omitempty"`
	// Present lists the participants who have joined and not left.
	Present []Present `json:"present,omitempty"`
	// InOutage reports whether an outage is in progress.
	InOutage bool `json:"in_outage,omitempty"`
	// The numbers of outages started, participants joined, packets and packet bytes.
	Outages      int    `json:"outages,omitempty"`
	Participants int    `json:"participants,omitempty"`
	Packets      uint64 `json:"packets,omitempty"`
	Bytes        uint64 `json:"bytes,omitempty"`
	// The times of the last packet and of the last frame; 0 if there is none.
	LastPacketUnixNS int64 `json:"last_packet_unix_ns,omitempty"`
	LastUnixNS       int64 `json:"last_unix_ns,omitempty"`
	// Selection holds the rules of the last event of kind selection.
	Selection *SelectionRules `json:"selection,omitempty"`
	Streams   *OpenStreams    `json:"streams,omitempty"`
	// People lists participants who were in the room or sent a message, at most 2000. Messages are
	// the messages of everybody.
	People   []Person       `json:"people,omitempty"`
	Messages *MessageCounts `json:"messages,omitempty"`
	// Synced is a segment number. The segments up to and including it were durable when the state
	// was written, except for segments whose fsync failed. Suspect is the name of the first segment
	// whose fsync failed.
	Synced  uint32 `json:"synced,omitempty"`
	Suspect string `json:"suspect,omitempty"`
}

// Present is a participant who is in the room.
type Present struct {
	ParticipantSID string `json:"participant_sid"`
	Identity       string `json:"identity"`
}

// Person is a participant who was in the room or sent a message.
type Person struct {
	MessageCounts

	Identity       string `json:"identity"`
	ParticipantSID string `json:"participant_sid,omitempty"` // of the last connection
	Name           string `json:"name,omitempty"`
	// SinceUnixNS is the time of the event that stated the beginning of the last presence,
	// LeftUnixNS that of its end; 0: none.
	SinceUnixNS int64    `json:"since_unix_ns,omitempty"`
	LeftUnixNS  int64    `json:"left_unix_ns,omitempty"`
	Tracks      []uint16 `json:"tracks,omitempty"` // handles of the data tracks in this epoch
}

// MessageCounts counts packets that begin a message.
type MessageCounts struct {
	Messages   uint64 `json:"messages,omitempty"`
	LastUnixNS int64  `json:"last_message_unix_ns,omitempty"`
	// Recent has the counts of at most 30 consecutive intervals of 10 s. Interval is the number of
	// the last of them since 1970.
	Recent   []uint32 `json:"recent,omitempty"`
	Interval int64    `json:"interval,omitempty"`
}

// OpenStreams identifies the streams whose remaining packets may be recorded because the rules
// allowed their start. Only the filter of the recorder interprets it.
type OpenStreams struct {
	Rules []byte `json:"rules"` // digest of the rules
	Key   []byte `json:"key"`   // of the digests in IDs
	IDs   []byte `json:"ids"`   // digests of sender and stream id, 16 bytes each
}

// EncodeState returns the payload of a frame of type FrameState.
func EncodeState(s State) ([]byte, error) { return json.Marshal(s) }

// DecodeState decodes the payload of a frame of type FrameState. It ignores unknown keys.
func DecodeState(payload []byte) (State, error) {
	var s State
	if err := json.Unmarshal(payload, &s); err != nil {
		return State{}, fmt.Errorf("decode state: %w", err)
	}
	return s, nil
}
