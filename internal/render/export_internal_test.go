package render

import (
	"os"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/fsname"
)

// WithMaxFiles returns o with another limit of the contents of streams that are objects.
func (o Options) WithMaxFiles(n int) Options {
	o.maxFiles = n
	return o
}

// VeilMessage and VeilManifest are what becomes of a line and of the manifest under pseudonyms.
func VeilMessage(p Pseudonyms, m textegress.Message) textegress.Message {
	return (&veil{names: p, seen: map[string]bool{}}).message(m)
}

// VeilManifest see VeilMessage.
func VeilManifest(p Pseudonyms, m textegress.Manifest) textegress.Manifest {
	return (&veil{names: p, seen: map[string]bool{}}).manifest(m)
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
