package dir

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/syncflow/textegress/internal/fsname"
	"github.com/syncflow/textegress/internal/objstore"
)

// List implements [objstore.Bucket]. It does not yield temporary files of interrupted uploads. If a
// name was too long for the file system and was cut, the key has the cut name. Both this key and
// the original one lead to the object.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[objstore.Attrs, error] {
	return func(yield func(objstore.Attrs, error) bool) {
		found, err := b.list(ctx, prefix)
		if err != nil {
			yield(objstore.Attrs{}, b.fail("list", prefix, err))
			return
		}
		slices.SortFunc(found, func(x, y objstore.Attrs) int {
			return strings.Compare(x.Key,
				y.Key)
		})
		for _, a := range found {
			if !yield(a, nil) {
				return
			}
		}
	}
}

func (b *Bucket) list(ctx context.Context, prefix string) ([]objstore.Attrs, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	naming, _ := b.names() //nolint:errcheck // as in find
	// The directories in the prefix are looked up rather than compared, because they may have other
	// names in the file system.
	start, above := ".", ""
	if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
		if err := objstore.CheckKey(prefix[:i]); err != nil {
			return nil, nil //nolint:nilerr // no key has this prefix
		}
		p, ok := naming.Find(b.root, prefix[:i])
		if !ok {
			return nil, nil
		}
		start, above = p, prefix[:i+1]
	}
	var found []objstore.Attrs
	err := fs.WalkDir(b.root.FS(), start, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if p == start && d.IsDir() {
			return nil
		}
		if fsname.IsTemp(path.Base(p)) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		rest := p
		if start != "." {
			rest = strings.TrimPrefix(p, start+"/")
		}
		key := above + naming.Key(rest)
		if d.IsDir() {
			// Only directories that may contain matching keys are entered.
			if !strings.HasPrefix(key+"/", prefix) && !strings.HasPrefix(prefix, key+"/") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasPrefix(key, prefix) {
			return nil
		}
		fi, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if fi.Mode().IsRegular() {
			found = append(found, objstore.Attrs{Key: key, Size: fi.Size()})
		}
		return nil
	})
	return found, err
}
