package recorder

import (
	"cmp"
	"context"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/segment"
)

// begin writes the first frames of a new recording; in one that an earlier process left open it
// states the outage since then.
func (r *Recorder) begin(ctx context.Context) error {
	if err := r.replay(); err != nil {
		return err
	}
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
		func() error { return r.rec.writeRules(now.UnixNano()) })
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

// writeSetBack states that the machine's clock was set back while nothing was recorded, where it
// reads an earlier time than before. A clock that was set forward, or back by less, cannot be told.
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

// replay takes into account what an earlier process wrote.
func (r *Recorder) replay() error {
	for f, err := range r.spooled.Frames() {
		if err != nil {
			return err
		}
		r.rec.replayed(f)
		if f.Type == segment.FramePacket && f.Channel != segment.ChannelDataTrack {
			r.o.Selection.Learn(f.Payload)
		}
	}
	return nil
}
