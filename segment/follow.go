package segment

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
)

// ErrNotYet reports that a followed recording has no further frame yet.
var ErrNotYet = errors.New("no further frame yet")

// Follow returns a reader of a recording that is being written, by this process or another. list
// returns the existing segments, in order, and whether the recording is complete, that is, whether
// it will receive no more frames. list must determine completeness before it lists the segments.
// Next calls list whenever it has read everything, and holds no file open when it returns
// [ErrNotYet].
//
// The reader returns a frame once it is complete. While the recording is incomplete, the end of the
// last segment never counts as damage, because it may be a frame that is being written. A segment
// without frames may vanish. If a segment that was read vanishes, Next returns an error that wraps
// [fs.ErrNotExist]. The Expected fields of the sources are ignored.
func Follow(list func() (sources []Source, complete bool, err error), o ReaderOptions) *Reader {
	r := NewReader(nil, o)
	r.list, r.complete = list, false
	return r
}

// growing reports whether the current segment may still grow.
func (r *Reader) growing() bool { return !r.complete && r.current == len(r.sources)-1 }

// refresh lists the segments again.
func (r *Reader) refresh() error {
	sources, complete, err := r.list()
	if err != nil {
		return fmt.Errorf("list segments: %w", err)
	}
	if r.current < 0 {
		r.sources, r.complete = sources, complete
		return nil
	}
	name := r.Segment()
	at, found := slices.BinarySearchFunc(sources, name,
		func(s Source, name string) int { return CompareNames(s.Name, name) })
	switch {
	case found:
		r.current = at
	case r.offset == 0: // recovery removes a segment without a complete header
		r.current, r.waiting = at-1, false
	default:
		return fmt.Errorf("read segment %s: %w", name, fs.ErrNotExist)
	}
	r.sources, r.complete = sources, complete
	return nil
}

// suspend keeps the position in the current segment for resume.
func (r *Reader) suspend() {
	r.buf, r.scanner = r.scanner.buffer(), nil
	r.waiting = true
}

// wait checks for a later segment. If there is one, or if the recording is complete, the current
// segment no longer grows, and the reader reads it to its end.
func (r *Reader) wait() error {
	r.suspend()
	if err := r.wrap(r.closeFile()); err != nil {
		return err
	}
	if err := r.refresh(); err != nil {
		return err
	}
	if r.growing() {
		return ErrNotYet
	}
	return nil
}

// resume reads the current segment again from r.offset.
func (r *Reader) resume() error {
	if r.offset < HeaderSize {
		return r.open()
	}
	if err := r.openFile(); err != nil {
		return err
	}
	var err error
	if s, ok := r.file.(io.Seeker); ok {
		_, err = s.Seek(r.offset, io.SeekStart)
	} else {
		_, err = io.CopyN(io.Discard, r.file, r.offset)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return errors.Join(err, r.closeFile())
	}
	r.scanner = resumeScanner(r.file, r.header, r.offset, r.buf)
	return nil
}

func (r *Reader) openFile() error {
	f, err := r.sources[r.current].Open()
	if err == nil {
		r.file = f
		return nil
	}
	if r.list != nil && r.offset == 0 && errors.Is(err, fs.ErrNotExist) {
		// The segment was removed after it was listed, see refresh.
		r.sources = r.sources[:r.current]
		r.current--
		r.waiting = false
		return ErrNotYet
	}
	return err
}
