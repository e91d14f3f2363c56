package spool

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/segment"
)

const (
	replacementSuffix = ".replacement" // of a directory that is to take a recording's place
	rewriteName       = "rewrite.json"
	// oldRewriteName and oldPurgedName are what earlier versions wrote; they are still read.
	oldRewriteName = "replaced.json"
	oldPurgedName  = "settled.json"
	// fillerEvent replaces one of several missing frames; the first of them states all.
	fillerEvent = `{"kind":"forgotten"}`
	purgedName  = "purged.json"
)

// Edit changes a frame before it is written. It keeps Index; the payload may be
// changed in place or be another one, which need not stay valid. A recorder's state comes here
// empty. A frame that
// segment.Read makes of a damaged range comes here too, and is written in its
// place. An error ends the rewriting.
type Edit func(f *segment.Frame) error

// Rewrite makes a sealed recording of the frames of segments, each as edit
// leaves it, and puts it in the place of the recording with the same egress id,
// if there is one. info and sealed are those of the recording; the segments of
// sealed are measured anew. note is kept as rewrite.json.
//
// If the segments come from elsewhere, they decide nothing but the content: info must be exactly
// that of the recording in the spool, names must be names of segments, in order, and no more
// missing frames are replaced by fillers than the segments of sealed can have held. It needs the
// room of Recording.CheckStaging, and stops where the disk gets low.
//
// When it returns nil, the new recording, in the state sealed, survives a power
// failure, and the old one with all its files is gone. After an error or a crash
// there is one or the other, whole. No frame that was readable is missing
// afterwards, and where frames were damaged there is one that says so.
//
// The old recording must not be used meanwhile; its methods fail afterwards. For an open recording
// the error wraps ErrState. The same segments, edit and sealed give the same bytes.
func (s *Spool) Rewrite(info Info, sealed Sealed, segments []segment.Source, note []byte,
	edit Edit,
) (*Recording, error) {
	r, err := s.rewrite(info, sealed, segments, note, edit)
	if err != nil {
		return nil, fmt.Errorf("rewrite recording %s: %w", info.EgressID, err)
	}
	return r, nil
}

func (s *Spool) rewrite(info Info, sealed Sealed, segments []segment.Source, note []byte,
	edit Edit,
) (*Recording, error) {
	if s.lock == nil {
		return nil, ErrReadOnly
	}
	if !validEgressID(info.EgressID) || info.FormatVersion != FormatVersion {
		return nil, errors.New("it is of another format")
	}
	old, exists := s.Recording(info.EgressID)
	if exists && old.State() == StateOpen {
		return nil, fmt.Errorf("%w: %s", ErrState, StateOpen)
	}
	if exists && !info.same(old.Info()) {
		return nil, fmt.Errorf("%w: what is to take its place is of another recording", ErrState)
	}
	if err := checkOrder(segments); err != nil {
		return nil, err
	}
	if err := s.disk.Room(twice(sealed.Segments), "removing somebody from"); err != nil {
		return nil, err
	}
	entries, err := s.fs.ReadDir("replace", s.recordingsDir())
	if err != nil {
		return nil, err
	}
	// An earlier call may have stopped between the two renames.
	if _, err := s.recoverReplacements(entries, info.EgressID); err != nil {
		return nil, err
	}
	dir := filepath.Join(s.recordingsDir(), info.EgressID)
	tmp := dir + replacementSuffix
	if err := s.fs.RemoveAll("replace", tmp); err != nil {
		return nil, err
	}
	if err := s.fs.Mkdir("replace", tmp); err != nil {
		return nil, err
	}
	if err := s.fillReplacement(tmp, info, sealed, segments, note, edit); err != nil {
		return nil, errors.Join(s.metrics.count(opState, err), s.fs.RemoveAll("replace", tmp))
	}
	if exists {
		old.stateMu.Lock()
		defer old.stateMu.Unlock()
		old.mu.Lock()
		old.readOnly = true // callers that still have it can change nothing
		old.mu.Unlock()
	}
	if err := s.swapIn(dir, tmp, exists); err != nil {
		return nil, s.metrics.count(opState, err)
	}
	r := &Recording{spool: s, dir: dir, info: info}
	if err := r.load(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.register(r)
	s.mu.Unlock()
	return r, nil
}

// swapIn gives a complete replacement the name of the recording that it replaces. load repairs a
// crash between the two renames.
func (s *Spool) swapIn(dir, tmp string, exists bool) error {
	if err := s.fs.SyncDir("replace", s.recordingsDir()); err != nil {
		return err
	}
	gone := dir + forgetSuffix
	if exists {
		if err := s.fs.RemoveAll("replace", gone); err != nil {
			return err
		}
		if err := s.fs.Rename("replace", dir, gone); err != nil {
			return err
		}
		if err := s.fs.SyncDir("replace", s.recordingsDir()); err != nil {
			return err
		}
	}
	if err := s.fs.Rename("replace", tmp, dir); err != nil {
		return err
	}
	if err := s.fs.SyncDir("replace", s.recordingsDir()); err != nil {
		return err
	}
	return s.fs.RemoveAll("replace", gone)
}

// recoverReplacements finishes, for each replacement that is found, what a crash interrupted: if
// the old recording still exists, the replacement was not complete, or at least not yet in its
// place, and the caller must make it again; if it is gone, the replacement was about to take its
// name. It returns whether a name has changed. If only is empty, it covers all replacements.
func (s *Spool) recoverReplacements(entries []fs.DirEntry, only string) (changed bool, err error) {
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), replacementSuffix)
		if !ok || !e.IsDir() || only != "" && only != id {
			continue
		}
		path := filepath.Join(s.recordingsDir(), e.Name())
		if slices.ContainsFunc(entries, func(o fs.DirEntry) bool { return o.Name() == id }) {
			s.sweep(path)
			continue
		}
		sealed, err := s.fs.Exists("load", filepath.Join(path, sealedName))
		if err != nil {
			return changed, err
		}
		if !sealed { // a recording that was not there before, and was not finished
			s.sweep(path)
			continue
		}
		if err := s.fs.Rename("load", path, filepath.Join(s.recordingsDir(), id)); err != nil {
			return changed, err
		}
		changed = true
	}
	if changed {
		err = s.fs.SyncDir("load", s.recordingsDir())
	}
	return changed, err
}

