package recorder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/session"
	"github.com/syncflow/textegress/segment"
)

// ErrOtherSession rejects a room that belongs to another session.
var ErrOtherSession = errors.New("the room belongs to another session")

// errEmptyRoom rejects a room that is empty and whose metadata names no session. Most likely, our
// own join has just created it.
var errEmptyRoom = errors.New("the room is empty and names no session")

// errUnconfirmedRoom rejects a room that names no session if only the announcement links it to the
// session.
var errUnconfirmedRoom = errors.New(
	"nothing but the announcement says that this is the session's room")

// errStopped rejects every room because somebody stopped the recording.
var errStopped = errors.New("the recording was stopped")

// handler writes the packets and events of one connection to the spool.
type handler struct {
	rec       *record
	log       *slog.Logger
	sessionID string
	sessionOf func(session.Room) string
	keepRun   func(sid string) error // see [Options.Continue]
	accepted  func()                 // called when the room is accepted as the session's
	updated   func(session.Room)     // see [Options.RoomUpdated]
	// unconfirmed is true if only the announcement links the room to the session.
	unconfirmed bool
	former      formerRun

	ctx     context.Context // context of the recorder; after its end, writes are not retried
	broken  chan struct{}   // closed when a frame is abandoned; nothing is written after that
	waiting atomic.Int32    // number of writes being retried

	// Set by Joined.
	epoch  uint16
	joined time.Time // time at which the room was accepted
	nodeID string    // of the server's node
	// maybeMade is true if the room is new to the recorder, names no session and is empty. Our join
	// may then have created it, and the authority must confirm that the session is still running.
	maybeMade bool

	held held // under EXCLUDE_BY_ATTRIBUTE

	mu      sync.Mutex // guards the fields below
	err     error      // reason why a frame was abandoned
	sinceNS int64      // start of the outage, unix ns
}

func newHandler(ctx context.Context, r *Recorder) *handler {
	return &handler{
		rec: r.rec, log: r.log, sessionID: r.info.SessionID, sessionOf: r.o.SessionOf,
		accepted: r.accepted, keepRun: r.o.Continue, updated: r.o.RoomUpdated,
		ctx: ctx, broken: make(chan struct{}),
	}
}

// Joined checks that the room is the session's and, if so, records the join.
func (h *handler) Joined(in room.Info) error {
	if h.rec.ended.Load() {
		return errStopped
	}
	h.rec.filter.ForgetTracks() // handles are valid for one connection only
	before := h.rec.snapshot()
	if err := h.checkRoom(in, before.roomSIDs); err != nil {
		return err
	}
	h.epoch = uint16(before.epoch + 1)
	h.joined, h.nodeID = time.Now(), in.NodeID
	h.accepted()
	now := h.joined.UnixNano()
	if err := h.event(now, segment.Event{
		Kind: textegress.KindJoined, RoomSID: in.RoomSID, RoomMetadata: in.RoomMetadata,
		RoomCreatedUnixMS: unixMS(in.RoomCreated),
		ParticipantSID:    in.ParticipantSID, Identity: in.Identity,
		ServerVersion: in.ServerVersion,
		Region:        in.Region,
	}); err != nil {
		return fmt.Errorf("write that the room was joined: %w", err)
	}
	if before.inOutage {
		if err := h.event(now, segment.Event{Kind: textegress.KindOutageEnded}); err != nil {
			return fmt.Errorf("write the end of the outage: %w", err)
		}
	}
	h.rec.unhideAll()
	if err := h.updateRoster(now, before.present, in.Participants); err != nil {
		return err
	}
	h.announced()
	// An earlier attempt to state them may have failed.
	if err := h.rec.writeExclusions(h.joined, true); err != nil {
		return fmt.Errorf("write who is excluded: %w", err)
	}
	return nil
}

// checkRoom returns nil if the room is the session's. known lists the sids under which the
// session's room was joined.
func (h *handler) checkRoom(in room.Info, known []string) error {
	if slices.Contains(known, in.RoomSID) {
		return nil
	}
	named := h.sessionOf(session.Room{SID: in.RoomSID, Metadata: in.RoomMetadata})
	if h.former.is {
		return h.checkRun(in, named)
	}
	switch empty := len(in.Participants) == 0; {
	case named == "" && empty && len(known) == 0:
		return errEmptyRoom
	case named == "" && empty:
		h.maybeMade = true
	case named != "" && named != h.sessionID:
		return ErrOtherSession
	case named == "" && h.unconfirmed:
		return errUnconfirmedRoom
	}
	return nil
}

