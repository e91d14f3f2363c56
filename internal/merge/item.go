package merge

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/segment"
)

// class determines how a frame is matched in the other recording.
type class uint8

const (
	classRecorder class = iota // an event of one recorder about itself: never matched
	classNumbered              // by participant sid and sequence: exactly
	// an unnumbered packet of a stream: by stream id, kind, chunk index and bytes
	classPart
	classContent     // any other packet: by sender, channel, bytes, and order and time
	classParticipant // an event about the room, which both recorders received
)

// key identifies a frame. Two frames of one class with the same key may be the same.
type key [16]byte

// item is one frame of one recording during the merge.
type item struct {
	frame segment.Frame // the payload is a copy
	class class
	key   key
	sid   string // of classNumbered
	seq   uint32
	event textegress.Event // of classRecorder and classParticipant
	// stated is the time of reception by the recorder's clock. For the start of an outage, it is
	// the time of the last frame before the outage. sortTime is stated without later steps of that
	// clock. It orders frames in the absence of better evidence.
	stated, sortTime int64
	// match is the same packet in the other recording, once certain. taken reports that the match
	// was written.
	match    *item
	taken    bool
	resolved bool // of classContent: its match is decided
	mark     bool // written as a possible duplicate
	// reliable reports that the packet was sent on the reliable channel.
	reliable bool
}

// items turns the frames of one recorder into items.
type items struct {
	shift int64 // total steps of the recorder's clock since the start, in ns
}

// next returns the item of a frame. It copies the payload.
func (s *items) next(f segment.Frame) *item {
	it := newItem(f)
	if it.event.Kind == textegress.KindClockStep && it.event.EgressID == "" {
		s.shift += it.event.OffsetNS
	}
	it.stated, it.sortTime = it.sortTime, it.sortTime-s.shift
	return it
}

func newItem(f segment.Frame) *item {
	f.Payload = append([]byte(nil), f.Payload...)
	it := &item{frame: f, sortTime: f.UnixNS, mark: f.PossibleDuplicate}
	if f.Type == segment.FrameEvent {
		it.fromEvent()
		return it
	}
	e := decode.Inspect(f)
	it.reliable = e.Reliable
	h := newKeyHash()
	switch {
	case e.Sequence != 0 && e.ParticipantSID != "":
		it.class, it.sid, it.seq = classNumbered, e.ParticipantSID, e.Sequence
		h.text("numbered", e.ParticipantSID)
		h.number(uint64(e.Sequence))
	case e.Part != nil:
		it.class = classPart
		h.text("part", e.ParticipantSID, e.Identity, e.Part.StreamID)
		h.number(uint64(e.Part.Kind))
		h.number(e.Part.Chunk)
		h.text(string(f.Payload))
	case f.Channel == segment.ChannelDataTrack:
		it.class = classContent
		payload := append([]byte(nil), f.Payload...)
		if len(payload) >= 4 {
			// the handle differs between subscribers (livekit-server, pkg/rtc/datatrack/packet.go)
			payload[2], payload[3] = 0, 0
		}
		h.text("track", string(payload))
	default:
		it.class = classContent
		h.text("content", f.Channel.String(), e.ParticipantSID, e.Identity, string(f.Payload))
	}
	it.key = h.sum()
	return it
}

func (it *item) fromEvent() {
	m, ok := decode.Event(it.frame)
	if !ok { // kept unchanged
		return
	}
	if m.Event != nil {
		it.event = *m.Event
	}
	it.event.Kind = m.Kind
	switch m.Kind {
	case textegress.KindParticipantJoined, textegress.KindParticipantLeft,
		textegress.KindParticipantUpdated, textegress.KindRoomUpdated:
		it.class = classParticipant
		h := newKeyHash()
		h.text("event", string(it.frame.Payload))
		it.key = h.sum()
	case textegress.KindOutageStarted:
		if s := it.event.SinceUnixNS; s != 0 && s < it.sortTime {
			it.sortTime = s
		}
	}
}

// repeats reports whether an identical event may recur. Two such events match only if both
// recorders received them at about the same time.
func (it *item) repeats() bool {
	return it.class == classParticipant && (it.event.Kind == textegress.KindRoomUpdated ||
		it.event.Kind == textegress.KindParticipantUpdated)
}

// keyHash computes keys. It writes the length of every part before the part.
type keyHash struct{ hash.Hash }

func newKeyHash() keyHash { return keyHash{sha256.New()} }

func (h keyHash) number(n uint64) { h.Write(binary.LittleEndian.AppendUint64(nil, n)) }

func (h keyHash) text(parts ...string) {
	for _, p := range parts {
		h.number(uint64(len(p)))
		h.Write([]byte(p))
	}
}

func (h keyHash) sum() (k key) {
	copy(k[:], h.Sum(nil))
	return k
}
