package spool

import "fmt"

func exportRevisionName(revision int) string { return fmt.Sprintf("export-r%d.json", revision) }

// WriteExportRevision replaces what export.json, or an earlier revision, says will be delivered:
// export-r<revision>.json, written once like export.json. The recording must be exported.
func (r *Recording) WriteExportRevision(revision int, data []byte) error {
	return r.stateFile(exportRevisionName(revision), data, StateExported)
}

// ExportRevision returns export-r<revision>.json, false where there is none.
func (r *Recording) ExportRevision(revision int) ([]byte, bool, error) {
	return r.readState(exportRevisionName(revision))
}
