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

// errOther says that a place holds something else than was delivered to it.
var errOther = errors.New("what lies there is not what was delivered")

// bound shows the objects of a recording as they are known to be, and nothing else: write access to
// the place decides neither what is read nor which recording it belongs to.
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

// bindManifest binds fsys to the manifest that lies there now.
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

// Open implements [fs.FS]. What is read is an error at its end, or before, if it is not what is
// known.
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
		what = "a view or a file" // names of people are in its key
	}
	return fmt.Errorf("%s: %w", what, errOther)
}
