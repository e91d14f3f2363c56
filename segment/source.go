package segment

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
)

// Info describes a segment file. sealed.json contains one per segment.
type Info struct {
	Name   string `json:"name"`   // 000001.seg
	Size   int64  `json:"size"`   // in bytes
	SHA256 string `json:"sha256"` // lower-case hex
	Frames int64  `json:"frames"` // number of readable frames
}

// MaxSize is the maximum size of a segment in bytes. No configurable segment size exceeds it.
const MaxSize = 2 << 30

// CheckInfos returns an error unless infos can describe the segments of a recording: the names are
// in order and the figures are plausible. infos may come from an untrusted file.
func CheckInfos(infos []Info) error {
	last := uint32(0)
	for _, info := range infos {
		n, ok := Number(info.Name)
		if !ok || n <= last {
			return fmt.Errorf("%q is not the name of the next segment", info.Name)
		}
		last = n
		sum, err := hex.DecodeString(info.SHA256)
		if info.Size < 0 || info.Size > MaxSize || info.Frames < 0 ||
			info.Frames > info.Size/FrameHeaderSize || err != nil ||
			len(sum) != 0 && len(sum) != sha256.Size {
			return fmt.Errorf("impossible figures of segment %s", info.Name)
		}
	}
	return nil
}

// Source is a segment in the spool or a decompressed segment of a delivered recording.
type Source struct {
	Name string
	// Open is nil if the segment is missing.
	Open func() (io.ReadCloser, error)
	// Expected is the measurement of the segment at sealing, see [Expect]; nil if unknown. If its
	// Name is empty, the segment did not exist at sealing.
	Expected *Info
}

// CompareNames orders names of segments by their numbers.
func CompareNames(a, b string) int {
	x, _ := Number(a)
	y, _ := Number(b)
	return cmp.Compare(x, y)
}

// Expect returns the sources in order, each with its measurement, plus sources for measured
// segments that are missing. If infos is nil, nothing was measured, and Expect returns sources
// unchanged.
func Expect(sources []Source, infos []Info) []Source {
	if infos == nil {
		return sources
	}
	byName := make(map[string]Info, len(infos))
	for _, info := range infos {
		byName[info.Name] = info
	}
	out := make([]Source, 0, len(sources))
	for _, src := range sources {
		info, known := byName[src.Name]
		if delete(byName, src.Name); !known {
			info = Info{} // it did not exist at sealing
		}
		src.Expected = &info
		out = append(out, src)
	}
	for _, info := range byName {
		out = append(out, Source{Name: info.Name, Expected: &info})
	}
	slices.SortFunc(out, func(a, b Source) int { return CompareNames(a.Name, b.Name) })
	return out
}

// WithContext returns sources whose readers fail with the cause of ctx once ctx ends.
func WithContext(ctx context.Context, sources []Source) []Source {
	out := slices.Clone(sources)
	for i, src := range sources {
		if src.Open == nil {
			continue
		}
		out[i].Open = func() (io.ReadCloser, error) {
			r, err := src.Open()
			if err != nil {
				return nil, err
			}
			return &contextReader{r, ctx}, nil
		}
	}
	return out
}

type contextReader struct {
	io.ReadCloser
	ctx context.Context
}

// Read implements [io.Reader].
func (r *contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.ReadCloser.Read(p)
}

// Describe reads a whole segment and measures it.
func Describe(src Source) (Info, error) {
	info, err := describe(src)
	if err != nil {
		return Info{}, fmt.Errorf("read segment %s: %w", src.Name, err)
	}
	return info, nil
}

func describe(src Source) (Info, error) {
	f, err := src.Open()
	if err != nil {
		return Info{}, err
	}
	d := digest{Hash: sha256.New()}
	info := Info{Name: src.Name}
	err = countFrames(io.TeeReader(f, &d), &info.Frames)
	if err := errors.Join(err, f.Close()); err != nil {
		return Info{}, err
	}
	info.Size, info.SHA256 = d.size, d.hex()
	return info, nil
}

func countFrames(r io.Reader, n *int64) error {
	s, err := NewScanner(r)
	if err != nil {
		return err
	}
	for {
		found, err := s.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if found.Kind == FoundFrame {
			*n++
		}
	}
}

// digest hashes and counts the bytes that a scanner reads, which are the whole file.
type digest struct {
	hash.Hash
	size int64
}

// Write implements [io.Writer].
func (d *digest) Write(b []byte) (int, error) {
	d.size += int64(len(b))
	return d.Hash.Write(b)
}

func (d *digest) hex() string { return hex.EncodeToString(d.Sum(nil)) }
