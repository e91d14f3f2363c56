package spool

import (
	"errors"
	"fmt"
	"io"

	"github.com/syncflow/textegress/segment"
)

// prepare readies a writer for a recording that already has segments. It cuts the torn tail of the
// last segment, makes the segment durable (the process that wrote it may have died before it did
// so), and determines where to continue, see head. It does not alter segments otherwise. Called
// with syncMu held, before other goroutines can use the writer. The names of the segments became
// durable when the spool was opened or when the previous writer was closed.
func (w *Writer) prepare() (err error) {
	names, err := w.removeEmpty()
	if err != nil {
		return err
	}
	from, state, err := w.head(names)
	if err != nil {
		return err
	}
	torn, err := w.replay(names[from:], from > 0)
	if err != nil {
		return err
	}
	w.number = 1
	if len(names) == 0 {
		return nil
	}
	defer func() {
		if err == nil && len(w.unsynced) == 0 {
			w.recording.advance(w.nextIndex - 1)
		}
	}()
	last := names[len(names)-1]
	number, _ := segment.Number(last)
	w.number = number + 1
	if torn > 0 {
		if err := w.truncate(last, torn); err != nil {
			return err
		}
	}
	if state == nil { // no state lists the durable segments
		for _, name := range w.notSynced(names, 0) {
			w.syncRecovered(name)
		}
		return nil
	}
	if state.Suspect != "" {
		w.recording.markSuspect(state.Suspect) // writing suspect.json may have failed
	}
	for _, name := range w.notSynced(names[len(names)-1:], state.Synced) {
		w.syncRecovered(name)
	}
	// No caller waits for the earlier segments. The syncer syncs them within its interval, as it
	// does in the process that writes them.
	if w.unsynced = w.notSynced(names[:len(names)-1], state.Synced); len(w.unsynced) > 0 {
		w.markDirty()
	}
	return nil
}

// notSynced returns the segments with a number above synced, except those whose fsync failed in
// this process.
func (w *Writer) notSynced(names []string, synced uint32) []string {
	var out []string
	for _, name := range names {
		if n, _ := segment.Number(name); n > synced && !w.recording.isUnsyncable(name) {
			out = append(out, name)
		}
	}
	return out
}

// syncRecovered makes a segment of an earlier process durable, or marks it as suspect. Called with
// syncMu held.
func (w *Writer) syncRecovered(name string) {
	err := w.syncOld(name)
	w.mu.Lock()
	if len(w.unsynced) > 0 && w.unsynced[0] == name {
		w.unsynced = w.unsynced[1:]
	}
	if err != nil && w.syncErr == nil {
		w.syncErr = fmt.Errorf("segment %s is not durable: %w", name, err)
	}
	w.mu.Unlock()
	if err == nil {
		return
	}
	_ = w.spool.metrics.count(opSync, err)
	w.spool.log.Error("cannot make a recovered segment durable",
		"egress_id", w.recording.ID(), "segment", name, "error", err)
	w.spool.syncFailed(w.recording.ID())
	w.recording.markSuspect(name)
}

// removeEmpty returns the names of the existing segments. It first removes trailing segments
// without a complete header, which hold no frames.
func (w *Writer) removeEmpty() ([]string, error) {
	r := w.recording
	names, err := listSegments(w.spool.fs, r.dir)
	if err != nil {
		return nil, err
	}
	for len(names) > 0 {
		last := names[len(names)-1]
		header, _, err := r.readHead(last)
		if err != nil {
			return nil, err
		}
		if header {
			return names, nil
		}
		corrupt := false
		err = scanSegment(r.sources([]string{last})[0], func(it segment.Finding) {
			corrupt = corrupt || it.Kind == segment.FoundCorrupt
		})
		if err != nil {
			return nil, err
		}
		if corrupt { // both copies of the header are damaged
			return names, nil
		}
		if err := w.spool.fs.Remove("recover", r.path(last)); err != nil {
			return nil, err
		}
		names = names[:len(names)-1]
	}
	return names, nil
}

// head finds the segment at which replay must start. With a follower, this is the last segment that
// starts with a state, which head passes to the follower, or else the first segment. Without a
// follower, it is the last segment with a header, because the header holds the index.
func (w *Writer) head(names []string) (from int, state *segment.State, err error) {
	for i := len(names) - 1; i > 0; i-- {
		header, state, err := w.recording.readHead(names[i])
		switch {
		case err != nil:
			return 0, nil, err
		case w.follower == nil && header:
			return i, nil, nil
		case w.follower != nil && state != nil:
			w.follower.Restore(*state)
			return i, state, nil
		}
	}
	return 0, nil, nil
}

// replay reads segments, passes their frames to the follower, and sets the index of the next frame.
// It returns the offset of the torn tail of the last segment, 0 if there is none.
func (w *Writer) replay(names []string, partial bool) (torn int64, err error) {
	r := segment.NewReader(w.recording.sources(names), segment.ReaderOptions{Partial: partial})
	for {
		f, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, errors.Join(err, r.Close())
		}
		if w.follower != nil && f.Type != segment.FrameState {
			w.follower.Frame(f)
		}
	}
	torn, _ = r.TornTail()
	w.nextIndex = r.NextIndex()
	return torn, r.Close()
}

func (w *Writer) truncate(name string, size int64) error {
	f, err := w.spool.fs.OpenWrite("recover", w.recording.path(name))
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

func (w *Writer) syncOld(name string) error {
	f, err := w.spool.fs.OpenWrite("recover", w.recording.path(name))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// readHead reports whether a segment has a header, and returns the state that follows it. The state
// is nil if there is no usable one.
func (r *Recording) readHead(name string) (header bool, state *segment.State, err error) {
	f, err := r.spool.fs.Open("recover", r.path(name))
	if err != nil {
		return false, nil, err
	}
	header, state, err = scanHead(f)
	return header, state, errors.Join(err, f.Close())
}

func scanHead(f io.Reader) (header bool, state *segment.State, err error) {
	s, err := segment.NewScanner(f)
	if err != nil {
		return false, nil, err
	}
	if _, ok := s.Header(); !ok {
		return false, nil, nil
	}
	for {
		found, err := s.Next()
		switch {
		case errors.Is(err, io.EOF):
			return true, nil, nil
		case err != nil:
			return true, nil, err
		case found.Offset < segment.HeaderSize: // one copy of the header is damaged
			continue
		case found.Kind != segment.FoundFrame || found.Frame.Type != segment.FrameState:
			return true, nil, nil
		}
		return true, decodeState(found.Frame.Payload), nil
	}
}

// decodeState returns nil if the state is damaged or was emptied (see [Spool.Rewrite]).
func decodeState(payload []byte) *segment.State {
	s, err := segment.DecodeState(payload)
	if err != nil || s.LastUnixNS == 0 {
		return nil
	}
	return &s
}
