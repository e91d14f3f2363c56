package spool

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/syncflow/textegress/internal/durable"
)

// Join is the content of join.json: the credentials with which the recorder joined the room of an
// open recording. The file exists only while the recording is open and is never delivered, because
// the token is a secret.
type Join struct {
	URL      string `json:"url"`
	Token    string `json:"token"`
	Identity string `json:"identity"`
	NodeID   string `json:"node_id,omitempty"` // of the server's node
	// InRoomUnixNS is the last time, as of the last write of the file, at which the recorder was
	// certainly in the room.
	InRoomUnixNS int64 `json:"in_room_unix_ns"`
}

// LogValue keeps the token out of logs.
func (j Join) LogValue() slog.Value { return slog.StringValue(j.String()) }

// String keeps the token out of formatted text.
func (j Join) String() string { return "join of " + j.URL }

// KeepJoin stores j for the next process and replaces the previously stored join. Recordings do not
// depend on it: callers continue after an error, and the ballast is not released for it.
func (r *Recording) KeepJoin(j Join) error {
	data, err := encodeState(j)
	if err != nil {
		return fmt.Errorf("recording %s: %s: %w", r.ID(), joinName, err)
	}
	r.stateMu.Lock()
	defer r.stateMu.Unlock()
	if r.readOnly {
		return fmt.Errorf("recording %s: %s: %w", r.ID(), joinName, ErrReadOnly)
	}
	if r.State() != StateOpen {
		return fmt.Errorf("recording %s: %s: %w", r.ID(), joinName, ErrSealed)
	}
	if err := durable.ReplaceFile(r.spool.fs, "join", r.path(joinName), data); err != nil {
		return fmt.Errorf("recording %s: %w", r.ID(), r.spool.metrics.count(opState, err))
	}
	return nil
}

// Join returns the join that KeepJoin stored, and false if there is none or it is unusable.
func (r *Recording) Join() (Join, bool) {
	b, found, err := r.readState(joinName)
	var j Join
	if err != nil || !found || r.State() != StateOpen || json.Unmarshal(b, &j) != nil {
		return Join{}, false
	}
	return j, j.URL != "" && j.Token != ""
}

// dropJoin removes join.json and any temporary file that a crash left. It runs when the recording
// is sealed, and when the spool finds a sealed recording that still has the file. It makes the
// removal durable, so that no token reappears after a power failure.
func (r *Recording) dropJoin() {
	there := false
	for _, name := range []string{joinName, joinName + durable.TempSuffix} {
		err := r.spool.fs.Remove("join", r.path(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		there = true
		if err != nil {
			r.spool.log.Error("cannot remove the join token of an ended recording; the next "+
				"start retries",
				"egress_id", r.ID(), "error", r.spool.metrics.count(opRemove, err))
		}
	}
	if !there {
		return
	}
	if err := r.spool.fs.SyncDir("join", r.dir); err != nil {
		r.spool.log.Error("cannot make the removal of a join token durable",
			"egress_id", r.ID(), "error", r.spool.metrics.count(opRemove, err))
	}
}
