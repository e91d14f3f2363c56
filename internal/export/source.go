package export

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/spool"
)

// Names of the state files that are delivered in raw/ beside the segments: with them a recording can be derived again
// from the bucket alone.
const (
	recordingFile = "recording.json"
	sealedFile    = "sealed.json"
)

// Source is a recording from which objects are derived: [FromSpool] or [FromDelivered].
type Source interface {
	Info() spool.Info
	Sealed() (spool.Sealed, bool)
	// Segments returns the segments in order.
	Segments() ([]spool.SegmentSource, error)
	// StateFile returns the bytes of "recording.json" or "sealed.json", or an error that wraps fs.ErrNotExist.
	StateFile(name string) ([]byte, error)
}

// FromSpool returns the recording in the spool as a source.
func FromSpool(r *spool.Recording) Source { return spooled{r} }

// spooled reads through the spool, so that what it finds is what the spool's file system has.
type spooled struct{ *spool.Recording }

// Segments returns those that are still there. One that is gone is told by the indexes of the frames around it.
func (s spooled) Segments() ([]spool.SegmentSource, error) { return s.Sources() }

// ErrPseudonyms says that a delivered recording cannot be a source.
var ErrPseudonyms = errors.New("it was delivered under pseudonyms, without its raw segments, from which alone it could be derived again; " +
	"those are on the disk of the recorder until RETENTION has passed")

type delivered struct {
	fsys     fs.FS
	info     spool.Info
	sealed   spool.Sealed
	isSealed bool
	segments []string // base names without .zst
}

// FromDelivered returns a delivered recording as a source: fsys holds its objects under their keys. It needs
// manifest.json and what lies in raw/, and does not list directories. Deriving from it gives the delivered objects again,
// if exporter and revision are the same. It does not compare checksums, see [textegress.Recording.Verify].
func FromDelivered(fsys fs.FS) (Source, error) {
	rec, err := textegress.Open(fsys)
	if err != nil {
		return nil, err
	}
	if rec.Manifest().Pseudonyms {
		return nil, ErrPseudonyms
	}
	d := &delivered{fsys: fsys}
	for _, o := range rec.Manifest().Objects {
		name, inRaw := strings.CutPrefix(o.Key, textegress.RawDir)
		if seg, ok := strings.CutSuffix(name, compressedSuffix); inRaw && ok {
			d.segments = append(d.segments, seg) // the manifest is sorted
		}
	}
	b, err := d.StateFile(recordingFile)
	if err != nil {
		return nil, fmt.Errorf("open recording: %w", err)
	}
	if err := json.Unmarshal(b, &d.info); err != nil {
		return nil, fmt.Errorf("open recording: %s: %w", recordingFile, err)
	}
	b, err = d.StateFile(sealedFile)
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &d.sealed)
	}
	if err != nil {
		return nil, fmt.Errorf("open recording: %s: %w", sealedFile, err)
	}
	d.isSealed = true
	return d, nil
}

func (d *delivered) Info() spool.Info             { return d.info }
func (d *delivered) Sealed() (spool.Sealed, bool) { return d.sealed, d.isSealed }

func (d *delivered) StateFile(name string) ([]byte, error) {
	return fs.ReadFile(d.fsys, path.Join(textegress.RawDir, name))
}

func (d *delivered) Segments() ([]spool.SegmentSource, error) {
	var out []spool.SegmentSource
	for _, name := range d.segments {
		out = append(out, spool.SegmentSource{Name: name, Open: func() (io.ReadCloser, error) { return d.open(name) }})
	}
	return out, nil
}

func (d *delivered) open(name string) (io.ReadCloser, error) {
	f, err := d.fsys.Open(textegress.RawDir + name + compressedSuffix)
	if err != nil {
		return nil, err
	}
	z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &decompressed{z, f}, nil
}

type decompressed struct {
	*zstd.Decoder
	f fs.File
}

func (d *decompressed) Close() error {
	d.Decoder.Close()
	return d.f.Close()
}
