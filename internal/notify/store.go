package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/durable"
)

// Names in the data directory. docs/FORMAT.md describes the files.
const (
	dirName       = "webhooks"
	receiversName = "receivers"

	pendingSuffix = ".json"
	sentSuffix    = ".sent"
	givenUpSuffix = ".given_up"
	damagedSuffix = ".damaged"
)

const formatVersion = 1

// eventFile is one event for one receiver.
type eventFile struct {
	FormatVersion int             `json:"format_version"`
	EgressID      string          `json:"egress_id"`
	ProjectID     string          `json:"project_id"`
	Event         string          `json:"event"`
	ID            string          `json:"id"`
	CreatedUnixNS int64           `json:"created_unix_ns"`
	Body          json.RawMessage `json:"body"` // the body of the request
}

// receiverFile states since when the settings name a receiver.
type receiverFile struct {
	FormatVersion int    `json:"format_version"`
	ProjectID     string `json:"project_id"`
	Host          string `json:"host"`
	SinceUnixNS   int64  `json:"since_unix_ns"`
}

// receiverID returns the name of a receiver in files. It is a digest, because the URL may contain a
// secret.
func receiverID(projectID, url string) string {
	sum := sha256.Sum256([]byte(projectID + "\n" + url))
	return hex.EncodeToString(sum[:8])
}

// store is the directory of events. It caches nothing.
type store struct {
	fs  durable.FS
	dir string
}

func (s store) receiversDir() string { return filepath.Join(s.dir, receiversName) }

func (s store) path(egressID, receiver string, n step, suffix string) string {
	return filepath.Join(s.dir, fmt.Sprintf("%s.%s.%d%s", egressID, receiver, n, suffix))
}

// parseName is the reverse of path.
func parseName(name string) (egressID, receiver string, n step, suffix string, ok bool) {
	parts := strings.Split(name, ".")
	if len(parts) != 4 {
		return "", "", 0, "", false
	}
	number, err := strconv.Atoi(parts[2])
	n, suffix = step(number), "."+parts[3]
	ok = err == nil && n >= stepStarting && n <= stepEnded &&
		(suffix == pendingSuffix || suffix == sentSuffix || suffix == givenUpSuffix)
	return parts[0], parts[1], n, suffix, ok
}

// open creates the directories and makes their entries durable: a process that died may have left
// files that are visible but not durable.
func (s store) open() error {
	if err := durable.MkdirAll(s.fs, "mkdir", s.receiversDir()); err != nil {
		return err
	}
	if err := s.fs.SyncDir("open", s.receiversDir()); err != nil {
		return err
	}
	return s.fs.SyncDir("open", s.dir)
}

// read returns an event.
func (s store) read(path string) (eventFile, error) {
	b, err := s.fs.ReadFile("read", path)
	if err != nil {
		return eventFile{}, err
	}
	var e eventFile
	err = textegress.DecodeJSON(b, &e)
	switch {
	case err != nil:
		return eventFile{}, &damagedError{filepath.Base(path), err}
	case e.FormatVersion > formatVersion:
		return eventFile{}, fmt.Errorf("read %s: format version %d, this program knows %d",
			filepath.Base(path), e.FormatVersion, formatVersion)
	case e.FormatVersion < 1 || e.ID == "" || e.CreatedUnixNS <= 0 || len(e.Body) == 0:
		return eventFile{}, &damagedError{filepath.Base(path), errors.New("a value is missing")}
	}
	return e, nil
}

// damagedError reports an event that cannot be read but can be created again from its recording.
type damagedError struct {
	name string
	err  error
}

func (e *damagedError) Error() string { return fmt.Sprintf("read %s: %v", e.name, e.err) }
func (e *damagedError) Unwrap() error { return e.err }

// isDamaged reports whether err is a [damagedError].
func isDamaged(err error) bool {
	_, damaged := errors.AsType[*damagedError](err)
	return damaged
}

