package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/durable"
)

// messagesName is the directory of the cursors, in the directory of events.
const messagesName = "messages"

// cursor states how much of a recording a receiver has accepted.
type cursor struct {
	FormatVersion int    `json:"format_version"`
	EgressID      string `json:"egress_id"`
	ProjectID     string `json:"project_id"`
	// Version is that of the lines that N and SentN number; empty: none was sent yet.
	Version string `json:"version,omitempty"`
	// Replaces is the version of earlier batches.
	Replaces string `json:"replaces_version,omitempty"`
	// N is the last line that was accepted or left out, SentN the last one of an accepted batch.
	N     int64 `json:"n"`
	SentN int64 `json:"sent_n"`
}

// cursors is the directory of the cursors. It caches nothing.
type cursors struct {
	fs  durable.FS
	dir string
}

func (s store) cursors() cursors { return cursors{s.fs, filepath.Join(s.dir, messagesName)} }

func (c cursors) path(egressID, receiver, suffix string) string {
	return filepath.Join(c.dir, egressID+"."+receiver+suffix)
}

// parseCursorName is the reverse of path.
func parseCursorName(name string) (egressID, receiver, suffix string, ok bool) {
	parts := strings.Split(name, ".")
	if len(parts) != 3 {
		return "", "", "", false
	}
	suffix = "." + parts[2]
	ok = suffix == pendingSuffix || suffix == sentSuffix || suffix == givenUpSuffix
	return parts[0], parts[1], suffix, ok
}

func (c cursors) open() error {
	if err := durable.MkdirAll(c.fs, "mkdir", c.dir); err != nil {
		return err
	}
	return c.fs.SyncDir("open", c.dir)
}

// read returns a cursor. The error is a [damagedError] if the file cannot be used.
func (c cursors) read(path string) (cursor, error) {
	b, err := c.fs.ReadFile("read", path)
	if err != nil {
		return cursor{}, err
	}
	var f cursor
	err = textegress.DecodeJSON(b, &f)
	switch {
	case err != nil:
		return cursor{}, &damagedError{filepath.Base(path), err}
	case f.FormatVersion > formatVersion:
		return cursor{}, fmt.Errorf("read %s: format version %d, this program knows %d",
			filepath.Base(path), f.FormatVersion, formatVersion)
	case f.FormatVersion < 1 || f.N < f.SentN || f.SentN < 0:
		return cursor{}, &damagedError{filepath.Base(path), errors.New("a value is wrong")}
	}
	return f, nil
}

// save replaces a cursor durably.
func (c cursors) save(receiver string, f cursor) error {
	path := c.path(f.EgressID, receiver, pendingSuffix)
	data, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode %s: %w", filepath.Base(path), err)
	}
	return durable.ReplaceFile(c.fs, "cursor", path, append(data, '\n'))
}

// finish marks a recording as sent or given up, by the suffix. The cursor has been saved.
func (c cursors) finish(egressID, receiver, suffix string) error {
	from, to := c.path(egressID, receiver, pendingSuffix), c.path(egressID, receiver, suffix)
	if err := c.fs.Rename("finish", from, to); err != nil {
		// An earlier call may have failed after the rename.
		if there, existsErr := c.fs.Exists("finish", to); existsErr != nil || !there {
			return err
		}
	}
	return c.fs.SyncDir("finish", c.dir)
}

// remove removes everything about a recording that no longer exists.
func (c cursors) remove(egressID, receiver string) error {
	for _, suffix := range []string{pendingSuffix, sentSuffix, givenUpSuffix} {
		err := c.fs.Remove("remove", c.path(egressID, receiver, suffix))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
