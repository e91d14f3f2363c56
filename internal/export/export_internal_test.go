package export

import "github.com/syncflow/textegress"

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