// put writes an event durably and returns it. If the file exists, because an earlier attempt failed
// after creating it, put returns its content.
func (s store) put(path string, e eventFile) (eventFile, error) {
	there, err := s.read(path)
	if err == nil {
		return there, s.fs.SyncDir("write", s.dir)
	}
	if damaged, ok := errors.AsType[*damagedError](err); ok {
		if err := s.setAside(path); err != nil {
			return eventFile{}, errors.Join(damaged, err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return eventFile{}, err
	}
	data, err := json.Marshal(e)
	if err == nil {
		// Marshal escapes the body for HTML: send the same bytes that a later process reads.
		err = json.Unmarshal(data, &e)
	}
	if err != nil {
		return eventFile{}, fmt.Errorf("encode %s: %w", filepath.Base(path), err)
	}
	return e, durable.WriteFileOnce(s.fs, "write", path, append(data, '\n'))
}

// setAside renames a damaged event, so that it is created again.
func (s store) setAside(path string) error {
	if err := s.fs.Rename("damaged", path, path+damagedSuffix); err != nil {
		return err
	}
	return s.fs.SyncDir("damaged", s.dir)
}

// finish marks an event as accepted or given up, by the suffix. Once the mark is durable, it
// removes the mark of the previous step, which is no longer needed.
func (s store) finish(egressID, receiver string, n step, suffix string) error {
	from, to := s.path(egressID, receiver, n, pendingSuffix), s.path(egressID, receiver, n, suffix)
	if err := s.fs.Rename("finish", from, to); err != nil {
		// An earlier call may have failed after the rename.
		if there, existsErr := s.fs.Exists("finish", to); existsErr != nil || !there {
			return err
		}
	}
	if err := s.fs.SyncDir("finish", s.dir); err != nil {
		return err
	}
	return s.removeMarks(egressID, receiver, n-1)
}

// removeMarks removes the marks of the steps up to the last one.
func (s store) removeMarks(egressID, receiver string, last step) error {
	for n := stepStarting; n <= last; n++ {
		for _, suffix := range []string{sentSuffix, givenUpSuffix} {
			err := s.fs.Remove("remove", s.path(egressID, receiver, n, suffix))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// messagesID returns the name of a receiver as one of messages. Its events and its messages are
// subscribed to, tried and settled independently.
func messagesID(projectID, url string) string {
	return receiverID(projectID, url+"\n"+EventMessage)
}

// since returns the time, in nanoseconds since 1970, at which the settings first named a receiver.
// If it is not on disk, since stores and returns seen, the time at which this process first found
// the receiver there.
func (s store) since(id, projectID, host string, seen int64) (int64, error) {
	path := filepath.Join(s.receiversDir(), id+pendingSuffix)
	f, err := s.readReceiver(path)
	if err == nil {
		return f.SinceUnixNS, s.fs.SyncDir("receiver", s.receiversDir())
	}
	_, damaged := errors.AsType[*damagedError](err)
	if !damaged && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	data, err := json.Marshal(receiverFile{formatVersion, projectID, host, seen})
	if err != nil {
		return 0, fmt.Errorf("encode %s: %w", filepath.Base(path), err)
	}
	return seen, durable.ReplaceFile(s.fs, "receiver", path, append(data, '\n'))
}

func (s store) readReceiver(path string) (receiverFile, error) {
	b, err := s.fs.ReadFile("receiver", path)
	if err != nil {
		return receiverFile{}, err
	}
	var f receiverFile
	err = textegress.DecodeJSON(b, &f)
	if err == nil && f.SinceUnixNS <= 0 {
		err = errors.New("a value is missing")
	}
	if err != nil {
		return receiverFile{}, &damagedError{filepath.Base(path), err}
	}
	return f, nil
}

// receivers returns the projects of the stored receivers, by receiver id.
func (s store) receivers() (map[string]string, error) {
	entries, err := s.fs.ReadDir("receivers", s.receiversDir())
	if err != nil {
		return nil, err
	}
	known := map[string]string{}
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), pendingSuffix)
		if !ok {
			continue
		}
		f, err := s.readReceiver(filepath.Join(s.receiversDir(), e.Name()))
		if _, damaged := errors.AsType[*damagedError](err); damaged {
			continue // the method since replaces it
		}
		if err != nil {
			return nil, err
		}
		known[id] = f.ProjectID
	}
	return known, nil
}

// removeReceiver removes a receiver that the settings no longer name. If they name it again, it
// counts as new.
func (s store) removeReceiver(id string) error {
	err := s.fs.Remove("receiver", filepath.Join(s.receiversDir(), id+pendingSuffix))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.fs.SyncDir("receiver", s.receiversDir())
}
