package render

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/spool"
)

// Frozen says what is going to be delivered, before the first byte of it is: export.json. From then
// on every try, also of a later process, delivers exactly this, or fails to derive it again and
// begins the next revision.
type Frozen struct {
	FormatVersion int    `json:"format_version"`
	Exporter      string `json:"exporter"`
	Revision      int    `json:"revision"`
	Prefix        string `json:"prefix"` // of the keys in the bucket, with a slash at its end
	// Objects are all objects in the order in which they are delivered, the manifest last. Keys are
	// relative to Prefix.
	Objects []textegress.Object `json:"objects"`
}

const frozenFormat = 1

// Freeze returns what delivering the manifest m and its objects means.
func Freeze(info spool.Info, m textegress.Manifest) (Frozen, error) {
	data, err := m.Encode()
	if err != nil {
		return Frozen{}, err
	}
	sum := sha256.Sum256(data)
	f := Frozen{
		FormatVersion: frozenFormat, Exporter: m.Exporter, Revision: m.Revision,
		Prefix: Prefix(info, m.Revision),
	}
	f.Objects = append(f.Objects, m.Objects...)
	f.Objects = append(f.Objects, textegress.Object{
		Key: textegress.ManifestName, Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:]),
		ContentType: typeJSON,
	})
	return f, nil
}

// Prefix returns where a revision of a recording is delivered: the first one at the recording's own
// prefix, a later one at r<revision>/ below it, so that what was delivered before stays as it is.
func Prefix(info spool.Info, revision int) string {
	if revision <= 1 {
		return info.KeyPrefix
	}
	return fmt.Sprintf("%sr%d/", info.KeyPrefix, revision)
}

// Equal reports whether f and g deliver the same bytes to the same keys.
func (f Frozen) Equal(g Frozen) bool {
	if f.Prefix != g.Prefix || len(f.Objects) != len(g.Objects) {
		return false
	}
	for i, o := range f.Objects {
		if p := g.Objects[i]; o.Key != p.Key || o.Size != p.Size || o.SHA256 != p.SHA256 ||
			o.ContentType != p.ContentType {
			return false
		}
	}
	return true
}

// Bytes returns the sum of the objects' sizes.
func (f Frozen) Bytes() int64 {
	n := int64(0)
	for _, o := range f.Objects {
		n += o.Size
	}
	return n
}

// Save writes f durably and once: the first one that is saved as export.json, later ones beside it
// as export-r<revision>.json. When it returns nil, f survives a power failure.
func (f Frozen) Save(r *spool.Recording) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(f); err != nil {
		return fmt.Errorf("encode export.json: %w", err)
	}
	if f.Revision <= 1 || r.State() == spool.StateSealed {
		return r.WriteExport(buf.Bytes())
	}
	return durable.WriteFileOnce(durable.OS{}, "export-revision", revisionPath(r, f.Revision),
		buf.Bytes())
}

func revisionPath(r *spool.Recording, revision int) string {
	return filepath.Join(r.Dir(), fmt.Sprintf("export-r%d.json", revision))
}

// DamagedError says that the latest export.json cannot be understood. Nobody knows then what was
// promised, but nothing is lost: the recording can be derived again and delivered as the revision
// after this one.
type DamagedError struct {
	Revision int // of the damaged file
	Err      error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("read export.json of revision %d: %v", e.Revision, e.Err)
}

func (e *DamagedError) Unwrap() error { return e.Err }

// LoadFrozen returns the latest revision that was saved, false if there is none. Like Save, it
// returns only what survives a power failure: an earlier Save may have failed after the file was
// there. Its error is a *DamagedError if the file is there and makes no sense.
func LoadFrozen(r *spool.Recording) (Frozen, bool, error) {
	data, ok, err := r.Export()
	if err != nil || !ok {
		return Frozen{}, false, err
	}
	if r.State() == spool.StateSealed {
		if err := r.WriteExport(data); err != nil {
			return Frozen{}, false, err
		}
	}
	first, err := FirstRevision(r)
	if err != nil {
		return Frozen{}, false, err
	}
	revision := first
	for {
		later, err := durable.OS{}.ReadFile("export-revision", revisionPath(r, revision+1))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return Frozen{}, false, fmt.Errorf("read export.json: %w", err)
		}
		data = later
		revision++
	}
	if revision > first {
		if err := durable.WriteFileOnce(durable.OS{}, "export-revision", revisionPath(r, revision),
			data); err != nil {
			return Frozen{}, false, err
		}
	}
	f, err := parseFrozen(data, r.Info(), revision)
	if err != nil {
		return Frozen{}, false, err
	}
	return f, true, nil
}

// parseFrozen reads what Save wrote. It accepts nothing that would deliver to other keys than this
// recording's.
func parseFrozen(data []byte, info spool.Info, revision int) (Frozen, error) {
	damaged := func(format string, args ...any) error {
		return &DamagedError{Revision: revision, Err: fmt.Errorf(format, args...)}
	}
	var f Frozen
	if err := textegress.DecodeJSON(data, &f); err != nil {
		return Frozen{}, damaged("%w", err)
	}
	if f.FormatVersion > frozenFormat {
		return Frozen{}, fmt.Errorf("read export.json: format version %d, this program knows %d",
			f.FormatVersion, frozenFormat)
	}
	switch {
	case f.FormatVersion != frozenFormat:
		return Frozen{}, damaged("format version %d", f.FormatVersion)
	case f.Revision != revision:
		return Frozen{}, damaged("it says revision %d", f.Revision)
	case f.Prefix != Prefix(info, revision):
		return Frozen{}, damaged("it names another place in the bucket")
	case len(f.Objects) == 0 || f.Objects[len(f.Objects)-1].Key != textegress.ManifestName:
		return Frozen{}, damaged("the manifest is not its last object")
	}
	seen := map[string]bool{}
	for _, o := range f.Objects {
		sum, err := hex.DecodeString(o.SHA256)
		if !fs.ValidPath(o.Key) || o.Key == "." || seen[o.Key] || o.Size < 0 || err != nil ||
			len(sum) != sha256.Size {
			return Frozen{}, damaged("an object without a plain key, size or SHA-256, or " +
				"a key twice")
		}
		seen[o.Key] = true
	}
	return f, nil
}
