package erasure

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/syncflow/textegress"
)

// errOther reports that the content of a place differs from the delivery.
var errOther = errors.New("the content differs from the delivery")

// bound exposes only the objects of a recording whose size and checksum are known. Write access to
// the place therefore determines neither the content that is read nor the recording to which it
// belongs.
type bound struct {
	fsys    fs.FS
	objects map[string]textegress.Object
}

// bind binds fsys to objects with known size and SHA-256.
func bind(fsys fs.FS, objects []textegress.Object) fs.FS {
	b := bound{fsys: fsys, objects: map[string]textegress.Object{}}
	for _, o := range objects {
		b.objects[o.Key] = o
	}
	return b
}

// bindManifest binds fsys to its current manifest.
func bindManifest(fsys fs.FS) (fs.FS, textegress.Manifest, error) {
	data, err := textegress.ReadObject(fsys, textegress.ManifestName, textegress.MaxState)
	if err != nil {
		return nil, textegress.Manifest{}, err
	}
	m, err := textegress.DecodeManifest(data)
	if err != nil {
		return nil, textegress.Manifest{}, err
	}
	sum := sha256.Sum256(data)
	own := textegress.Object{
		Key: textegress.ManifestName, Size: int64(len(data)),
		SHA256: hex.EncodeToString(sum[:]),
	}
	return bind(fsys, append(slices.Clip(m.Objects), own)), m, nil
}

// Open implements [fs.FS]. If the content differs from the known object, a read returns an error,
// at the end of the file at the latest.
func (b bound) Open(name string) (fs.File, error) {
	o, ok := b.objects[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	f, err := textegress.OpenObject(b.fsys, name)
	if err != nil {
		return nil, err
	}
	return &boundFile{File: f, object: o, left: o.Size, sum: sha256.New()}, nil
}

type boundFile struct {
	fs.File

	object textegress.Object
	left   int64
	sum    hash.Hash
}

func (f *boundFile) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	if f.left -= int64(n); f.left < 0 {
		return 0, f.differs()
	}
	f.sum.Write(p[:n])
	if errors.Is(err, io.EOF) &&
		(f.left > 0 || hex.EncodeToString(f.sum.Sum(nil)) != f.object.SHA256) {
		return n, f.differs()
	}
	return n, err
}

func (f *boundFile) differs() error {
	what := f.object.Key
	if !strings.HasPrefix(what, textegress.RawDir) && what != textegress.ManifestName &&
		what != textegress.EventsName {
		what = "a view or a file" // its key may contain names of people
	}
	return fmt.Errorf("%s: %w", what, errOther)
}
