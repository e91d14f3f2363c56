package export

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/spool"
)

// Frozen says what is going to be delivered, before the first byte of it is: export.json. From then on every try, also of
// a later process, delivers exactly this, or fails to derive it again and begins the next revision.
type Frozen struct {
	FormatVersion int    `json:"format_version"`
	Exporter      string `json:"exporter"`
	Revision      int    `json:"revision"`
	Prefix        string `json:"prefix"` // of the keys in the bucket, with a slash at its end
	// Objects are all objects in the order in which they are delivered, the manifest last. Keys are relative to Prefix.
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
	f := Frozen{FormatVersion: frozenFormat, Exporter: m.Exporter, Revision: m.Revision, Prefix: Prefix(info, m.Revision)}
	f.Objects = append(f.Objects, m.Objects...)
	f.Objects = append(f.Objects, textegress.Object{
		Key: textegress.ManifestName, Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:]), ContentType: typeJSON,
	})
	return f, nil
}

// Prefix returns where a revision of a recording is delivered: the first one at the recording's own prefix, a later one
// at r<revision>/ below it, so that what was delivered before stays as it is.
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
		if p := g.Objects[i]; o.Key != p.Key || o.Size != p.Size || o.SHA256 != p.SHA256 || o.ContentType != p.ContentType {
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

// Save writes f durably and once: the first revision as export.json, later ones beside it as export-r<revision>.json.
// When it returns nil, f survives a power failure.
func (f Frozen) Save(r *spool.Recording) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(f); err != nil {
		return fmt.Errorf("encode export.json: %w", err)
	}
	if f.Revision <= 1 {
		return r.WriteExport(buf.Bytes())
	}
	return durable.WriteFileOnce(durable.OS{}, "export-revision", revisionPath(r, f.Revision), buf.Bytes())
}

func revisionPath(r *spool.Recording, revision int) string {
	return filepath.Join(r.Dir(), fmt.Sprintf("export-r%d.json", revision))
}

// LoadFrozen returns the latest revision that was saved, false if there is none. Like Save, it returns only what
// survives a power failure: an earlier Save may have failed after the file was there.
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
	for revision := 2; ; revision++ {
		later, err := os.ReadFile(revisionPath(r, revision))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return Frozen{}, false, fmt.Errorf("read export.json: %w", err)
		}
		data = later
	}
	var f Frozen
	if err := json.Unmarshal(data, &f); err != nil {
		return Frozen{}, false, fmt.Errorf("read export.json: %w", err)
	}
	if f.FormatVersion != frozenFormat || f.Revision < 1 || len(f.Objects) == 0 {
		return Frozen{}, false, fmt.Errorf("read export.json: format version %d, this program knows %d", f.FormatVersion, frozenFormat)
	}
	return f, true, nil
}
