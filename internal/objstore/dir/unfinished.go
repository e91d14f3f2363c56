package dir

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/syncflow/textegress/internal/fsname"
	"github.com/syncflow/textegress/internal/objstore"
)

var _ objstore.Unfinished = (*Bucket)(nil)

// make records the start or the end of writing a temporary file.
func (b *Bucket) make(temp string, begins bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if begins {
		b.making[path.Base(temp)] = true // its directory may have another name
	} else {
		delete(b.making, path.Base(temp))
	}
}

func (b *Bucket) makes(temp string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.making[path.Base(temp)]
}

// AbortUploads implements [objstore.Unfinished]. It removes the temporary files that killed
// processes left. The name of a temporary file does not contain the key, so keep is called with the
// name itself. prefix ends in a slash: only whole directories are searched.
func (b *Bucket) AbortUploads(ctx context.Context, prefix string, keep func(key string) bool) (int,
	error,
) {
	above := strings.TrimSuffix(prefix, "/")
	if err := objstore.CheckKey(above); err != nil || above == prefix {
		return 0, nil //nolint:nilerr // a missing directory contains no files
	}
	naming, _ := b.names() //nolint:errcheck // as in find
	start, ok := naming.Find(b.root, above)
	if !ok {
		return 0, nil
	}
	var found []string
	err := fs.WalkDir(b.root.FS(), start, func(p string, d fs.DirEntry, err error) error {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		key := above + "/" + naming.Key(strings.TrimPrefix(p, start+"/"))
		if d.Type().IsRegular() && fsname.IsTemp(path.Base(p)) && !b.makes(p) && !keep(key) {
			found = append(found, p)
		}
		return nil
	})
	n := 0
	for _, p := range found {
		rerr := b.root.Remove(p)
		if rerr == nil {
			n++
			rerr = b.syncDir(path.Dir(p))
		}
		if err == nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = rerr
		}
	}
	return n, b.wrap("delete", prefix, err)
}
