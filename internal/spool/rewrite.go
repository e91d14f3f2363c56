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
	replacementSuffix = ".replacement" // of a directory that will replace a recording
	rewriteName       = "rewrite.json"
	// oldRewriteName and oldPurgedName are the names that earlier versions wrote. They are still
	// read.
	oldRewriteName = "replaced.json"
	oldPurgedName  = "settled.json"
	// fillerEvent replaces each missing frame of a range except the first, whose event describes
	// the whole range.
	fillerEvent = `{"kind":"forgotten"}`
	purgedName  = "purged.json"
)

// Edit changes a frame before it is written. Index stays the same. Edit may change the payload in
// place or replace it with one that need not stay valid after the call. State frames of the
// recorder reach Edit with an empty state. Edit also receives the frame by which segment.Read
// represents a damaged range; that frame is written in place of the range. An error ends the
// rewrite.
type Edit func(f *segment.Frame) error

// Rewrite creates a sealed recording from the frames of segments after edit has changed them. It
// replaces the recording with the same egress id, if there is one. info and sealed describe the
// recording; Rewrite measures the segments of sealed again. It stores note as rewrite.json.
//
// Segments from outside the spool determine only the content: info must equal that of the recording
// in the spool, names must be segment names in order, and fillers replace no more missing frames
// than the segments of sealed can have held. Rewrite needs as much space as Recording.CheckStaging
// requires, and stops if free space runs low.
//
// When it returns nil, the new recording is sealed and survives a power failure, and the old one
// with all its files is gone. After an error or a crash, either the old or the new recording exists
// in full. The new recording contains every readable frame, and a frame that reports the damage in
// place of each damaged range.
//
// The old recording must not be used during the call; its methods fail afterwards. For an open
// recording the error wraps ErrState. The same segments, edit and sealed produce the same bytes.
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
		return nil, errors.New("the recording has another format version")
	}
	old, exists := s.Recording(info.EgressID)
	if exists && old.State() == StateOpen {
		return nil, fmt.Errorf("%w: %s", ErrState, StateOpen)
	}
	if exists && !info.same(old.Info()) {
		return nil, fmt.Errorf("%w: the replacement belongs to another recording", ErrState)
	}
	if err := checkOrder(segments); err != nil {
		return nil, err
	}
	if err := s.disk.Room(twice(sealed.Segments), "removing a participant from"); err != nil {
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
	if exists {
		if err := s.copySmall(old, tmp); err != nil {
			return nil, errors.Join(s.metrics.count(opState, err), s.fs.RemoveAll("replace", tmp))
		}
	}
	if err := s.fillReplacement(tmp, info, sealed, segments, note, edit); err != nil {
		return nil, errors.Join(s.metrics.count(opState, err), s.fs.RemoveAll("replace", tmp))
	}
	if exists {
		old.stateMu.Lock()
		defer old.stateMu.Unlock()
		old.mu.Lock()
		old.readOnly = true // callers that still hold it cannot change it
		old.progress.Replacing = true
		old.mu.Unlock()
	}
	if err := s.swapIn(dir, tmp, exists); err != nil {
		if exists {
			old.update(func(p *Progress) { p.Removing = true })
		}
		return nil, s.metrics.count(opState, err)
	}
	r := &Recording{spool: s, dir: dir, info: info}
	if err := r.load(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.register(r)
	s.mu.Unlock()
	if exists {
		old.update(func(p *Progress) { p.Replaced = true })
	}
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

// recoverReplacements resolves each replacement that a crash interrupted. If the old recording
// still exists, the replacement was not yet in place and is removed; the caller must create it
// again. If the old recording is gone, a complete replacement takes its name. recoverReplacements
// reports whether a name has changed. If only is not empty, it handles only the replacement of that
// recording.
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
		if !sealed { // an unfinished rewrite without an old recording
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

// fillReplacement durably writes the content of a replacement, but does not make the name of its
// directory durable. It writes sealed.json last, so a replacement with sealed.json is complete.
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

// RewriteNote returns the note of the Rewrite that created this recording, and false if it was
// never rewritten.
func (r *Recording) RewriteNote() ([]byte, bool, error) {
	b, ok, err := r.readState(rewriteName)
	if err != nil || ok {
		return b, ok, err
	}
	return r.readState(oldRewriteName)
}

// MarkPurged states that nothing remains of the deliveries made before the Rewrite. The mark is
// durable when MarkPurged returns nil.
func (r *Recording) MarkPurged() error {
	r.stateMu.Lock()
	defer r.stateMu.Unlock()
	err := durable.WriteFileOnce(r.spool.fs, "purged", r.path(purgedName), []byte("{}\n"))
	if err != nil {
		return fmt.Errorf("recording %s: %w", r.ID(), r.spool.metrics.count(opState, err))
	}
	return nil
}

// PurgePending reports whether the recording was rewritten and not yet marked as purged.
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
