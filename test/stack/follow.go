package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// LogEntry is a line of the log of a recorder that runs with LOG_FORMAT=json; fields that the line
// lacks are zero.
type LogEntry struct {
	Time      time.Time `json:"time"`
	Msg       string    `json:"msg"`
	SessionID string    `json:"session_id"`
	EgressID  string    `json:"egress_id"`
}

// LogFollower reads the recorder's log as it grows. Unlike a request, this costs the recorder
// nothing.
type LogFollower struct {
	f    *os.File
	rest []byte // of an incomplete line
}

// FollowLog returns a follower that starts at the first line of the log.
func (r *Recorder) FollowLog() (*LogFollower, error) {
	f, err := os.Open(r.LogPath())
	if err != nil {
		return nil, fmt.Errorf("log of the recorder: %w", err)
	}
	return &LogFollower{f: f}, nil
}

// Close closes the file.
func (l *LogFollower) Close() error { return l.f.Close() }

// Next returns the lines completed since the last call, without those that are not JSON.
func (l *LogFollower) Next() ([]LogEntry, error) {
	b, err := io.ReadAll(l.f)
	if err != nil {
		return nil, fmt.Errorf("log of the recorder: %w", err)
	}
	l.rest = append(l.rest, b...)
	var list []LogEntry
	for {
		line, after, whole := bytes.Cut(l.rest, []byte("\n"))
		if !whole {
			return list, nil
		}
		l.rest = after
		var e LogEntry
		if json.Unmarshal(line, &e) == nil {
			list = append(list, e)
		}
	}
}

// AwaitUploaded waits, without requests to the recorder, until a recording is delivered, and
// returns the time at which its last object was verified.
func (r *Recorder) AwaitUploaded(ctx context.Context, egressID string) (time.Time, error) {
	name := filepath.Join(r.DataDir(), "recordings", egressID, "uploaded.json")
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		var up struct {
			NS int64 `json:"uploaded_unix_ns"`
		}
		if b, err := os.ReadFile(name); err == nil && json.Unmarshal(b, &up) == nil {
			return time.Unix(0, up.NS), nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("%s was not delivered: %w\n%s", egressID, ctx.Err(),
				r.LogTail(3000))
		}
	}
}
