package recorder

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/internal/diskguard"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// A packet on a full disk:
//
//  1. The write fails, and [spool.Writer] removes the partial frame. From then on, diskguard
//     rejects packets without a write until there is space.
//  2. The recorder retries the write every appendPause. Meanwhile it does not read the channel
//     (back-pressure), and LiveKit keeps the data.
//  3. After appendTimeout it abandons the frame and leaves the room.
//  4. It states an outage with the cause disk_full. The ballast is released for this frame, if
//     necessary.
//  5. Once packets are accepted again, it rejoins, which ends the outage. LiveKit then sends only
//     the reliable packets of the last seconds (see keptForJoining); the outage covers the others.
//
// Other write errors are handled in the same way, with the cause disk.
const (
	appendTimeout = 30 * time.Second
	appendPause   = 200 * time.Millisecond
	// A recorder that has left the room because of the disk checks every writablePoll whether
	// packets are accepted again. After writablePolls of these checks, it checks whether the
	// session is still running.
	writablePoll  = time.Second
	writablePolls = 10
)

// errAbandoned rejects every frame after an abandoned one, because frames after the gap must follow
// the outage that states it.
var errAbandoned = errors.New("an earlier frame could not be written")

// append writes one frame, which is a packet, or an event about the participant with the given
// identity; "" is an event about nobody. If the disk rejects the frame, append retries the write and blocks the
// reader meanwhile, so that LiveKit keeps the data. Only then does it abandon the frame.
func (h *handler) append(f segment.Frame, identity string) error {
	select {
	case <-h.broken:
		return errAbandoned
	default:
	}
	err := h.rec.appendAbout(f, identity)
	if err == nil || errors.Is(err, errExcluded) {
		return err
	}
	return h.retryWrite(f, identity, err)
}

// retryWrite retries the write of f until it succeeds, appendTimeout has passed, or the service
// stops. err is the error of the first write.
func (h *handler) retryWrite(f segment.Frame, identity string, err error) error {
	// If f is abandoned, the outage begins at the last frame written before it or at f, whichever
	// is older, because the channels write independently.
	since := f.UnixNS
	if last := h.rec.outageSinceNS(); last != 0 {
		since = min(since, last)
	}
	if h.waiting.Add(1) == 1 {
		h.log.Error("cannot write to the spool; the recorder stops reading (back-pressure)",
			"error", err)
	}
	defer h.waiting.Add(-1)
	deadline := time.NewTimer(appendTimeout)
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
		err = h.rec.appendAbout(f, identity)
		if err == nil || errors.Is(err, errExcluded) {
			h.log.Info("the spool can be written again")
			return err
		}
	}
	h.abandonFrame(err, since)
	return err
}

// isFinal reports whether a retry would fail as well.
func isFinal(err error) bool {
	return errors.Is(err, spool.ErrClosed) || errors.Is(err, spool.ErrSealed) ||
		errors.Is(err, segment.ErrTooLarge)
}

// abandonFrame ends the connection because a frame was not written. The outage of the frame begins
// at sinceNS.
func (h *handler) abandonFrame(err error, sinceNS int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		h.err, h.sinceNS = err, sinceNS
		close(h.broken)
	}
	h.sinceNS = min(h.sinceNS, sinceNS)
}

// writeError returns why a frame was abandoned and when its outage begins. It returns nil if no
// frame was abandoned. The result is valid once the handler is no longer called.
func (h *handler) writeError() (sinceNS int64, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sinceNS, h.err
}

// writeDiskOutage states the outage of a connection that ended because a frame could not be
// written. An error means that the recording stays open as it is.
func (r *Recorder) writeDiskOutage(ctx context.Context, why error, sinceNS int64) error {
	cause := causeDisk
	if diskguard.IsFull(why) {
		cause = causeDiskFull
	}
	r.lostAt = time.Now()
	if err := r.writeOutage(ctx, cause, sinceNS); err != nil {
		return errors.Join(why, err)
	}
	return nil
}

// waitWritable waits until packets are accepted, for up to writablePolls checks. A recorder that
// joined earlier would have to leave again.
func (r *Recorder) waitWritable(ctx context.Context) bool {
	for range writablePolls {
		err := r.rec.w.Writable()
		if err == nil {
			return true
		}
		r.noteJoinError("DATA_DIR takes no packets: " + err.Error())
		if backoff.Sleep(ctx, writablePoll) != nil {
			return false
		}
	}
	return false
}

// writeOutage calls [record.beginOutage] until the outage is written.
func (r *Recorder) writeOutage(ctx context.Context, cause string, sinceNS int64) error {
	return r.retryUntilWritten(ctx, "state an outage",
		func() error { return r.rec.beginOutage(cause, sinceNS) })
}

// retryUntilWritten calls write until it succeeds. It returns an error when the service stops or if
// a retry cannot succeed. The recording then stays open, and the next start continues it.
func (r *Recorder) retryUntilWritten(ctx context.Context, what string, write func() error) error {
	pauses := backoff.New(backoff.Policy{
		First: appendPause, Max: longestPause, Jitter: backoff.None,
	})
	for {
		err := write()
		if err == nil {
			return nil
		}
		if pauses.Failures() == 0 {
			r.log.Error("cannot write to the spool; retrying until it succeeds", "what", what,
				"error", err)
		}
		if isFinal(err) || pauses.Wait(ctx) != nil {
			return fmt.Errorf("recording %s stays open: %s: %w", r.info.EgressID, what, err)
		}
	}
}
