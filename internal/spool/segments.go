package spool

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"iter"
	"slices"
	"sync/atomic"

	"github.com/syncflow/textegress/internal/durable"
)

// listSegments returns the names of the segments in dir, in order.
func listSegments(fsys durable.FS, dir string) ([]string, error) {
	entries, err := fsys.ReadDir("list-segments", dir)
	if err != nil {
		return nil, err
	}
	return segmentNames(entries), nil
}

func segmentNames(entries []fs.DirEntry) []string {
	var names []string
	for _, e := range entries {
		// A pipe, a device or a directory with the name of a segment is none: the
		// segment is missing. A link may lead to one.
		if t := e.Type(); !t.IsRegular() && t&fs.ModeSymlink == 0 {
			continue
		}
		if _, ok := segmentNumber(e.Name()); ok {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, CompareSegments)
	return names
}

// CompareSegments orders names of segments by their numbers.
func CompareSegments(a, b string) int {
	x, _ := segmentNumber(a)
	y, _ := segmentNumber(b)
	return cmp.Compare(x, y)
}

func (r *Recording) sources(names []string) []SegmentSource {
	var sources []SegmentSource
	for _, name := range names {
		sources = append(sources, SegmentSource{Name: name, Open: func() (io.ReadCloser, error) {
			return r.spool.fs.Open("read-segment", r.path(name))
		}})
	}
	return sources
}

// Sources returns the segments that are there, in order.
func (r *Recording) Sources() ([]SegmentSource, error) {
	names, err := listSegments(r.spool.fs, r.dir)
	if err != nil {
		return nil, fmt.Errorf("recording %s: %w", r.ID(), err)
	}
	sources := r.sources(names)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.silent == nil {
		r.silent = make(map[string]*atomic.Int32)
	}
	for i, name := range names {
		if r.silent[name] == nil {
			r.silent[name] = new(atomic.Int32)
		}
		sources[i].Silent = r.silent[name]
	}
	return sources, nil
}

// SealedSources returns the segments to be read: those that are there, held
// against sealed.json where there is one.
func (r *Recording) SealedSources() ([]SegmentSource, error) {
	sources, err := r.Sources()
	if err != nil {
		return nil, err
	}
	if s, ok := r.Sealed(); ok {
		sources = HoldAgainst(sources, s.Segments)
	}
	return sources, nil
}

// HoldAgainst returns sources in order, each with what sealed.json says of it, and
// with those that it names and that are missing. nil means that it says nothing of
// segments.
func HoldAgainst(sources []SegmentSource, sealed []SegmentInfo) []SegmentSource {
	if sealed == nil {
		return sources
	}
	infos := make(map[string]SegmentInfo, len(sealed))
	for _, info := range sealed {
		infos[info.Name] = info
	}
	out := make([]SegmentSource, 0, len(sources))
	for _, src := range sources {
		info, known := infos[src.Name]
		if delete(infos, src.Name); !known {
			info = SegmentInfo{} // nothing of it was there
		}
		src.Sealed = &info
		out = append(out, src)
	}
	for _, info := range infos {
		out = append(out, SegmentSource{Name: info.Name, Sealed: &info})
	}
	slices.SortFunc(out, func(a, b SegmentSource) int { return CompareSegments(a.Name, b.Name) })
	return out
}

// StateFile returns the bytes of the state file name, or an error that wraps
// fs.ErrNotExist.
func (r *Recording) StateFile(name string) ([]byte, error) {
	return r.spool.fs.ReadFile("read-state", r.path(name))
}

// Frames streams the frames of all segments, see ReadSegments. It may run while
// the recording is being written, by this process or another, and then ends at
// the last whole frame it finds.
func (r *Recording) Frames() iter.Seq2[Frame, error] {
	return func(yield func(Frame, error) bool) {
		names, err := listSegments(r.spool.fs, r.dir)
		if err != nil {
			yield(Frame{}, fmt.Errorf("recording %s: %w", r.ID(), err))
			return
		}
		for f, err := range ReadSegments(r.sources(names)) {
			if err != nil {
				err = fmt.Errorf("recording %s: %w", r.ID(), err)
			}
			if !yield(f, err) {
				return
			}
		}
	}
}

// LastFrame returns the last readable frame, false where there is none. Its
// payload is a copy. It reads as few segments as it can, from the last one on.
func (r *Recording) LastFrame() (Frame, bool, error) {
	names, err := listSegments(r.spool.fs, r.dir)
	if err != nil {
		return Frame{}, false, fmt.Errorf("recording %s: %w", r.ID(), err)
	}
	for _, src := range slices.Backward(r.sources(names)) {
		f, ok, err := lastFrame(src)
		if err != nil || ok {
			return f, ok, err
		}
	}
	return Frame{}, false, nil
}

func lastFrame(src SegmentSource) (last Frame, ok bool, err error) {
	err = scanSegment(src, func(it item) {
		if it.kind == itemFrame {
			payload := append(last.Payload[:0], it.frame.Payload...)
			last, ok = it.frame, true
			last.Payload = payload
		}
	})
	return last, ok, err
}

// scanSegment calls found for everything in a segment.
func scanSegment(src SegmentSource, found func(item)) error {
	r, err := src.Open()
	if err == nil {
		err = scanReader(r, found)
		if cerr := r.Close(); err == nil {
			err = cerr
		}
	}
	if err != nil {
		return fmt.Errorf("read segment %s: %w", src.Name, err)
	}
	return nil
}

func scanReader(r io.Reader, found func(item)) error {
	s, err := newScanner(r, nil)
	if err != nil {
		return err
	}
	for {
		it, err := s.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		found(it)
	}
}

// Segments describes the segments: from sealed.json, or by reading all of them
// where the recording is open.
func (r *Recording) Segments() ([]SegmentInfo, error) {
	if s, ok := r.Sealed(); ok {
		return s.Segments, nil
	}
	infos, err := r.readSegments()
	if err != nil {
		return nil, fmt.Errorf("recording %s: %w", r.ID(), err)
	}
	return infos, nil
}

func (r *Recording) readSegments() ([]SegmentInfo, error) {
	names, err := listSegments(r.spool.fs, r.dir)
	if err != nil {
		return nil, err
	}
	infos := []SegmentInfo{}
	for _, src := range r.sources(names) {
		info, err := describeSegment(src)
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}

func describeSegment(src SegmentSource) (SegmentInfo, error) {
	d := digest{Hash: sha256.New()}
	info := SegmentInfo{Name: src.Name}
	err := scanSegment(SegmentSource{Name: src.Name, Open: func() (io.ReadCloser, error) {
		f, err := src.Open()
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{io.TeeReader(f, &d), f}, nil
	}}, func(it item) {
		if it.kind == itemFrame {
			info.Frames++
		}
	})
	if err != nil {
		return SegmentInfo{}, err
	}
	info.Size, info.SHA256 = d.size, hex.EncodeToString(d.Sum(nil))
	return info, nil
}

// digest hashes and counts what a scanner reads, which is the whole file.
type digest struct {
	hash.Hash
	size int64
}

func (d *digest) Write(b []byte) (int, error) {
	d.size += int64(len(b))
	return d.Hash.Write(b)
}
