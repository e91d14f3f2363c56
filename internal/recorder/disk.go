package recorder

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// The causes of an outage that the disk made. Those of the connection are
// LiveKit's reasons.
const (
	causeDiskFull = "disk_full"
	causeDisk     = "disk" // any other error of writing
)

// The disk gets appendPatience to recover while reading stands still and LiveKit
// keeps the data for us; then the room is left, and an outage begins. It is tried
// again every appendPause.
const (
	appendPatience = 30 * time.Second
	appendPause    = 200 * time.Millisecond
	// A recorder that was driven out of the room asks every writablePoll whether
	// packets are accepted again, and after so many times whether the session
	// still runs.
	writablePoll  = time.Second
	writablePolls = 10
)

// errGivenUp refuses everything that comes after a frame that was given up: what
// is written after a hole must stand behind the outage that states it.
var errGivenUp = errors.New("an earlier frame could not be written")

// append writes one frame. A disk that refuses blocks the reader, so that LiveKit
// keeps the data for us, before anything is given up.
func (h *handler) append(f segment.Frame) error {
	select {
	case <-h.broken:
		return errGivenUp
	default:
	}
	err := h.r.write(f)
	if err == nil {
		return nil
	}
	return h.insist(f, err)
}

// insist tries to write f again until it is written, the patience is over, or the
// service stops.
func (h *handler) insist(f segment.Frame, err error) error {
	// Where the outage begins should f be given up: with the last frame written
	// before, or with f, whichever is older; the channels write independently.
	since := f.UnixNS
	if last := h.r.lastFrameNS.Load(); last != 0 {
		since = min(since, last)
	}
	if h.waiting.Add(1) == 1 {
		h.r.log.Error("cannot write to the spool; reading stands still", "error", err)
	}
	defer h.waiting.Add(-1)
	deadline := time.NewTimer(appendPatience)
	defer deadline.Stop()
	again := time.NewTicker(appendPause)
	defer again.Stop()
	for over := isFinal(err); !over; {
		select {
		case <-h.broken:
			over = true
			continue
		case <-deadline.C:
			over = true
		case <-h.ctx.Done():
			over = true
		case <-again.C:
		}
		if err = h.r.write(f); err == nil {
			h.r.log.Info("the spool can be written again")
			return nil
		}
	}
	h.giveUp(err, since)
	return err
}

// isFinal reports whether trying again is of no use.
func isFinal(err error) bool {
	return errors.Is(err, spool.ErrClosed) || errors.Is(err, spool.ErrSealed) ||
		errors.Is(err, segment.ErrTooLarge)
}

// giveUp ends the stay: a frame whose outage begins at sinceNS was not written.
func (h *handler) giveUp(err error, sinceNS int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		h.err, h.sinceNS = err, sinceNS
		close(h.broken)
	}
	h.sinceNS = min(h.sinceNS, sinceNS)
}

// lost returns where the outage begins and why a frame was given up, nil if none
// was. It is valid when the handler is not called any more.
func (h *handler) lost() (sinceNS int64, why error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sinceNS, h.err
}

// diskOutage states the outage of a stay that ended because a frame could not be
// written. An error means that the recording stays open as it is.
func (r *Recorder) diskOutage(ctx context.Context, why error, sinceNS int64) error {
	cause := causeDisk
	if spool.IsDiskFull(why) {
		cause = causeDiskFull
	}
	r.lostAt = time.Now()
	if err := r.stateOutage(ctx, cause, sinceNS); err != nil {
		return errors.Join(why, err)
	}
	return nil
}

// writable waits until packets are accepted, for a while; to join before would
// only mean to leave again.
func (r *Recorder) writable(ctx context.Context) bool {
	for range writablePolls {
		err := r.w.Writable()
		if err == nil {
			return true
		}
		r.cannotJoin("DATA_DIR takes no packets: " + err.Error())
		if !sleep(ctx, writablePoll) {
			return false
		}
	}
	return false
}

// stateOutage is beginOutage for as long as it takes.
func (r *Recorder) stateOutage(ctx context.Context, cause string, sinceNS int64) error {
	return r.insist(ctx, "state an outage", func() error { return r.beginOutage(cause, sinceNS) })
}

// insist does what must be written until it succeeds. When the service stops it
// gives up: the recording stays open, and the next start goes on with it.
func (r *Recorder) insist(ctx context.Context, what string, do func() error) error {
	for pause := appendPause; ; pause = min(2*pause, longestPause) {
		err := do()
		if err == nil {
			return nil
		}
		if pause == appendPause {
			r.log.Error("cannot write to the spool; trying again until it is possible", "what",
				what, "error", err)
		}
		if isFinal(err) || !sleep(ctx, pause) {
			return fmt.Errorf("recording %s stays open: %s: %w", r.info.EgressID, what, err)
		}
	}
}
