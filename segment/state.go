package segment

import (
	"encoding/json"
	"fmt"
)

// State is the payload of a frame of type [FrameState], as JSON: what follows from the frames
// before it, as far as a recorder has to know it that continues the recording after a crash. It
// stands at the head of a segment, so that the segments before need not be read. Whoever reads a
// recording skips it: it says nothing that the frames before do not say.
type State struct {
	// Epoch is the number of the last connection to the room, RoomSIDs are the sids under which
	// the room was joined.
	Epoch    int      `json:"epoch,omitempty"`
	RoomSIDs []string `json:"room_sids,omitempty"`
	// Present are the participants who have joined and not left.
	Present []Present `json:"present,omitempty"`
	// InOutage: an outage has begun and not ended.
	InOutage bool `json:"in_outage,omitempty"`
	// Counts of outages that have begun, participants who have joined, packets and their bytes.
	Outages      int    `json:"outages,omitempty"`
	Participants int    `json:"participants,omitempty"`
	Packets      uint64 `json:"packets,omitempty"`
	Bytes        uint64 `json:"bytes,omitempty"`
	// The times of the last packet and of the last frame, 0: there is none.
	LastPacketUnixNS int64 `json:"last_packet_unix_ns,omitempty"`
	LastUnixNS       int64 `json:"last_unix_ns,omitempty"`
	// Selection are the rules that the last event of kind selection states.
	Selection *SelectionRules `json:"selection,omitempty"`
	Streams   *OpenStreams    `json:"streams,omitempty"`
	// Synced is the number of a segment: this one and those before were durable when the state was
	// written, but for one of which an fsync failed. Suspect is the name of such a segment.
	Synced  uint32 `json:"synced,omitempty"`
	Suspect string `json:"suspect,omitempty"`
}

// Present is a participant who is in the room.
type Present struct {
	ParticipantSID string `json:"participant_sid"`
	Identity       string `json:"identity"`
}

// OpenStreams are the streams that may be recorded further, because rules of selection by topic
// let their beginning through. It is the recording filter's own.
type OpenStreams struct {
	Rules []byte `json:"rules"` // digest of the rules
	Key   []byte `json:"key"`   // with which IDs are made
	IDs   []byte `json:"ids"`   // digests of sender and stream id, 16 bytes each
}

// EncodeState returns the payload of a frame of type FrameState.
func EncodeState(s State) ([]byte, error) { return json.Marshal(s) }

// DecodeState reads the payload of a frame of type FrameState. Keys that it does
// not know are ignored.
func DecodeState(payload []byte) (State, error) {
	var s State
	if err := json.Unmarshal(payload, &s); err != nil {
		return State{}, fmt.Errorf("decode state: %w", err)
	}
	return s, nil
}
