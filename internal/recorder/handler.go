package recorder

import (
	"errors"
	"fmt"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/spool"
)

// errOtherSession refuses a room that belongs to another session.
var errOtherSession = errors.New("the room belongs to another session")

// errEmptyRoom refuses a room that nobody is in and that nobody gave a session:
// most likely our own join has just made it.
var errEmptyRoom = errors.New("the room is empty and names no session")

// handler receives one stay in the room.
type handler struct {
	r     *Recorder
	epoch uint16
	// fresh is set when the room is new to us, names no session and is empty, so
	// the authority is to be asked whether the session still runs.
	fresh bool
	// joined is set when the room was accepted.
	joined bool
	failed chan struct{} // closed when appending failed for good
}

// Joined decides whether this is the session's room, and writes that we are in.
func (h *handler) Joined(in room.Info) error {
	r := h.r
	named := SessionOf(in.RoomMetadata)
	r.mu.Lock()
	known, rejoin := r.roomSIDs[in.RoomSID], len(r.roomSIDs) > 0
	r.mu.Unlock()
	if !known {
		switch {
		case named == "" && len(in.Participants) == 0 && !rejoin:
			return errEmptyRoom
		case named == "" && len(in.Participants) == 0:
			h.fresh = true
		case named != "" && named != r.info.SessionID:
			return errOtherSession
		}
	}
	now := time.Now().UnixNano()
	r.mu.Lock()
	r.epoch++
	h.epoch = uint16(r.epoch)
	r.roomSIDs[in.RoomSID] = true
	r.connected = true
	r.status = textegress.StatusActive
	ended := r.inOutage
	r.inOutage = false
	r.mu.Unlock()
	h.joined = true

	if err := h.event(now, spool.Event{
		Kind: textegress.KindJoined, RoomSID: in.RoomSID, RoomMetadata: in.RoomMetadata, RoomCreatedUnixMS: unixMS(in.RoomCreated),
		ParticipantSID: in.ParticipantSID, Identity: in.Identity, ServerVersion: in.ServerVersion, Region: in.Region,
	}); err != nil {
		return fmt.Errorf("write that the room was joined: %w", err)
	}
	if ended {
		if err := h.event(now, spool.Event{Kind: textegress.KindOutageEnded}); err != nil {
			return fmt.Errorf("write the end of the outage: %w", err)
		}
	}
	return h.roster(now, in.Participants)
}

// roster brings who is present up to date after a join: those who left while we
// were away, then those who are in the room.
func (h *handler) roster(now int64, in []room.Participant) error {
	here := map[string]bool{}
	for _, p := range in {
		here[p.SID] = true
	}
	h.r.mu.Lock()
	var gone []spool.Event
	for sid, m := range h.r.present {
		if !here[sid] {
			gone = append(gone, spool.Event{Kind: textegress.KindParticipantLeft, ParticipantSID: sid, Identity: m.identity, Cause: "while_away"})
		}
	}
	h.r.mu.Unlock()
	for _, ev := range gone {
		if err := h.left(now, ev); err != nil {
			return err
		}
	}
	for _, p := range in {
		if err := h.came(now, p); err != nil {
			return err
		}
	}
	return nil
}

func (h *handler) came(now int64, p room.Participant) error {
	if !h.r.o.Selection.Identity(p.Identity) {
		return nil
	}
	h.r.mu.Lock()
	_, known := h.r.present[p.SID]
	h.r.present[p.SID] = member{p.Identity}
	h.r.countParticipant(p.SID)
	h.r.mu.Unlock()
	if known {
		return nil
	}
	return h.event(now, participantEvent(textegress.KindParticipantJoined, p))
}

func (h *handler) left(now int64, ev spool.Event) error {
	h.r.mu.Lock()
	_, known := h.r.present[ev.ParticipantSID]
	delete(h.r.present, ev.ParticipantSID)
	h.r.mu.Unlock()
	if !known || !h.r.o.Selection.Identity(ev.Identity) {
		return nil
	}
	return h.event(now, ev)
}

func participantEvent(k textegress.Kind, p room.Participant) spool.Event {
	return spool.Event{
		Kind: k, ParticipantSID: p.SID, Identity: p.Identity, Name: p.Name, Metadata: p.Metadata,
		Attributes: p.Attributes, ParticipantKind: p.Kind,
	}
}

// Packet appends one raw packet. This is the hot path: one copy into one
// write(2), no decoding; where rules of selection are set, a look at sender,
// topic and stream id.
func (h *handler) Packet(ch room.Channel, at time.Time, b []byte) {
	if reason := h.drops(ch, b); reason != "" {
		h.r.dropped(reason, at)
		return
	}
	ns := at.UnixNano()
	f := spool.Frame{Type: spool.FramePacket, Channel: spool.Channel(ch), Epoch: h.epoch, UnixNS: ns, Payload: b}
	if err := h.append(f); err != nil {
		return
	}
	h.r.packets.Add(1)
	h.r.bytes.Add(uint64(len(b)))
	h.r.lastPacketNS.Store(ns)
	h.r.o.Metrics.packet(ch, len(b))
}

// Event writes who came and went. Errors end the stay through failed.
func (h *handler) Event(ev room.Event) {
	now := time.Now().UnixNano()
	switch ev.Type {
	case room.ParticipantJoined:
		_ = h.came(now, ev.Participant)
	case room.ParticipantLeft:
		_ = h.left(now, participantEvent(textegress.KindParticipantLeft, ev.Participant))
	case room.ParticipantUpdated:
		if !h.r.o.Selection.Identity(ev.Participant.Identity) {
			return
		}
		_ = h.event(now, participantEvent(textegress.KindParticipantUpdated, ev.Participant))
	case room.RoomUpdated:
		_ = h.event(now, spool.Event{Kind: textegress.KindRoomUpdated, RoomMetadata: ev.RoomMetadata})
	case room.SignalLost:
		h.r.log.Info("signalling lost, the data channels live on")
	case room.SignalResumed:
		h.r.log.Info("signalling resumed")
	}
}

func (h *handler) event(unixNS int64, ev spool.Event) error {
	f, err := eventFrame(h.epoch, unixNS, ev)
	if err != nil {
		return err
	}
	return h.append(f)
}

// The disk gets this long to recover while reading stands still and LiveKit
// buffers for us; then the room is left, and an outage begins.
const (
	appendPatience = 30 * time.Second
	appendPause    = 200 * time.Millisecond
)

// append writes one frame. A disk that refuses blocks the reader, so that
// LiveKit keeps the data for us, before anything is given up.
func (h *handler) append(f spool.Frame) error {
	err := h.r.write(f)
	if err == nil {
		return nil
	}
	h.r.log.Error("cannot write to the spool; reading stands still", "error", err)
	deadline := time.NewTimer(appendPatience)
	defer deadline.Stop()
	for {
		select {
		case <-h.failed:
			return err
		case <-deadline.C:
			select {
			case h.r.err <- err:
			default:
			}
			return err
		case <-time.After(appendPause):
		}
		if err = h.r.write(f); err == nil {
			h.r.log.Info("the spool can be written again")
			return nil
		}
	}
}

func eventFrame(epoch uint16, unixNS int64, ev spool.Event) (spool.Frame, error) {
	b, err := spool.EncodeEvent(ev)
	if err != nil {
		return spool.Frame{}, fmt.Errorf("encode event: %w", err)
	}
	return spool.Frame{Type: spool.FrameEvent, Epoch: epoch, UnixNS: unixNS, Payload: b}, nil
}

func unixMS(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
