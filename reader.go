package textegress

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
)

// Recording is a delivered recording.
type Recording struct {
	fsys     fs.FS
	manifest Manifest
}

// Open reads manifest.json of the recording whose objects are in fsys, for
// example os.DirFS of a downloaded prefix.
func Open(fsys fs.FS) (*Recording, error) {
	b, err := fs.ReadFile(fsys, ManifestName)
	if err != nil {
		return nil, fmt.Errorf("open recording: %w", err)
	}
	m, err := DecodeManifest(b)
	if err != nil {
		return nil, fmt.Errorf("open recording: %w", err)
	}
	return &Recording{fsys: fsys, manifest: m}, nil
}

// Manifest returns the manifest of the recording.
func (r *Recording) Manifest() Manifest { return r.manifest }

// Messages streams events.jsonl.
func (r *Recording) Messages() iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		yield(Message{}, errors.ErrUnsupported)
	}
}

// Verify checks every object.
func (r *Recording) Verify(ctx context.Context, progress func(done, total int64)) error {
	return errors.ErrUnsupported
}
