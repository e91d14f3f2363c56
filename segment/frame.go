package segment

import (
	"errors"
	"fmt"
)

// MaxPayload is the greatest payload of a frame in bytes. It is far above what
// a LiveKit server forwards; a longer length in a segment is damage.
const MaxPayload = 16 << 20

// ErrTooLarge says that a payload is longer than [MaxPayload].
var ErrTooLarge = errors.New("payload too large")

// FrameType says what the payload of a frame is.
type FrameType uint8

// The frame types.
const (
	FramePacket FrameType = 1 // a raw LiveKit DataPacket, or a data track's frame
	FrameEvent  FrameType = 2 // an Event as JSON
	FrameState  FrameType = 3 // a State as JSON
)

// Channel says over which data channel a packet came.
type Channel uint8

// The channels; ChannelNone is that of the recorder's own events.
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
	// MonoNS is the time of writing in nanoseconds since the segment was
	// started, by the monotonic clock.
	MonoNS int64
	// Damage says that the frame is in no segment: it stands for a range that could not be read,
	// or for frames that are missing, see [Read].
	Damage bool
	// Payload is, when read, valid until the next frame is read.
	Payload []byte
	// Event is what a reader has decoded of the payload of a frame of type FrameEvent; nil where it
	// is no event. It is shared and must not be changed. Writing uses the payload alone.
	Event *Event
}
