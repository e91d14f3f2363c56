package spool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/syncflow/textegress/internal/durable"
)

// load determines the state from the files.
func (r *Recording) load() error {
	entries, err := r.spool.fs.ReadDir("load", r.dir)
	if err != nil {
		return err
	}
	has := make(map[string]bool)
	for _, e := range entries {
		has[e.Name()] = true
	}
	segments := segmentNames(entries)
	r.suspect = has[suspectName]
	if has[stopName] {
		if err := r.loadStop(); err != nil {
			return err
		}
	}
	if has[runsName] {
		if err := r.loadRuns(); err != nil {
			return err
		}
	}
	if has[requestsName] {
		if err := r.loadRequests(); err != nil {
			return err
		}
	}
	r.state = StateOpen
	if has[sealedName] {
		if err := r.loadSealed(has[exportName]); err != nil {
			return err
		}
	}
	if r.state != StateOpen && has[exportName] {
		r.state = StateExported
		if has[uploadedName] {
			r.state = StateUploaded
			if len(segments) == 0 && !has[stagingName] {
				r.state = StateRemoved
			}
		}
	}
	if r.readOnly {
		return nil
	}
	if r.state != StateOpen && (has[joinName] || has[joinName+durable.TempSuffix]) {
		r.dropJoin() // the process died between sealing and dropJoin
	}
	if r.state == StateRemoved {
		return nil
	}
	// A process that died before the fsync of the directory may have left state files and segments
	// that are visible but not durable.
	return r.spool.fs.SyncDir("load", r.dir)
}

// loadSealed reads sealed.json. A damaged file is moved aside, so that the recording is open and
// will be sealed again from its segments. Once export.json exists, sealing again would change the
// delivery, so a damaged file is then an error.
func (r *Recording) loadSealed(exported bool) error {
	b, err := r.spool.fs.ReadFile("load", r.path(sealedName))
	if err != nil {
		return err
	}
	if r.sealed, err = DecodeSealed(b); err == nil {
		r.state = StateSealed
		return nil
	}
	r.sealed = Sealed{}
	if exported {
		return &notRecordingError{reason: sealedName + " is damaged"}
	}
	if r.readOnly {
		return nil
	}
	r.spool.log.Error("damaged state file; the recording will be sealed again", "path",
		r.path(sealedName))
	return r.spool.fs.Rename("load", r.path(sealedName), r.path(sealedName+damagedSuffix))
}

// stateFile writes a state file and then sets the given state. The recording must already have that
// state or one of the states in from.
func (r *Recording) stateFile(name string, data []byte, to State, from ...State) error {
	r.stateMu.Lock()
	defer r.stateMu.Unlock()
	if r.readOnly {
		return fmt.Errorf("recording %s: %w", r.ID(), ErrReadOnly)
	}
	now := r.State()
	if now != to && !slices.Contains(from, now) {
		return fmt.Errorf("recording %s: %s: %w: %s", r.ID(), name, ErrState, now)
	}
	write := func() error {
		return durable.WriteFileOnce(r.spool.fs, "state-"+name, r.path(name),
			data)
	}
	if err := r.spool.disk.WithBallast(write); err != nil {
		return fmt.Errorf("recording %s: %w", r.ID(), r.spool.metrics.count(opState, err))
	}
	r.setState(to)
	return nil
}

func (r *Recording) setState(to State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = to
	r.notify()
}

// WriteExport writes export.json, which fixes the content of the delivery. This package does not
// interpret it. The file is written once: writing the same bytes again succeeds, and writing other
// bytes returns an error that wraps fs.ErrExist. The recording must be sealed.
func (r *Recording) WriteExport(data []byte) error {
	return r.stateFile(exportName, data, StateExported, StateSealed)
}

// WriteUploaded writes uploaded.json, which states that every object was verified in the bucket. It
// is written once, like export.json. The recording must be exported.
func (r *Recording) WriteUploaded(data []byte) error {
	return r.stateFile(uploadedName, data, StateUploaded, StateExported)
}

// Export returns the content of export.json, and false if the file does not exist.
func (r *Recording) Export() ([]byte, bool, error) { return r.readState(exportName) }

// Uploaded returns the content of uploaded.json, and false if the file does not exist.
func (r *Recording) Uploaded() ([]byte, bool, error) { return r.readState(uploadedName) }

func (r *Recording) readState(name string) ([]byte, bool, error) {
	b, err := r.spool.fs.ReadFile("read-state", r.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("recording %s: %w", r.ID(), err)
	}
	return b, true, nil
}

// RemoveData removes the segments and the staging directory of an uploaded recording. The state
// files remain, so that the service recognises a repeated announcement of the session. After a
// failure it can be called again.
func (r *Recording) RemoveData() error {
	r.stateMu.Lock()
	defer r.stateMu.Unlock()
	if err := r.removeData(); err != nil {
		return fmt.Errorf("recording %s: remove data: %w", r.ID(),
			r.spool.metrics.count(opRemove, err))
	}
	return nil
}

func (r *Recording) removeData() error {
	if r.readOnly {
		return ErrReadOnly
	}
	switch state := r.State(); state {
	case StateRemoved:
		return nil
	case StateUploaded:
	default:
		return fmt.Errorf("%w: %s", ErrState, state)
	}
	fsys := r.spool.fs
	if err := fsys.RemoveAll("remove-data", r.StagingDir()); err != nil {
		return err
	}
	names, err := listSegments(fsys, r.dir)
	if err != nil {
		return err
	}
	r.update(func(p *Progress) { p.Removing = true })
	for _, name := range names {
		if err := fsys.Remove("remove-data", r.path(name)); err != nil {
			return err
		}
	}
	if err := fsys.SyncDir("remove-data", r.dir); err != nil {
		return err
	}
	r.setState(StateRemoved)
	return nil
}

// Delete removes the files that RemoveData leaves, and with them every trace of the recording.
func (r *Recording) Delete() error {
	r.stateMu.Lock()
	defer r.stateMu.Unlock()
	if r.readOnly {
		return fmt.Errorf("recording %s: delete: %w", r.ID(), ErrReadOnly)
	}
	if state := r.State(); state != StateRemoved {
		return fmt.Errorf("recording %s: delete: %w: %s", r.ID(), ErrState, state)
	}
	gone, err := r.spool.discard(r.dir)
	// Once the directory has lost its name, the recording is gone even if a later step fails. The
	// next Open removes the remaining files.
	if gone {
		r.spool.mu.Lock()
		r.spool.unregister(r.ID())
		r.spool.mu.Unlock()
	}
	if err != nil {
		return fmt.Errorf("recording %s: delete: %w", r.ID(), r.spool.metrics.count(opRemove, err))
	}
	return nil
}

// encodeState encodes a state file: indented JSON, no HTML escaping.
func encodeState(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
