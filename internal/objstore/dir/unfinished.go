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

// make notes that writing a temporary file starts or ends.
func (b *Bucket) make(temp string, begins bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if begins {
		b.making[path.Base(temp)] = true // its directory may be known by another name
	} else {
		delete(b.making, path.Base(temp))
	}
}

func (b *Bucket) makes(temp string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.making[path.Base(temp)]
}

// AbortUploads implements [objstore.Unfinished]: a process that was killed leaves the temporary
// file that it was writing. Its name does not show the key; keep is asked about the name itself.
// prefix ends in a slash: only whole directories are searched.
func (b *Bucket) AbortUploads(ctx context.Context, prefix string, keep func(key string) bool) (int,
	error,
) {
	above := strings.TrimSuffix(prefix, "/")
	if err := objstore.CheckKey(above); err != nil || above == prefix {
		return 0, nil //nolint:nilerr // nothing is in no directory
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
