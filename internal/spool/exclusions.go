package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/durable"
)

// exclusionsName is the file, in the data directory, with the participants that an operator
// excludes.
const exclusionsName = "exclusions.json"

// exclusionKept is how long an exclusion from a session is stored after the session has no
// recording here any more.
const exclusionKept = 30 * 24 * time.Hour

// Exclusion is a participant who must not be recorded, by the decision of an operator.
type Exclusion struct {
	ProjectID string `json:"project_id"`
	SessionID string `json:"session_id,omitempty"` // "": from all sessions of the project
	Identity  string `json:"identity"`
	UnixNS    int64  `json:"unix_ns"` // when it was decided
}

type exclusionsFile struct {
	FormatVersion int         `json:"format_version"`
	Exclusions    []Exclusion `json:"exclusions"` // oldest first
}

// exclusions are those of a data directory.
type exclusions struct {
	list  []Exclusion // guarded by Spool.mu
	err   error       // the file is damaged
	dirty bool        // guarded by Spool.exclusionsMu: the last write failed
}

// loadExclusions reads the file when the spool is opened.
func (s *Spool) loadExclusions() {
	path := filepath.Join(s.dir, exclusionsName)
	b, err := s.fs.ReadFile("exclusions", path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var f exclusionsFile
	if err == nil {
		err = textegress.DecodeJSON(b, &f)
	}
	if err == nil && f.FormatVersion > FormatVersion {
		err = &newerError{f.FormatVersion}
	}
	if err == nil && s.lock != nil {
		err = s.fs.SyncDir("exclusions", s.dir) // its name may not be durable yet
	}
	if err != nil {
		// The decoder's error could quote an identity.
		s.excluded.err = fmt.Errorf("%s, which says who must not be recorded, cannot be read: "+
			"restore it from a backup, or remove it and exclude everybody again", path)
		return
	}
	s.excluded.list = f.Exclusions
}

// Excluded returns the identities that are excluded from a session, sorted. An error means that
// they are not known, and that nothing must be recorded.
func (s *Spool) Excluded(projectID, sessionID string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.excluded.err != nil {
		return nil, s.excluded.err
	}
	var out []string
	for _, x := range s.excluded.list {
		if x.ProjectID == projectID && (x.SessionID == "" || x.SessionID == sessionID) {
			out = append(out, x.Identity)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// Exclude excludes a participant. When it returns nil, the exclusion survives a power failure.
// After an error it is in force until the process ends, and a repeated call stores it.
func (s *Spool) Exclude(x Exclusion) error {
	return s.changeExclusions(func(list []Exclusion) []Exclusion {
		same := func(o Exclusion) bool {
			return o.ProjectID == x.ProjectID && o.SessionID == x.SessionID &&
				o.Identity == x.Identity
		}
		if slices.ContainsFunc(list, same) {
			return list
		}
		return append(list, x)
	})
}

// Include ends the exclusions of a participant: from the session or, if that is empty, all in the
// project. It returns how many it has ended. After an error, as many have ended until the process
// ends, and a repeated call stores that.
func (s *Spool) Include(projectID, sessionID, identity string) (ended int, err error) {
	err = s.changeExclusions(func(list []Exclusion) []Exclusion {
		return slices.DeleteFunc(list, func(o Exclusion) bool {
			match := o.ProjectID == projectID && o.Identity == identity &&
				(sessionID == "" || o.SessionID == sessionID)
			if match {
				ended++
			}
			return match
		})
	})
	return ended, err
}

// changeExclusions applies change to a copy of the list, and stores the result.
func (s *Spool) changeExclusions(change func([]Exclusion) []Exclusion) error {
	s.exclusionsMu.Lock()
	defer s.exclusionsMu.Unlock()
	if s.lock == nil {
		return fmt.Errorf("%s: %w", exclusionsName, ErrReadOnly)
	}
	s.mu.Lock()
	if err := s.excluded.err; err != nil {
		s.mu.Unlock()
		return err
	}
	before := len(s.excluded.list)
	list := change(slices.Clone(s.excluded.list))
	changed := len(list) != before
	s.excluded.list = list
	kept := []Exclusion{}
	for _, x := range list {
		_, known := s.sessions[sessionOf{x.ProjectID, x.SessionID}]
		if x.SessionID == "" || known || time.Since(time.Unix(0, x.UnixNS)) < exclusionKept {
			kept = append(kept, x)
		}
	}
	s.mu.Unlock()
	if !changed && !s.excluded.dirty {
		return nil
	}
	s.excluded.dirty = true
	data, err := encodeState(exclusionsFile{FormatVersion: FormatVersion, Exclusions: kept})
	if err != nil {
		return fmt.Errorf("%s: %w", exclusionsName, err)
	}
	write := func() error {
		return durable.ReplaceFile(s.fs, "exclusions", filepath.Join(s.dir, exclusionsName), data)
	}
	if err := s.disk.WithBallast(write); err != nil {
		return s.metrics.count(opState, err)
	}
	s.excluded.dirty = false
	s.mu.Lock()
	s.excluded.list = kept
	s.mu.Unlock()
	return nil
}
