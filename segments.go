package textegress

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/syncflow/textegress/segment"
)

// Segments returns the segments of the canonical record, in order, for [segment.Read]. If
// raw/sealed.json was delivered, the segments are compared with it to detect damaged or missing
// data. Segments returns none for a recording that was delivered without them, for example under
// pseudonyms.
//
// Segments are compressed with Zstandard, which the standard library lacks: decompress returns a
// reader of the content, for example zstd.NewReader of github.com/klauspost/compress/zstd. At most
// the size of a segment is read from it.
func (r *Recording) Segments(decompress func(io.Reader) (io.ReadCloser, error)) (
	[]segment.Source, error,
) {
	sealed, err := r.sealedSegments()
	if err != nil {
		return nil, fmt.Errorf("read segments: %w", err)
	}
	limits := make(map[string]int64, len(sealed))
	for _, info := range sealed {
		if info.SHA256 != "" {
			limits[info.Name] = info.Size + 1 // one more byte detects a longer segment
		}
	}
	var sources []segment.Source
	for _, o := range r.manifest.Objects {
		name, ok := strings.CutPrefix(o.Key, RawDir)
		name, compressed := strings.CutSuffix(name, ".zst")
		if _, isSegment := segment.Number(name); !ok || !compressed || !isSegment {
			continue
		}
		sources = append(sources, segment.Source{Name: name, Open: func() (io.ReadCloser, error) {
			return r.openSegment(o.Key, limits[name], decompress)
		}})
	}
	slices.SortFunc(sources, func(a, b segment.Source) int {
		return segment.CompareNames(a.Name, b.Name)
	})
	return segment.Expect(sources, sealed), nil
}

// sealedSegments returns the segments listed in raw/sealed.json, nil if it was not delivered.
func (r *Recording) sealedSegments() ([]segment.Info, error) {
	const key = RawDir + "sealed.json"
	if !slices.ContainsFunc(r.manifest.Objects, func(o Object) bool { return o.Key == key }) {
		return nil, nil
	}
	b, err := ReadObject(r.fsys, key, MaxState)
	if err != nil {
		return nil, err
	}
	var sealed struct {
		Segments []segment.Info `json:"segments"`
	}
	if err := DecodeJSON(b, &sealed); err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if err := segment.CheckInfos(sealed.Segments); err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return sealed.Segments, nil
}

func (r *Recording) openSegment(key string, limit int64,
	decompress func(io.Reader) (io.ReadCloser, error),
) (io.ReadCloser, error) {
	f, err := OpenObject(r.fsys, key)
	if err != nil {
		return nil, err
	}
	s := &rawSegment{file: f, stated: limit > 0, left: cmp.Or(limit, segment.MaxSize)}
	if s.content, err = decompress(compressedFile{s}); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

// rawSegment decompresses a segment while it is read. If the size is stated, damage in the
// compressed data ends the segment; the comparison with raw/sealed.json detects the missing bytes.
type rawSegment struct {
	file    fs.File
	failed  error // of reading the file, as opposed to damage
	content io.ReadCloser
	left    int64 // bytes that may still be read
	stated  bool
}

// Read implements [io.Reader].
func (s *rawSegment) Read(p []byte) (int, error) {
	if s.left == 0 {
		if s.stated {
			return 0, io.EOF
		}
		return 0, fmt.Errorf("decompresses to more than %d bytes", int64(segment.MaxSize))
	}
	n, err := s.content.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return n, err
	case s.failed != nil:
		return n, s.failed
	case s.stated:
		return n, io.EOF
	}
	return n, err
}

// Close implements [io.Closer].
func (s *rawSegment) Close() error { return errors.Join(s.content.Close(), s.file.Close()) }

// compressedFile reads the compressed file and stores a read error.
type compressedFile struct{ s *rawSegment }

// Read implements [io.Reader].
func (f compressedFile) Read(p []byte) (int, error) {
	n, err := f.s.file.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.s.failed = err
	}
	return n, err
}
