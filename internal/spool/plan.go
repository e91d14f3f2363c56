package spool

import "fmt"

func exportRevisionName(revision int) string { return fmt.Sprintf("export-r%d.json", revision) }

// WriteExportRevision writes export-r<revision>.json, which replaces the delivery that export.json
// or an earlier revision fixes. It is written once, like export.json. The recording must be
// exported.
func (r *Recording) WriteExportRevision(revision int, data []byte) error {
	return r.stateFile(exportRevisionName(revision), data, StateExported)
}

// ExportRevision returns the content of export-r<revision>.json, and false if the file does not
// exist.
func (r *Recording) ExportRevision(revision int) ([]byte, bool, error) {
	return r.readState(exportRevisionName(revision))
}
