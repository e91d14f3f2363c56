package recorder

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/filter"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// record is a recording as its recorder writes it: the writer of the spool, and the state derived
// from the frames. Its methods are safe for concurrent use.
type record struct {
	w       *spool.Writer
	filter  *filter.Filter
	metrics *Metrics
	log     *slog.Logger
	drops   dropClock
	// resuming: the frames that come are those of an earlier process.
	resuming bool

	mu    sync.Mutex // guards state; never held across I/O
	state state
}

// state is what a recorder needs to know about the frames so far. It is derived from them alone,
// one by one, so that a recorder that continues a recording knows what its predecessor knew.
type state struct {
	epoch        int                       // number of the connection to the room, 1 for the first
	roomSIDs     []string                  // under which the room was joined
	present      map[string]string         // who is in the room: identities, by participant sid
	inOutage     bool                      // an outage has begun and not ended
	outages      int                       // how many have begun
	rules        textegress.SelectionRules // that the recording states
	participants int                       // how many have joined
	packets      uint64
	bytes        uint64
	lastPacketNS int64 // reception of the last packet, unix
	lastFrameNS  int64 // time of the last frame, unix; 0: there is none
}

// apply accounts for a frame that was written.
func (s *state) apply(f segment.Frame) {
	switch f.Type {
	case segment.FramePacket:
		s.lastFrameNS = f.UnixNS
		s.packets++
		s.bytes += uint64(len(f.Payload))
		s.lastPacketNS = f.UnixNS
	case segment.FrameEvent:
		s.lastFrameNS = f.UnixNS
		ev, err := segment.DecodeEvent(f.Payload)
		if err != nil {
			return // decoding reports it
		}
		s.event(int(f.Epoch), ev)
	}
}

func (s *state) event(epoch int, ev segment.Event) {
	switch ev.Kind {
	case textegress.KindJoined:
		s.epoch = epoch
		if !slices.Contains(s.roomSIDs, ev.RoomSID) {
			s.roomSIDs = append(s.roomSIDs, ev.RoomSID)
		}
	case textegress.KindParticipantJoined:
		if s.present == nil {
			s.present = map[string]string{}
		}
		// A sid is that of one connection of a participant. It is not remembered once that has
		// ended, so somebody who comes and goes for hours costs no memory.
		if _, known := s.present[ev.ParticipantSID]; !known {
			s.participants++
		}
		s.present[ev.ParticipantSID] = ev.Identity
	case textegress.KindParticipantLeft:
		delete(s.present, ev.ParticipantSID)
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

// snapshot returns the state now. Its map is a copy.
func (r *record) snapshot() state {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.state
	s.present = maps.Clone(s.present)
	return s
}

// counts returns what a [Snapshot] shows of the recording.
func (r *record) counts() (packets, bytes uint64, participants, outages int, last time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.state
	if s.lastPacketNS != 0 {
		last = time.Unix(0, s.lastPacketNS)
	}
	return s.packets, s.bytes, s.participants, s.outages, last
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

// removePresent removes a participant who may not be recorded any more, and whose leaving is
// therefore not written.
func (r *record) removePresent(participantSID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.state.present, participantSID)
}

// outageSinceNS is where an outage begins: at the last frame before it, for nothing proves that
// what was sent later would have arrived.
func (r *record) outageSinceNS() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.lastFrameNS
}

// writeFunc is [record.append] or [record.appendReserved].
type writeFunc func(segment.Frame) error

func (r *record) append(f segment.Frame) error { return r.w.Append(f) }

// appendReserved is append for a frame without which the recording would not be true: it may use
// the reserve of a full disk.
func (r *record) appendReserved(f segment.Frame) error { return r.w.AppendReserved(f) }

// event writes one of the recorder's own events, in the present epoch.
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

// beginOutage states an outage that began at sinceNS (unix), unless one has begun already.
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
