package spool

import (
	"github.com/syncflow/textegress/segment"
)

// Follower follows the frames of a recording as they are written, so that each segment can begin
// with what follows from those before it. The writer calls it with a lock held: it must not call
// the writer.
type Follower interface {
	// Restore takes the state at the head of a segment. It is called first, or not at all.
	Restore(s segment.State)
	// Frame takes the next frame: of those that are recovered, then of those that are written. Its
	// payload is valid until Frame returns.
	Frame(f segment.Frame)
	// State returns what follows from the frames so far; Synced and Suspect are the writer's.
	State() segment.State
}

// Resume is [Recording.Writer] for a caller who has to know what follows from the frames that are
// there already: f has taken all of them into account when it returns. It reads only the last
// segment. It reads those before it where its head is damaged, or where an earlier version, which
// wrote no states, wrote the segments.
func (r *Recording) Resume(f Follower) (*Writer, error) { return r.resume(f) }

// appendState appends the frame with the state to b, the header of a segment, unless there is
// nothing that it could follow from. It returns the number of frames that it has appended. Called
// with mu held.
func (w *Writer) appendState(b []byte, h *segment.Header) ([]byte, uint64) {
	if w.follower == nil || w.nextIndex <= 1 {
		return b, 0
	}
	s := w.follower.State()
	s.Synced, s.Suspect = w.syncedBefore(h.Number), w.recording.firstUnsyncable()
	payload, err := segment.EncodeState(s)
	if err != nil || len(payload) > segment.MaxPayload {
		w.spool.log.Error("a segment begins without a state, so that a recovery would take longer",
			"egress_id", w.recording.ID(), "bytes", len(payload), "error", err)
		return b, 0
	}
	// Its time is that of the frame before it, so that it tells nothing of the one behind it.
	f := segment.Frame{
		Type: segment.FrameState, Epoch: uint16(s.Epoch), Index: w.nextIndex,
		UnixNS: s.LastUnixNS, Payload: payload,
	}
	return h.AppendFrame(b, &f), 1
}

// syncedBefore returns the number of the last segment before the one with this number up to which
// none has to be synced any more. Called with mu held.
func (w *Writer) syncedBefore(number uint32) uint32 {
	switch {
	case len(w.unsynced) > 0:
		number, _ = segment.Number(w.unsynced[0])
	case len(w.retired) > 0:
		number = w.retired[0].header.Number
	}
	return number - 1
}
