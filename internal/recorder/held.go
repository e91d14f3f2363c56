package recorder

import (
	"sync"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/filter"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/segment"
)

// Under EXCLUDE_BY_ATTRIBUTE, a packet is held in memory until the server announces its sender:
// until then it is unknown whether the sender may be recorded. This is the only exception to the
// rule that a packet is written to disk before any other processing.
const (
	heldFor         = 10 * time.Second // LiveKit announces participants after at most 3 s
	maxHeldBytes    = 4 << 20
	maxHeldPackets  = 4096
	heldPacketBytes = 64 // memory of an entry without its packet, bytes
)

// held are the packets of one connection whose sender has not been announced. Its mutex also orders
// packets: one that arrives while earlier ones are released waits for them.
type held struct {
	mu      sync.Mutex
	packets []heldPacket
	bytes   int
}

type heldPacket struct {
	channel room.Channel
	at      time.Time
	b       []byte
}

// packetHolding is [handler.Packet] where packets may have to be held.
func (h *handler) packetHolding(ch room.Channel, at time.Time, b []byte) {
	h.held.mu.Lock()
	defer h.held.mu.Unlock()
	h.releaseHeld(at)
	reason := h.rec.dropReason(ch, b)
	switch {
	case reason == "":
		h.store(ch, at, b)
		return
	case reason != filter.Held:
	case len(h.held.packets) < maxHeldPackets &&
		h.held.bytes+len(b)+heldPacketBytes <= maxHeldBytes:
		h.held.bytes += len(b) + heldPacketBytes
		h.held.packets = append(h.held.packets, heldPacket{ch, at, append([]byte(nil), b...)})
		return
	default:
		reason = h.rec.filter.DropHeld(len(b))
	}
	h.rec.countDropped(reason, at)
}

// releaseHeld records the held packets whose sender is now known, in the order of their arrival,
// and drops those whose sender may not be recorded or has not been announced in time. The caller
// holds h.held.mu.
func (h *handler) releaseHeld(now time.Time) {
	var kept []heldPacket
	bytes := 0
	for _, p := range h.held.packets {
		reason := h.rec.dropReason(p.channel, p.b)
		if reason == filter.Held && now.Sub(p.at) < heldFor {
			kept = append(kept, p)
			bytes += len(p.b) + heldPacketBytes
			continue
		}
		if reason == filter.Held {
			reason = h.rec.filter.DropHeld(len(p.b))
		}
		if reason == "" && !h.rec.ended.Load() {
			h.store(p.channel, p.at, p.b)
		} else if reason != "" {
			h.rec.countDropped(reason, p.at)
		}
	}
	h.held.packets, h.held.bytes = kept, bytes
}

// announced is called after the server has announced a participant.
func (h *handler) announced() {
	if h.rec.filter.Holds() {
		h.held.mu.Lock()
		h.releaseHeld(time.Now())
		h.held.mu.Unlock()
	}
}

// dropHeld counts the packets that are still held at the end of a connection.
func (h *handler) dropHeld() {
	if h.rec.filter.Holds() {
		h.held.mu.Lock()
		h.releaseHeld(time.Now().Add(heldFor))
		h.held.mu.Unlock()
	}
}

// participantUpdated processes the server's report about a participant in the room. The report can
// change whether the participant may be recorded: one who opts out leaves the record.
func (h *handler) participantUpdated(now int64, p room.Participant) error {
	allowed := h.rec.filter.Participant(p.SID, p.Identity, p.Attributes)
	if h.rec.filter.Excluded(p.Identity) {
		h.rec.hide(p)
		return nil
	}
	switch present := h.rec.isPresent(p.SID); {
	case allowed && !present && h.rec.filter.Holds(): // no longer opted out
		return h.event(now, participantEvent(textegress.KindParticipantJoined, p))
	case allowed:
		return h.event(now, participantEvent(textegress.KindParticipantUpdated, p))
	case present && h.rec.filter.Identity(p.Identity):
		left := participantEvent(textegress.KindParticipantLeft, room.Participant{
			SID: p.SID, Identity: p.Identity,
		})
		left.Cause = segment.CauseExcluded
		return h.event(now, left)
	}
	return nil
}
