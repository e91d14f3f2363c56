package recorder

import (
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/filter"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// record is a recording that is being written: the writer of the spool and the state derived from
// the frames. Its methods are safe for concurrent use.
type record struct {
	w       *spool.Writer
	filter  *filter.Filter
	metrics *Metrics
	log     *slog.Logger
	drops   dropClock
	ended   atomic.Bool // somebody stopped the recording: nothing that arrives is recorded
	// resuming is true while Frame is called for the frames of an earlier process.
	resuming bool
	// gate is read-locked while one frame is judged and written, and locked while participants are
	// excluded: no frame of theirs follows the event that states it.
	gate sync.RWMutex

	mu     sync.Mutex // guards the fields below; never held across I/O
	state  state
	hidden map[string]room.Participant // excluded by Exclude and in the room, by sid
}

// state is the state of a recording after the frames so far. It is derived from the frames alone,
// one by one, so that a recorder that continues a recording has the same state as its predecessor.
type state struct {
	epoch    int      // number of the connection to the room, starting at 1
	roomSIDs []string // sids under which the room was joined
	// identities of the participants in the room, by participant sid
	present      map[string]string
	inOutage     bool                      // an outage has begun and has not ended
	outages      int                       // number of outages begun
	rules        textegress.SelectionRules // rules that the recording states
	participants int                       // number of participants who have joined
	packets      uint64
	bytes        uint64
	lastPacketNS int64 // reception of the last packet, unix ns
	lastFrameNS  int64 // time of the last frame, unix ns; 0: no frame yet
	people       people
}

// apply updates the state with a written frame.
func (s *state) apply(f segment.Frame) {
	switch f.Type {
	case segment.FramePacket:
		s.lastFrameNS = f.UnixNS
		s.packets++
		s.bytes += uint64(len(f.Payload))
		s.lastPacketNS = f.UnixNS
		s.packet(f)
	case segment.FrameEvent:
		s.lastFrameNS = f.UnixNS
		ev, err := segment.DecodeEvent(f.Payload)
		if err != nil {
			return // the decoder reports the error
		}
		s.event(f, ev)
	}
}

func (s *state) event(f segment.Frame, ev segment.Event) {
	switch ev.Kind {
	case textegress.KindJoined:
		s.epoch = int(f.Epoch)
		s.people.tracks = nil // handles are valid for one connection only
		if !slices.Contains(s.roomSIDs, ev.RoomSID) {
			s.roomSIDs = append(s.roomSIDs, ev.RoomSID)
		}
	case textegress.KindParticipantJoined:
		s.join(f.UnixNS, ev)
	case textegress.KindParticipantLeft:
		s.leave(f.UnixNS, ev.ParticipantSID)
		s.optedOut(ev)
	case textegress.KindParticipantUpdated:
		s.updated(ev)
	case textegress.KindDataTrackSubscribed:
		s.people.subscribed(ev.Handle, ev.Identity)
	case textegress.KindSelection:
		s.rules = textegress.SelectionRules{}
		if ev.Selection != nil {
			s.rules = *ev.Selection
		}
	case textegress.KindOutageStarted:
		s.inOutage = true
		s.outages++
	case textegress.KindOutageEnded:
		s.inOutage = false
	}
}

// snapshot returns the current state, with a copy of the map.
func (r *record) snapshot() state {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.state
	s.present = maps.Clone(s.present)
	s.people = people{} // guarded by mu
	return s
}

// counts sets the counts of a [Snapshot].
func (r *record) counts(out *Snapshot) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.state
	out.Packets, out.Bytes, out.Participants, out.Outages = s.packets, s.bytes, s.participants,
		s.outages
	out.LastPacketAt = timeOf(s.lastPacketNS)
	out.Messages, out.Recent, out.MorePeople = s.people.all.n, s.people.all.last(now),
		s.people.omitted
}

// everJoined reports whether the room was ever joined.
func (r *record) everJoined() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.state.roomSIDs) > 0
}

func (r *record) isPresent(participantSID string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.state.present[participantSID]
	return ok
}

// removePresent removes a participant without a ParticipantLeft event, because the participant must
// no longer be recorded.
func (r *record) removePresent(participantSID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.leave(0, participantSID)
}

// outageSinceNS returns the start of an outage: the time of the last frame before it, because
// nothing proves that packets sent later would have arrived.
func (r *record) outageSinceNS() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.lastFrameNS
}

// writeFunc is [record.append] or [record.appendReserved].
type writeFunc func(segment.Frame) error

func (r *record) append(f segment.Frame) error { return r.w.Append(f) }

// errExcluded reports that a frame was not written because its participant has been excluded since
// it was judged.
var errExcluded = errors.New("the participant has been excluded")

// appendAbout is append for a packet, or for an event about a participant, that was judged before.
func (r *record) appendAbout(f segment.Frame, identity string) error {
	r.gate.RLock()
	defer r.gate.RUnlock()
	if f.Type == segment.FramePacket {
		track := f.Channel == segment.ChannelDataTrack
		if reason := r.filter.DropNow(f.Payload, track); reason != "" {
			r.metrics.dropped(reason)
			return errExcluded
		}
	} else if r.filter.Excluded(identity) {
		return errExcluded
	}
	return r.w.Append(f)
}

// appendReserved appends a frame without which the recording would be incorrect. It may use the
// reserve of a full disk.
func (r *record) appendReserved(f segment.Frame) error { return r.w.AppendReserved(f) }

// event writes one of the recorder's own events, in the current epoch.
func (r *record) event(unixNS int64, ev segment.Event) error {
	return r.writeEvent(r.appendReserved, unixNS, ev)
}

func (r *record) writeEvent(write writeFunc, unixNS int64, ev segment.Event) error {
	r.mu.Lock()
	epoch := r.state.epoch
	r.mu.Unlock()
	f, err := eventFrame(uint16(epoch), unixNS, ev)
	if err != nil {
		return err
	}
	return write(f)
}

// beginOutage states an outage that began at sinceNS (unix ns), unless the recording is already in
// an outage.
func (r *record) beginOutage(cause string, sinceNS int64) error {
	r.mu.Lock()
	begun := r.state.inOutage
	r.mu.Unlock()
	if begun {
		return nil
	}
	if err := r.writeDropped(r.appendReserved); err != nil {
		return err
	}
	if err := r.event(time.Now().UnixNano(), segment.Event{
		Kind:  textegress.KindOutageStarted,
		Cause: cause, SinceUnixNS: sinceNS,
	}); err != nil {
		return err
	}
	r.metrics.outage(cause)
	r.log.Warn("outage began", "cause", cause)
	return nil
}
