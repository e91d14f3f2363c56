package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"sync/atomic"

	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/segment"
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
		// A pipe, device or directory with the name of a segment is not a segment, so the segment
		// counts as missing. A symbolic link may point to a segment.
		if t := e.Type(); !t.IsRegular() && t&fs.ModeSymlink == 0 {
			continue
		}
		if _, ok := segment.Number(e.Name()); ok {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, segment.CompareNames)
	return names
}

func (r *Recording) sources(names []string) []segment.Source {
	var sources []segment.Source
	for _, name := range names {
		sources = append(sources, segment.Source{Name: name, Open: func() (io.ReadCloser, error) {
			return r.spool.fs.Open("read-segment", r.path(name))
		}})
	}
	return sources
}

// Sources returns the existing segments in order. Reads of them end with ctx, even if the disk does
// not respond.
func (r *Recording) Sources(ctx context.Context) ([]segment.Source, error) {
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
		sources[i] = patient(ctx, localSource{sources[i], r.silent[name]})
	}
	return sources, nil
}

// SealedSources returns the segments to read: those of Sources, checked against sealed.json if the
// recording is sealed.
func (r *Recording) SealedSources(ctx context.Context) ([]segment.Source, error) {
	sources, err := r.Sources(ctx)
	if err != nil {
		return nil, err
	}
	if s, ok := r.Sealed(); ok {
		sources = segment.Expect(sources, s.Segments)
	}
	return sources, nil
}

// StateFile returns the bytes of the state file name as they are delivered, or an error that wraps
// fs.ErrNotExist. The URLs of webhooks, which may contain passwords, are left out.
func (r *Recording) StateFile(name string) ([]byte, error) {
	b, err := r.spool.fs.ReadFile("read-state", r.path(name))
	if err != nil || name != recordingName {
		return b, err
	}
	return withoutWebhooks(b)
}

// withoutWebhooks returns a recording.json without the URLs of webhooks. It returns a file without
// webhooks unchanged, byte for byte.
func withoutWebhooks(b []byte) ([]byte, error) {
	info, err := DecodeInfo(b)
	if err != nil || len(info.Webhooks) == 0 {
		return b, nil //nolint:nilerr // a damaged file is delivered unchanged
	}
	info.Webhooks = nil
	return encodeState(info)
}

// Frames streams the frames of all segments, see segment.Read. It may run while this process or
// another writes the recording. It then ends at the last complete frame that it finds.
func (r *Recording) Frames() iter.Seq2[segment.Frame, error] {
	return func(yield func(segment.Frame, error) bool) {
		names, err := listSegments(r.spool.fs, r.dir)
		if err != nil {
			yield(segment.Frame{}, fmt.Errorf("recording %s: %w", r.ID(), err))
			return
		}
		for f, err := range segment.Read(r.sources(names)) {
			if err != nil {
				err = fmt.Errorf("recording %s: %w", r.ID(), err)
			}
			if !yield(f, err) {
				return
			}
		}
	}
}

// scanSegment calls found for each finding in a segment.
func scanSegment(src segment.Source, found func(segment.Finding)) error {
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

func scanReader(r io.Reader, found func(segment.Finding)) error {
	s, err := segment.NewScanner(r)
	if err != nil {
		return err
	}
	for {
		it, err := s.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		found(it)
	}
}

// Segments returns descriptions of the segments, from sealed.json or, if the recording is open, by
// reading all segments.
func (r *Recording) Segments() ([]segment.Info, error) {
	if s, ok := r.Sealed(); ok {
		return s.Segments, nil
	}
	infos, err := r.readSegments()
	if err != nil {
		return nil, fmt.Errorf("recording %s: %w", r.ID(), err)
	}
	return infos, nil
}

func (r *Recording) readSegments() ([]segment.Info, error) {
	names, err := listSegments(r.spool.fs, r.dir)
	if err != nil {
		return nil, err
	}
	infos := []segment.Info{}
	for _, src := range r.sources(names) {
		info, err := segment.Describe(src)
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}
