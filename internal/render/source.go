package render

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// Names of the state files delivered in raw/ beside the segments. With them, a recording can be
// rendered again from the bucket alone.
const (
	recordingFile = "recording.json"
	sealedFile    = "sealed.json"
)

// Source is a recording from which objects are rendered: [FromSpool] or [FromDelivered].
type Source interface {
	Info() spool.Info
	Sealed() (spool.Sealed, bool)
	// Segments returns the segments in order, with their measurements from sealed.json if there is
	// one, see [segment.Expect]. Their readers fail once ctx ends.
	Segments(ctx context.Context) ([]segment.Source, error)
	// StateFile returns the bytes of "recording.json" or "sealed.json", or an error that wraps
	// fs.ErrNotExist.
	StateFile(name string) ([]byte, error)
}

// FromSpool returns the recording in the spool as a source.
func FromSpool(r *spool.Recording) Source { return spooled{r} }

// spooled reads through the spool and therefore uses the spool's file system.
type spooled struct{ *spool.Recording }

// Segments returns the existing segments and the missing ones.
func (s spooled) Segments(ctx context.Context) ([]segment.Source, error) {
	return s.SealedSources(ctx)
}

// ErrPseudonyms is returned for a recording delivered under pseudonyms, which cannot be a source.
var ErrPseudonyms = errors.New("the recording was delivered under pseudonyms, without its raw " +
	"segments, and cannot be derived again; the recorder keeps the raw segments on its disk for " +
	"RETENTION")

type delivered struct {
	fsys     fs.FS
	objects  map[string]textegress.Object
	info     spool.Info
	sealed   spool.Sealed
	isSealed bool
	segments []segment.Source
}

// FromDelivered returns a delivered recording as a source: fsys holds its objects under their keys.
// It needs manifest.json and the objects in raw/, and does not list directories. Rendering from it
// gives the delivered objects again if exporter and revision are the same.
//
// If manifest.json and the files in raw/ differ in project, session or how the recording ended, the
// error is a [*DisagreementError]. The checksums of segments are not compared with the manifest
// ([textegress.Recording.Verify] does that). Instead, each segment is compared with sealed.json
// when it is read, and no more of it is decompressed than sealed.json states.
func FromDelivered(fsys fs.FS) (Source, error) {
	rec, err := textegress.Open(fsys)
	if err != nil {
		return nil, err
	}
	m := rec.Manifest()
	if m.Pseudonyms && !HasRaw(m) {
		return nil, ErrPseudonyms
	}
	d := &delivered{fsys: fsys, objects: map[string]textegress.Object{}}
	for _, o := range m.Objects {
		d.objects[o.Key] = o
	}
	if err := d.state(); err != nil {
		return nil, fmt.Errorf("open recording: %w", err)
	}
	if err := d.agree(m); err != nil {
		return nil, fmt.Errorf("open recording: %w", err)
	}
	for _, o := range m.Objects {
		name, inRaw := strings.CutPrefix(o.Key, textegress.RawDir)
		seg, compressed := strings.CutSuffix(name, compressedSuffix)
		if !inRaw || !compressed {
			continue
		}
		if _, ok := segment.Number(seg); !ok {
			return nil, fmt.Errorf("open recording: %s is not the name of a segment", o.Key)
		}
		d.segments = append(d.segments, segment.Source{Name: seg})
	}
	slices.SortFunc(d.segments,
		func(a, b segment.Source) int { return segment.CompareNames(a.Name, b.Name) })
	for i, seg := range d.segments {
		d.segments[i].Open = func() (io.ReadCloser, error) { return d.open(seg.Name) }
	}
	if d.isSealed {
		d.segments = segment.Expect(d.segments, d.sealed.Segments)
	}
	return d, nil
}

// HasRaw reports whether a manifest lists raw objects from which the others can be rendered.
func HasRaw(m textegress.Manifest) bool {
	return slices.ContainsFunc(m.Objects,
		func(o textegress.Object) bool { return strings.HasPrefix(o.Key, textegress.RawDir) })
}

// state reads the state files, which describe the recording.
func (d *delivered) state() error {
	b, err := d.StateFile(recordingFile)
	if err != nil {
		return err
	}
	if d.info, err = spool.DecodeInfo(b); err != nil {
		return err
	}
	b, err = d.StateFile(sealedFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	d.sealed, err = spool.DecodeSealed(b)
	d.isSealed = err == nil
	return err
}

func (d *delivered) Info() spool.Info             { return d.info }
func (d *delivered) Sealed() (spool.Sealed, bool) { return d.sealed, d.isSealed }

// StateFile returns the file that the manifest describes, or an error if the file differs from the
// description.
func (d *delivered) StateFile(name string) ([]byte, error) {
	key := path.Join(textegress.RawDir, name)
	o, ok := d.objects[key]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: key, Err: fs.ErrNotExist}
	}
	b, err := textegress.ReadObject(d.fsys, key, textegress.MaxState)
	if err != nil {
		return nil, err
	}
	if o.SHA256 != digest(b) {
		return nil, fmt.Errorf("%s does not match the manifest", key)
	}
	return b, nil
}

func (d *delivered) Segments(ctx context.Context) ([]segment.Source, error) {
	return segment.WithContext(ctx, d.segments), nil
}

// maxSegment bounds segments whose size is not stated in a sealed.json. It exceeds the maximum
// SEGMENT_SIZE.
const maxSegment = 2 << 30

func (d *delivered) open(name string) (io.ReadCloser, error) {
	f, err := textegress.OpenObject(d.fsys, textegress.RawDir+name+compressedSuffix)
	if err != nil {
		return nil, err
	}
	out := &decompressed{f: f, left: maxSegment}
	for _, seg := range d.sealed.Segments {
		if seg.Name == name && seg.SHA256 != "" {
			out.left, out.stated = seg.Size+1, true // one more byte detects a longer segment
		}
	}
	out.z, err = zstd.NewReader(out.file(), zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderMaxMemory(64<<20), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return out, nil
}

// decompressed reads a segment. It ends at damage in the compressed bytes, and at most one byte
// beyond the stated size, if any; the caller detects missing bytes by comparing the size.
type decompressed struct {
	z      *zstd.Decoder
	f      fs.File
	failed error // of reading the file
	left   int64
	stated bool
}

// file reads the compressed bytes and distinguishes read errors from damage.
func (d *decompressed) file() io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		n, err := d.f.Read(p)
		if err != nil && !errors.Is(err, io.EOF) {
			d.failed = err
		}
		return n, err
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Read implements [io.Reader].
func (d *decompressed) Read(p []byte) (int, error) {
	if d.left == 0 {
		if d.stated {
			return 0, io.EOF
		}
		return 0, fmt.Errorf("decompresses to more than %d bytes", int64(maxSegment))
	}
	n, err := d.z.Read(p[:min(int64(len(p)), d.left)])
	d.left -= int64(n)
	switch {
	case err == nil || errors.Is(err, io.EOF):
	case d.failed != nil:
		err = d.failed
	case d.stated:
		err = io.EOF
	}
	return n, err
}

// Close implements [io.Closer].
func (d *decompressed) Close() error {
	d.z.Close()
	return d.f.Close()
}
