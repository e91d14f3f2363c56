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

// List implements [objstore.Bucket]. Temporary files of interrupted uploads are not objects. Where
// a name was too long for the file system and cut, the key that it yields has the cut name; it
// leads to the object like the whole one.
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
	// The directories that the prefix names are looked up and not compared: a file system may know
	// them by other names.
	start, above := ".", ""
	if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
		if err := objstore.CheckKey(prefix[:i]); err != nil {
			return nil, nil //nolint:nilerr // no key begins so
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
			// Only directories that can hold the prefix are entered.
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
