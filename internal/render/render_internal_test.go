package render

import (
	"os"

	"github.com/syncflow/textegress/internal/fsname"
)

// WithMaxFiles returns o with another limit of the contents of streams that are objects.
func (o Options) WithMaxFiles(n int) Options {
	o.maxFiles = n
	return o
}

// DirectoryOn returns the sink for a directory of any file system.
func DirectoryOn(root interface {
	fsname.Root
	MkdirAll(name string, perm os.FileMode) error
	Close() error
},
) *Directory {
	return &Directory{root: root, made: map[string]bool{}}
}