// updateRoster records the participants who left while the recorder was away, then those who
// joined. before maps the sids of the participants present before to their identities.
func (h *handler) updateRoster(now int64, before map[string]string, in []room.Participant) error {
	here := map[string]bool{}
	for _, p := range in {
		here[p.SID] = true
	}
	for sid, identity := range before {
		if here[sid] {
			continue
		}
		if err := h.participantLeft(now, segment.Event{
			Kind:           textegress.KindParticipantLeft,
			ParticipantSID: sid, Identity: identity, Cause: "while_away",
		}); err != nil {
			return err
		}
	}
	for _, p := range in {
		if err := h.participantJoined(now, p); err != nil {
			return err
		}
	}
	return nil
}

// participantJoined and participantLeft change the roster only by writing events. The next join
// therefore makes up for an event that could not be written.
func (h *handler) participantJoined(now int64, p room.Participant) error {
	allowed, present := h.rec.filter.Participant(p.SID, p.Identity, p.Attributes),
		h.rec.isPresent(p.SID)
	if h.rec.filter.Excluded(p.Identity) {
		h.rec.hide(p)
	}
	switch {
	case present && !allowed && h.rec.filter.Holds(): // opted out while the recorder was away
		return h.participantUpdated(now, p)
	case present || !allowed:
		return nil
	}
	return h.event(now, participantEvent(textegress.KindParticipantJoined, p))
}

func (h *handler) participantLeft(now int64, ev segment.Event) error {
	h.rec.unhide(ev.ParticipantSID)
	if !h.rec.isPresent(ev.ParticipantSID) {
		return nil
	}
	if !h.rec.filter.Identity(ev.Identity) {
		h.rec.removePresent(ev.ParticipantSID)
		return nil
	}
	return h.event(now, ev)
}

func participantEvent(k textegress.Kind, p room.Participant) segment.Event {
	return segment.Event{
		Kind: k, ParticipantSID: p.SID, Identity: p.Identity, Name: p.Name, Metadata: p.Metadata,
		Attributes: p.Attributes, ParticipantKind: p.Kind,
	}
}

// Packet appends one raw packet. This is the hot path: one copy into one write(2), without
// decoding. With selection rules, it also parses sender, topic and stream id.
func (h *handler) Packet(ch room.Channel, at time.Time, b []byte) {
	switch {
	case h.rec.ended.Load():
		return
	case h.rec.filter.Holds():
		h.packetHolding(ch, at, b)
		return
	}
	if reason := h.rec.dropReason(ch, b); reason != "" {
		h.rec.countDropped(reason, at)
		return
	}
	h.store(ch, at, b)
}

// store appends a packet that may be recorded.
func (h *handler) store(ch room.Channel, at time.Time, b []byte) {
	f := segment.Frame{
		Type: segment.FramePacket, Channel: segment.Channel(ch), Epoch: h.epoch,
		UnixNS: at.UnixNano(), Payload: b,
	}
	if err := h.append(f, ""); err == nil {
		h.rec.metrics.packet(ch, len(b))
	}
}

// Event records the server's reports about participants, data tracks and the room. It ignores write
// errors because they have already ended the connection, see abandonFrame.
func (h *handler) Event(ev room.Event) {
	if h.rec.ended.Load() {
		return
	}
	now := time.Now().UnixNano()
	switch ev.Type {
	case room.ParticipantJoined:
		_ = h.participantJoined(now, ev.Participant)
		h.announced()
	case room.ParticipantLeft:
		h.rec.filter.ParticipantLeft(ev.Participant.SID)
		_ = h.participantLeft(now, participantEvent(textegress.KindParticipantLeft, ev.Participant))
	case room.ParticipantUpdated:
		_ = h.participantUpdated(now, ev.Participant)
		h.announced()
	case room.DataTrackSubscribed:
		t := ev.Track
		if !h.rec.filter.Track(t.Handle, t.ParticipantSID, t.Identity, t.Name) {
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
		if h.updated != nil {
			h.updated(session.Room{SID: ev.RoomSID, Metadata: ev.RoomMetadata})
		}
	case room.SignalLost:
		h.log.Info("signalling lost; the data channels still work")
	case room.SignalResumed:
		h.log.Info("signalling resumed")
	}
}

func (h *handler) event(unixNS int64, ev segment.Event) error {
	f, err := eventFrame(h.epoch, unixNS, ev)
	if err != nil {
		return err
	}
	identity := ev.Identity
	if ev.Kind == textegress.KindJoined { // the recorder's own
		identity = ""
	}
	if err := h.append(f, identity); !errors.Is(err, errExcluded) {
		return err
	}
	return nil
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
