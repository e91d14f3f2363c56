package spool

import (
	"errors"
	"fmt"
	"io"

	"github.com/syncflow/textegress/segment"
)

// prepare readies a writer for a recording that has segments from before: it
// cuts the torn tail of the last one, makes all of them durable (the process
// that wrote them may not have come to that) and finds where to go on. Segments
// are not altered otherwise. Called with syncMu held, before anybody else knows
// the writer. The names of the segments were made durable when the spool was
// opened or when the writer before was closed.
func (w *Writer) prepare() error {
	names, err := w.recoverTail()
	if err != nil {
		return err
	}
	if w.nextIndex, err = w.recording.nextIndex(names); err != nil {
		return err
	}
	w.number = 1
	for _, name := range names {
		n, _ := segment.Number(name)
		w.number = n + 1
		if w.recording.isUnsyncable(name) {
			continue
		}
		if err := w.syncOld(name); err != nil {
			_ = w.spool.metrics.count(opSync, err)
			w.spool.log.Error("cannot make a recovered segment durable",
				"egress_id", w.recording.ID(), "segment", name, "error", err)
			w.syncErr = fmt.Errorf("segment %s is not durable: %w", name, err)
			w.spool.syncFailed(w.recording.ID())
			w.recording.markSuspect(name)
		}
	}
	return nil
}

// recoverTail cuts the torn tail and returns the segments that are left. A
// segment without a whole header holds no frame and is removed; then the one
// before it is the last.
func (w *Writer) recoverTail() ([]string, error) {
	r := w.recording
	names, err := listSegments(w.spool.fs, r.dir)
	if err != nil {
		return nil, err
	}
	for len(names) > 0 {
		last := names[len(names)-1]
		torn, size := int64(-1), int64(0)
		err := scanSegment(r.sources([]string{last})[0], func(it segment.Finding) {
			size = it.Offset + it.Size
			if it.Kind == segment.FoundTorn {
				torn = it.Offset
			}
		})
		if err != nil {
			return nil, err
		}
		switch {
		case torn < 0 && size > 0:
			return names, nil
		case torn >= segment.HeaderSize:
			return names, w.truncate(last, torn)
		}
		header, err := r.hasHeader(last)
		if err != nil {
			return nil, err
		}
		if header { // and nothing behind it
			return names, nil
		}
		if err := w.spool.fs.Remove("recover", r.path(last)); err != nil {
			return nil, err
		}
		names = names[:len(names)-1]
	}
	return names, nil
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

func (r *Recording) hasHeader(name string) (bool, error) {
	f, err := r.spool.fs.Open("recover", r.path(name))
	if err != nil {
		return false, err
	}
	s, err := segment.NewScanner(f)
	if err != nil {
		return false, errors.Join(err, f.Close())
	}
	_, ok := s.Header()
	return ok, f.Close()
}

// nextIndex returns the index of the next frame. It reads the last segment, and
// those before it only where a header is unreadable.
func (r *Recording) nextIndex(names []string) (uint64, error) {
	from := len(names)
	for from > 0 {
		from--
		ok, err := r.hasHeader(names[from])
		if err != nil {
			return 0, err
		}
		if ok {
			break
		}
	}
	reader := segment.NewReader(r.sources(names[from:]), segment.ReaderOptions{Partial: from > 0})
	for {
		_, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return reader.NextIndex(), reader.Close()
		}
		if err != nil {
			return 0, errors.Join(err, reader.Close())
		}
	}
}
