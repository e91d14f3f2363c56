package segment

import (
	"errors"
	"fmt"
)

// MaxPayload is the maximum payload of a frame in bytes. A LiveKit server forwards far smaller
// packets. A larger length in a segment is damage.
const MaxPayload = 16 << 20

// ErrTooLarge reports that a payload is longer than [MaxPayload].
var ErrTooLarge = errors.New("payload too large")

// FrameType is the type of a frame's payload.
type FrameType uint8

// The frame types.
const (
	FramePacket FrameType = 1 // a raw LiveKit DataPacket, or a data track's frame
	FrameEvent  FrameType = 2 // an Event as JSON
	FrameState  FrameType = 3 // a State as JSON
)

// Channel is the data channel on which a packet arrived.
type Channel uint8

// The channels. The recorder's own events have ChannelNone.
const (
	ChannelNone      Channel = 0
	ChannelReliable  Channel = 1
	ChannelLossy     Channel = 2
	ChannelDataTrack Channel = 3
)

// String returns "none", "reliable", "lossy" or "data_track".
func (c Channel) String() string {
	switch c {
	case ChannelNone:
		return "none"
	case ChannelReliable:
		return "reliable"
	case ChannelLossy:
		return "lossy"
	case ChannelDataTrack:
		return "data_track"
	}
	return fmt.Sprintf("channel(%d)", uint8(c))
}

// Frame is one entry of a segment.
type Frame struct {
	Type FrameType
	// PossibleDuplicate marks a frame of a merged recording that may repeat another one, because
	// both recorders received it.
	PossibleDuplicate bool
	Channel           Channel
	// Epoch counts the recorder's connections to the room: 1, 2, 3 …; 0 before the first.
	Epoch uint16
	// Index counts the frames of the recording over all segments: 1, 2, 3 …
	Index uint64
	// UnixNS is the time of reception in nanoseconds since 1970.
	UnixNS int64
	// MonoNS is the time of writing in nanoseconds since the start of the segment, on the monotonic
	// clock.
	MonoNS int64
	// Damage marks a frame that is not in any segment. It represents an unreadable range or missing
	// frames, see [Read].
	Damage bool
	// Payload is valid until the next frame is read, if a reader returned the frame.
	Payload []byte
	// Event is the decoded payload of a frame of type FrameEvent, set by a reader; nil if the
	// payload is not an event. It is shared and must not be changed. Writers use only the payload.
	Event *Event
}
