package recorder

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// begin writes the first frames of a new recording. In a recording that an earlier process left
// open, it states the outage since its last frame.
func (r *Recorder) begin(ctx context.Context) error {
	before := r.rec.snapshot()
	if before.lastFrameNS == 0 {
		return r.beginNew(ctx)
	}
	now := time.Now()
	r.lostAt = now
	r.o.Fresh = false
	if before.epoch != 0 && !before.inOutage {
		if err := r.writeOutage(ctx, causeProcessDied, before.lastFrameNS); err != nil {
			return err
		}
	}
	if err := r.writeSetBack(ctx, before.lastFrameNS, now); err != nil {
		return err
	}
	return r.retryUntilWritten(ctx, "state the selection",
		func() error { return r.rec.writeExclusions(now, false) })
}

func (r *Recorder) beginNew(ctx context.Context) error {
	now := time.Now()
	err := r.retryUntilWritten(ctx, "begin the recording", func() error {
		return r.rec.event(now.UnixNano(), segment.Event{
			Kind: textegress.KindRecordingStarted, Source: r.info.Source,
			AnnouncedUnixNS: r.info.AnnouncedUnixNS,
			Part:            r.info.Part, Previous: r.info.Previous,
		})
	})
	if err == nil {
		err = r.retryUntilWritten(ctx, "state the selection",
			func() error { return r.rec.writeRules(now.UnixNano()) })
	}
	if err != nil || r.info.Part < 2 {
		return err
	}
	// The time between two parts is an outage of the session.
	err = r.writeOutage(ctx, cmp.Or(r.info.PreviousReason, causeServiceStopped),
		r.info.PreviousEndedUnixNS)
	if err != nil {
		return err
	}
	return r.writeSetBack(ctx, r.info.PreviousEndedUnixNS, now)
}

// writeSetBack states that the machine's clock was set back while nothing was recorded, if now is
// before beforeNS. A clock that was set forward, or back by less than the elapsed time, cannot be
// detected.
func (r *Recorder) writeSetBack(ctx context.Context, beforeNS int64, now time.Time) error {
	offset := now.UnixNano() - beforeNS
	if offset >= 0 {
		return nil
	}
	return r.retryUntilWritten(ctx, "state that the clock was set back", func() error {
		return r.rec.event(now.UnixNano(), segment.Event{
			Kind: textegress.KindClockStep, OffsetNS: offset, BeforeUnixNS: beforeNS,
			AfterUnixNS: now.UnixNano(), AtLeast: true,
		})
	})
}

// resume opens the recording's writer. The state then includes the frames that an earlier process
// wrote.
func (r *record) resume(rec *spool.Recording) (*spool.Writer, error) {
	r.resuming = true
	defer func() { r.resuming = false }()
	return rec.Resume(r)
}

// Restore implements [spool.Follower].
func (r *record) Restore(s segment.State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = state{
		epoch: s.Epoch, roomSIDs: s.RoomSIDs, present: map[string]string{},
		inOutage: s.InOutage, outages: s.Outages, participants: s.Participants,
		packets: s.Packets, bytes: s.Bytes,
		lastPacketNS: s.LastPacketUnixNS, lastFrameNS: s.LastUnixNS,
	}
	for _, p := range s.Present {
		r.state.present[p.ParticipantSID] = p.Identity
	}
	r.state.restorePeople(s.People, s.Messages)
	if s.Selection != nil {
		r.state.rules = *s.Selection
	}
	r.filter.Restore(s.Streams)
}

// Frame implements [spool.Follower].
func (r *record) Frame(f segment.Frame) {
	if r.resuming && f.Type == segment.FramePacket && f.Channel != segment.ChannelDataTrack {
		r.filter.Learn(f.Payload)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.apply(f)
}

// State implements [spool.Follower]. It leaves out participants that the rules exclude.
func (r *record) State() segment.State {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.state
	out := segment.State{
		Epoch: s.epoch, RoomSIDs: slices.Clone(s.roomSIDs),
		InOutage: s.inOutage, Outages: s.outages, Participants: s.participants,
		Packets: s.packets, Bytes: s.bytes,
		LastPacketUnixNS: s.lastPacketNS, LastUnixNS: s.lastFrameNS,
		Streams: r.filter.OpenStreams(),
	}
	for _, sid := range slices.Sorted(maps.Keys(s.present)) {
		if identity := s.present[sid]; r.filter.Identity(identity) {
			out.Present = append(out.Present,
				segment.Present{ParticipantSID: sid, Identity: identity})
		}
	}
	out.People = s.people.state(r.filter.Identity)
	if all := s.people.all.counts(); all.Messages > 0 {
		out.Messages = &all
	}
	if !s.rules.IsZero() {
		out.Selection = &s.rules
	}
	return out
}
