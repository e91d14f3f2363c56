package standin

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"
	"unicode/utf8"
)

// Session states as SyncFlow stores them.
const (
	Started = "Started"
	Stopped = "Stopped"
)

type device struct {
	ID           string  `json:"id"`
	Name         string  `json:"name"`
	Group        string  `json:"group"`
	Comments     *string `json:"comments"`
	RegisteredAt int64   `json:"registeredAt"`
	RegisteredBy int     `json:"registeredBy"`
	ProjectID    string  `json:"projectId"`
}

type session struct {
	ID              string `json:"id"`
	Name            string `json:"name"`
	StartedAt       int64  `json:"startedAt"`
	Comments        string `json:"comments"`
	EmptyTimeout    int    `json:"emptyTimeout"`
	MaxParticipants int    `json:"maxParticipants"`
	LivekitRoomName string `json:"livekitRoomName"`
	ProjectID       string `json:"projectId"`
	Status          string `json:"status"`
	UpdatedAt       int64  `json:"updatedAt"`
}

var (
	errRecordNotFound = errors.New("Record not found")
	errTooLong        = errors.New("value too long for type character varying(50)")
)

// state is the database: a JSON file that is rewritten as a whole after every change. Concurrent
// changes share one write.
type state struct {
	path string

	mu       sync.Mutex
	Devices  []device  `json:"devices"`
	Sessions []session `json:"sessions"`
	changes  int

	writing sync.Mutex // taken before mu
	stored  int        // number of changes in the file
}

func openState(dir string) (*state, error) {
	s := &state{path: filepath.Join(dir, "syncflow.json")}
	b, err := os.ReadFile(s.path)
	if errors.Is(err, os.ErrNotExist) {
		return s, os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return nil, err
	}
	return s, json.Unmarshal(b, s)
}

// update runs f and stores its changes before it returns. If f fails, the file stays unchanged.
func (s *state) update(f func() error) error {
	s.mu.Lock()
	err := f()
	if err == nil {
		s.changes++
	}
	mine := s.changes
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.store(mine)
}

// store writes the file unless it already contains the given number of changes.
func (s *state) store(changes int) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.stored >= changes {
		return nil
	}
	s.mu.Lock()
	all := s.changes
	b, err := json.Marshal(s)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.path+".tmp", b, 0o600); err != nil {
		return err
	}
	if err := os.Rename(s.path+".tmp", s.path); err != nil {
		return err
	}
	s.stored = all
	return nil
}

func varchar50(texts ...string) error {
	for _, t := range texts {
		if utf8.RuneCountInString(t) > 50 {
			return errTooLong
		}
	}
	return nil
}

func (s *state) addDevice(d device) error {
	if err := varchar50(d.Name, d.Group); err != nil {
		return err
	}
	return s.update(func() error { s.Devices = append(s.Devices, d); return nil })
}

func (s *state) devices(project string) []device {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []device{}
	for _, d := range s.Devices {
		if d.ProjectID == project {
			list = append(list, d)
		}
	}
	return list
}

func (s *state) device(project, id string, remove bool) (device, error) {
	var found device
	err := s.update(func() error {
		for i, d := range s.Devices {
			if d.ID == id && d.ProjectID == project {
				found = d
				if remove {
					s.Devices = append(s.Devices[:i], s.Devices[i+1:]...)
				}
				return nil
			}
		}
		return errRecordNotFound
	})
	return found, err
}

func (s *state) hasGroup(project, group string) bool {
	for _, d := range s.devices(project) {
		if d.Group == group {
			return true
		}
	}
	return false
}

func (s *state) addSession(x session) error {
	if err := varchar50(x.Name); err != nil {
		return err
	}
	return s.update(func() error { s.Sessions = append(s.Sessions, x); return nil })
}

func (s *state) sessions(project string) []session {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []session{}
	for _, x := range s.Sessions {
		if x.ProjectID == project {
			list = append(list, x)
		}
	}
	return list
}

func (s *state) session(project, id string) (session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.Sessions {
		if x.ID == id && x.ProjectID == project {
			return x, nil
		}
	}
	return session{}, errRecordNotFound
}

func (s *state) stopSession(id string) (session, error) {
	var found session
	err := s.update(func() error {
		for i := range s.Sessions {
			if s.Sessions[i].ID == id {
				s.Sessions[i].Status, s.Sessions[i].UpdatedAt = Stopped, time.Now().Unix()
				found = s.Sessions[i]
				return nil
			}
		}
		return errRecordNotFound
	})
	return found, err
}

func (s *state) deleteSession(id string) error {
	return s.update(func() error {
		for i := range s.Sessions {
			if s.Sessions[i].ID == id {
				s.Sessions = append(s.Sessions[:i], s.Sessions[i+1:]...)
				return nil
			}
		}
		return errRecordNotFound
	})
}
