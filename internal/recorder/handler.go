package recorder

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/segment"
)

// errOtherSession refuses a room that belongs to another session.
var errOtherSession = errors.New("the room belongs to another session")

// errEmptyRoom refuses a room that nobody is in and that nobody gave a session:
// most likely our own join has just made it.
var errEmptyRoom = errors.New("the room is empty and names no session")

// errUnsureRoom refuses a room that names no session, where nobody but an announcement says that
// it is the session's.
var errUnsureRoom = errors.New("nothing but the announcement says that this is the session's room")

// handler receives one stay in the room.
type handler struct {
	r     *Recorder
	epoch uint16
	// unsure: the room's name was announced, and that is all that is known of it.
	unsure bool
	// fresh is set when the room is new to us, names no session and is empty, so
	// the authority is to be asked whether the session still runs.
	fresh  bool
	joined time.Time // when the room was accepted

	ctx     context.Context // of the recorder: a stop waits for no disk
	broken  chan struct{}   // closed when a frame was given up; nothing is written after that
	waiting atomic.Int32    // calls that wait for the disk

	mu      sync.Mutex // guards the rest
	err     error      // why a frame was given up
	sinceNS int64      // where the outage begins
}

func newHandler(ctx context.Context, r *Recorder) *handler {
	return &handler{r: r, ctx: ctx, broken: make(chan struct{})}
}

// Joined decides whether this is the session's room, and writes that we are in.
func (h *handler) Joined(in room.Info) error {
	r := h.r
	r.o.Selection.ForgetTracks() // their handles were those of another connection
	named := r.o.SessionOf(session.Room{SID: in.RoomSID, Metadata: in.RoomMetadata})
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
		case named == "" && h.unsure:
			return errUnsureRoom
		}
	}
	h.joined = time.Now()
	now := h.joined.UnixNano()
	r.mu.Lock()
	r.epoch++
	h.epoch = uint16(r.epoch)
	r.roomSIDs[in.RoomSID] = true
	r.connected = true
	r.status = textegress.StatusActive
	ended := r.inOutage
	r.mu.Unlock()

	if err := h.event(now, segment.Event{
		Kind: textegress.KindJoined, RoomSID: in.RoomSID, RoomMetadata: in.RoomMetadata,
		RoomCreatedUnixMS: unixMS(in.RoomCreated),
		ParticipantSID:    in.ParticipantSID, Identity: in.Identity,
		ServerVersion: in.ServerVersion,
		Region:        in.Region,
	}); err != nil {
		return fmt.Errorf("write that the room was joined: %w", err)
	}
	if ended {
		if err := h.event(now, segment.Event{Kind: textegress.KindOutageEnded}); err != nil {
			return fmt.Errorf("write the end of the outage: %w", err)
		}
		r.mu.Lock()
		r.inOutage = false // not before it is written: else it would be begun once more
		r.mu.Unlock()
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
	var gone []segment.Event
	for sid, m := range h.r.present {
		if !here[sid] {
			gone = append(gone, segment.Event{
				Kind:           textegress.KindParticipantLeft,
				ParticipantSID: sid, Identity: m.identity, Cause: "while_away",
			})
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

// came and left change who is present only when it is written, so that what
// could not be is told after the next join.
func (h *handler) came(now int64, p room.Participant) error {
	if !h.r.o.Selection.Identity(p.Identity) || h.r.isPresent(p.SID) {
		return nil
	}
	if err := h.event(now, participantEvent(textegress.KindParticipantJoined, p)); err != nil {
		return err
	}
	h.r.arrived(p.SID, p.Identity)
	return nil
}

func (h *handler) left(now int64, ev segment.Event) error {
	if !h.r.isPresent(ev.ParticipantSID) {
		return nil
	}
	if h.r.o.Selection.Identity(ev.Identity) {
		if err := h.event(now, ev); err != nil {
			return err
		}
	}
	h.r.mu.Lock()
	defer h.r.mu.Unlock()
	delete(h.r.present, ev.ParticipantSID)
	return nil
}

func participantEvent(k textegress.Kind, p room.Participant) segment.Event {
	return segment.Event{
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
	f := segment.Frame{
		Type: segment.FramePacket, Channel: segment.Channel(ch), Epoch: h.epoch,
		UnixNS: ns, Payload: b,
	}
	if err := h.append(f); err != nil {
		return
	}
	h.r.packets.Add(1)
	h.r.bytes.Add(uint64(len(b)))
	h.r.lastPacketNS.Store(ns)
	h.r.o.Metrics.packet(ch, len(b))
}

// Event writes who came and went. An error has ended the stay, see giveUp.
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
	case room.DataTrackSubscribed:
		t := ev.Track
		if !h.r.o.Selection.Track(t.Handle, t.Identity, t.Name) {
			return
		}
		_ = h.event(now, segment.Event{
			Kind: textegress.KindDataTrackSubscribed, Identity: t.Identity,
			ParticipantSID: t.ParticipantSID, Name: t.Name, TrackSID: t.SID, Handle: t.Handle,
		})
	case room.RoomUpdated:
		_ = h.event(now, segment.Event{
			Kind:         textegress.KindRoomUpdated,
			RoomMetadata: ev.RoomMetadata,
		})
	case room.SignalLost:
		h.r.log.Info("signalling lost, the data channels live on")
	case room.SignalResumed:
		h.r.log.Info("signalling resumed")
	}
}

func (h *handler) event(unixNS int64, ev segment.Event) error {
	f, err := eventFrame(h.epoch, unixNS, ev)
	if err != nil {
		return err
	}
	return h.append(f)
}

func eventFrame(epoch uint16, unixNS int64, ev segment.Event) (segment.Frame, error) {
	b, err := segment.EncodeEvent(ev)
	if err != nil {
		return segment.Frame{}, fmt.Errorf("encode event: %w", err)
	}
	return segment.Frame{Type: segment.FrameEvent, Epoch: epoch, UnixNS: unixNS, Payload: b}, nil
}

func unixMS(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
