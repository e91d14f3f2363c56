package recorder

import (
	"cmp"
	"context"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/segment"
)

// begin writes the first frame of a new recording, or, when the recording was
// left open by a process that died, takes up its state and states the outage.
func (r *Recorder) begin(ctx context.Context) error {
	now := time.Now()
	last, found, err := r.replay()
	if err != nil {
		return err
	}
	if !found {
		err := r.insist(ctx, "begin the recording", func() error {
			return r.event(now.UnixNano(), segment.Event{
				Kind: textegress.KindRecordingStarted, Source: r.info.Source,
				AnnouncedUnixNS: r.info.AnnouncedUnixNS,
				Part:            r.info.Part, Previous: r.info.Previous,
			})
		})
		if err == nil {
			err = r.insist(ctx, "state the selection",
				func() error { return r.stateSelection(now.UnixNano()) })
		}
		if err != nil || r.info.Part < 2 {
			return err
		}
		// The time between two parts is an outage of the session.
		err = r.stateOutage(ctx, cmp.Or(r.info.PreviousReason, causeServiceStopped),
			r.info.PreviousEndedUnixNS)
		if err != nil {
			return err
		}
		return r.stateSetBack(ctx, r.info.PreviousEndedUnixNS, now)
	}
	r.lastFrameNS.Store(last)
	r.lostAt = now
	r.o.Fresh = false
	if r.epoch != 0 && !r.inOutage {
		if err := r.stateOutage(ctx, causeProcessDied, last); err != nil {
			return err
		}
	}
	if err := r.stateSetBack(ctx, last, now); err != nil {
		return err
	}
	return r.insist(ctx, "state the selection",
		func() error { return r.stateSelection(now.UnixNano()) })
}

// stateSetBack states that our clock was set back while nobody recorded, where it reads an earlier
// time than before. That it was set forward, or back by less, nothing tells.
func (r *Recorder) stateSetBack(ctx context.Context, beforeNS int64, now time.Time) error {
	offset := now.UnixNano() - beforeNS
	if offset >= 0 {
		return nil
	}
	return r.insist(ctx, "state that the clock was set back", func() error {
		return r.event(now.UnixNano(), segment.Event{
			Kind: textegress.KindClockStep, OffsetNS: offset, BeforeUnixNS: beforeNS,
			AfterUnixNS: now.UnixNano(), AtLeast: true,
		})
	})
}

// replay reads what an earlier process wrote: the epoch, who was present, under
// which sids the room was joined. It returns the time of the last frame.
func (r *Recorder) replay() (lastNS int64, found bool, err error) {
	for f, err := range r.rec.Frames() {
		if err != nil {
			return 0, false, err
		}
		found = true
		lastNS = f.UnixNS
		if f.Type == segment.FramePacket {
			r.packets.Add(1)
			r.bytes.Add(uint64(len(f.Payload)))
			if f.Channel != segment.ChannelDataTrack {
				r.o.Selection.Learn(f.Payload)
			}
			continue
		}
		ev, err := segment.DecodeEvent(f.Payload)
		if err != nil {
			continue // kept as it is; the export states it
		}
		switch ev.Kind {
		case textegress.KindJoined:
			r.epoch = int(f.Epoch)
			r.roomSIDs[ev.RoomSID] = true
		case textegress.KindParticipantJoined:
			r.arrived(ev.ParticipantSID, ev.Identity)
		case textegress.KindParticipantLeft:
			delete(r.present, ev.ParticipantSID)
		case textegress.KindSelection:
			r.rules = textegress.SelectionRules{}
			if ev.Selection != nil {
				r.rules = *ev.Selection
			}
		case textegress.KindOutageStarted:
			r.inOutage = true
			r.outages.Add(1)
		case textegress.KindOutageEnded:
			r.inOutage = false
		}
	}
	return lastNS, found, nil
}

func (r *Recorder) isPresent(sid string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.present[sid]
	return ok
}

// arrived notes that a participant is in the room. The sid is one of a
// participant's connection, so each that arrives is counted, and none is
// remembered after it left: somebody who comes and goes for hours costs nothing.
func (r *Recorder) arrived(sid, identity string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.present[sid]; !known {
		r.participants.Add(1)
	}
	r.present[sid] = member{identity}
}