// fillReplacement writes everything of a replacement durably, but not its own
// name. sealed.json is last: with it, it is complete.
func (s *Spool) fillReplacement(dir string, info Info, sealed Sealed, segments []segment.Source,
	note []byte, edit Edit,
) error {
	data, err := encodeState(info)
	if err != nil {
		return err
	}
	if err := durable.WriteFileOnce(s.fs, "replace", filepath.Join(dir, recordingName),
		data); err != nil {
		return err
	}
	if err := durable.WriteFileOnce(s.fs, "replace", filepath.Join(dir, rewriteName),
		note); err != nil {
		return err
	}
	before, err := encodeState(sealed)
	if err != nil {
		return err
	}
	re := rewriter{
		spool: s, dir: dir, edit: edit, seed: sha256.Sum256(append(before, info.EgressID...)),
		fillers: mostFillers(sealed.Segments),
	}
	if err := re.run(segments); err != nil {
		return err
	}
	r := &Recording{spool: s, dir: dir, info: info}
	if sealed.Segments, err = r.readSegments(); err != nil {
		return err
	}
	if data, err = encodeState(sealed); err != nil {
		return err
	}
	return durable.WriteFileOnce(s.fs, "replace", filepath.Join(dir, sealedName), data)
}

// RewriteNote returns the note of the Rewrite that made this recording, false where
// it is as it was recorded.
func (r *Recording) RewriteNote() ([]byte, bool, error) {
	b, ok, err := r.readState(rewriteName)
	if err != nil || ok {
		return b, ok, err
	}
	return r.readState(oldRewriteName)
}

// MarkPurged states that nothing is left of what was delivered before the Rewrite. It is durable
// when it returns nil.
func (r *Recording) MarkPurged() error {
	r.stateMu.Lock()
	defer r.stateMu.Unlock()
	err := durable.WriteFileOnce(r.spool.fs, "purged", r.path(purgedName), []byte("{}\n"))
	if err != nil {
		return fmt.Errorf("recording %s: %w", r.ID(), r.spool.metrics.count(opState, err))
	}
	return nil
}

// PurgePending reports whether the recording was rewritten and MarkPurged was not
// called.
func (r *Recording) PurgePending() (bool, error) {
	_, rewritten, err := r.RewriteNote()
	if err != nil || !rewritten {
		return false, err
	}
	for _, name := range []string{purgedName, oldPurgedName} {
		if _, purged, err := r.readState(name); err != nil || purged {
			return false, err
		}
	}
	return true, nil
}
