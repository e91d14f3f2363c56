package spool

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/durable"
)

// runsFile is the content of runs.json.
type runsFile struct {
	Runs []string `json:"runs"` // sids of rooms, in the order in which they continued the session
}

// AddRun stores that another run of the room continues the session of an open recording: a server
// crashed and the room was recreated. From then on, Latest also finds the recording by the id of
// the run, which is the sid of the room. When AddRun returns nil, the run survives a power failure.
func (r *Recording) AddRun(sid string) error {
	if err := r.addRun(sid); err != nil {
		return fmt.Errorf("recording %s: %s: %w", r.ID(), runsName, err)
	}
	return nil
}

func (r *Recording) addRun(sid string) error {
	r.stateMu.Lock()
	defer r.stateMu.Unlock()
	switch {
	case r.readOnly:
		return ErrReadOnly
	case r.State() != StateOpen:
		return ErrSealed
	case r.Run() == sid:
		return nil
	}
	runs := append(r.addedRuns(), sid)
	data, err := encodeState(runsFile{runs})
	if err != nil {
		return err
	}
	write := func() error {
		return durable.ReplaceFile(r.spool.fs, "runs", r.path(runsName), data)
	}
	if err := r.spool.disk.WithBallast(write); err != nil {
		return r.spool.metrics.count(opState, err)
	}
	// The index is built from the runs.
	r.spool.mu.Lock()
	defer r.spool.mu.Unlock()
	registered := r.spool.recordings[r.ID()] == r
	if registered {
		r.spool.unregister(r.ID())
	}
	r.mu.Lock()
	r.runs = runs
	r.mu.Unlock()
	if registered {
		r.spool.register(r)
	}
	return nil
}

// Run returns the current id of the session on the platform: the run of the room that AddRun stored
// last, otherwise the id with which the recording began.
func (r *Recording) Run() string {
	ids := r.sessionIDs()
	return ids[len(ids)-1]
}

// sessionIDs returns the ids of the session of the recording, without repetition, the latest last.
func (r *Recording) sessionIDs() []string {
	ids := []string{r.info.SessionID}
	for _, id := range append([]string{r.info.Run}, r.addedRuns()...) {
		if id == "" {
			continue
		}
		ids = slices.DeleteFunc(ids, func(other string) bool { return other == id })
		ids = append(ids, id)
	}
	return ids
}

func (r *Recording) addedRuns() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.runs)
}

// loadRuns reads runs.json. A damaged file is ignored: its runs are other sessions then.
func (r *Recording) loadRuns() error {
	b, err := r.spool.fs.ReadFile("load", r.path(runsName))
	if err != nil {
		return err
	}
	var f runsFile
	if err := textegress.DecodeJSON(b, &f); err != nil {
		r.spool.log.Error("damaged state file, it is ignored: a room that the server made again "+
			"counts as another session", "path", r.path(runsName), "error", err)
		return nil
	}
	r.runs = f.Runs
	return nil
}

// copySmall copies the small state files that a rewrite preserves to the directory that replaces a
// recording.
func (s *Spool) copySmall(from *Recording, dir string) error {
	files := map[string]any{}
	if stop, ok := from.Stop(); ok {
		files[stopName] = stop
	}
	if runs := from.addedRuns(); len(runs) > 0 {
		files[runsName] = runsFile{runs}
	}
	if ids := from.addedRequests(); len(ids) > 0 {
		files[requestsName] = requestsFile{ids}
	}
	for name, content := range files {
		data, err := encodeState(content)
		if err != nil {
			return err
		}
		err = durable.WriteFileOnce(s.fs, "replace", filepath.Join(dir, name), data)
		if err != nil {
			return err
		}
	}
	return nil
}
