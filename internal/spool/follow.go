package spool

import (
	"github.com/syncflow/textegress/segment"
)

// Follower follows the frames of a recording as they are written, so that each segment can start
// with the state after the frames before it. The writer calls a Follower with a lock held, so a
// Follower must not call the writer.
type Follower interface {
	// Restore sets the state from the head of a segment. If it is called at all, it is called
	// first.
	Restore(s segment.State)
	// Frame accounts for the next frame. Recovered frames come first, then written ones. The
	// payload is valid until Frame returns.
	Frame(f segment.Frame)
	// State returns the state after the frames so far; the writer sets Synced and Suspect.
	State() segment.State
}

// Resume is like [Recording.Writer], for a caller that needs the state after the existing frames:
// when it returns, f has accounted for all of them. Normally it reads only the last segment. It
// also reads earlier segments if the head of the last one is damaged, or if an earlier version,
// which stored no states, wrote them.
func (r *Recording) Resume(f Follower) (*Writer, error) { return r.resume(f) }

// appendState appends the frame with the state to b, the header of a segment, unless there is no
// follower or no earlier frame. It returns the number of frames that it appended. Called with mu
// held.
func (w *Writer) appendState(b []byte, h *segment.Header) ([]byte, uint64) {
	if w.follower == nil || w.nextIndex <= 1 {
		return b, 0
	}
	s := w.follower.State()
	s.Synced, s.Suspect = w.syncedBefore(h.Number), w.recording.firstUnsyncable()
	payload, err := segment.EncodeState(s)
	if err != nil || len(payload) > segment.MaxPayload {
		w.spool.log.Error("cannot write the state at the head of a segment; a recovery would "+
			"take longer",
			"egress_id", w.recording.ID(), "bytes", len(payload), "error", err)
		return b, 0
	}
	// The state frame carries the time of the frame before it, so it reveals nothing about the next
	// frame.
	f := segment.Frame{
		Type: segment.FrameState, Epoch: uint16(s.Epoch), Index: w.nextIndex,
		UnixNS: s.LastUnixNS, Payload: payload,
	}
	return h.AppendFrame(b, &f), 1
}

// syncedBefore returns the highest segment number below the given one such that no segment up to it
// remains to be synced. Called with mu held.
func (w *Writer) syncedBefore(number uint32) uint32 {
	switch {
	case len(w.unsynced) > 0:
		number, _ = segment.Number(w.unsynced[0])
	case len(w.retired) > 0:
		number = w.retired[0].header.Number
	}
	return number - 1
}
