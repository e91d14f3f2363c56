package web

import (
	"context"
	"slices"
	"time"
)

// Service is what this package needs of the service. The composition root implements it; every
// method may be called at any time and from any goroutine.
type Service interface {
	// Status is a snapshot; it must not block on the network.
	Status() Status
	// NotReady lists why the service cannot do its work just now, in words for an operator; empty
	// means ready.
	NotReady() []string
	// Record starts the recording of a running session that nobody announced, and returns its
	// egress id as soon as the recording's intent is durable. An empty project stands for whichever
	// configured project knows the session.
	Record(ctx context.Context, sessionID, project string) (egressID string, err error)
	// Forget removes a participant from the recordings. Request and answer are JSON, of package
	// erasure.
	Forget(ctx context.Context, request []byte) (answer []byte, err error)
}

// Status is the document served as /status.json. docs/OPERATIONS.md explains its keys; a key is
// never renamed.
type Status struct {
	Version    string            `json:"version"`
	Instance   string            `json:"instance"`
	DataDir    string            `json:"data_dir"`
	StartedAt  time.Time         `json:"started_at,omitzero"`
	Ready      bool              `json:"ready"`
	NotReady   []string          `json:"not_ready"`
	Disk       DiskStatus        `json:"disk"`
	Projects   []ProjectStatus   `json:"projects"`
	Recordings []RecordingStatus `json:"recordings"`
	// absent: the settings were not read again since the start
	LastReload *ReloadStatus `json:"last_reload,omitempty"`
}

// ReloadStatus is the result of reading the settings again.
type ReloadStatus struct {
	At time.Time `json:"at"`
	// what is wrong with the new settings; the old ones stay in force then
	Error string `json:"error,omitempty"`
	// Applied and NeedsRestart name the settings that differ: those now in force, and those that
	// will be after a restart.
	Applied      []string `json:"applied"`
	NeedsRestart []string `json:"needs_restart"`
}

// States of the disk in [DiskStatus].
const (
	DiskOK = "ok"
	// less than DISK_MIN_FREE: no new sessions, running recordings continue
	DiskLow  = "low"
	DiskFull = "full" // nothing can be recorded; it goes on by itself when there is room
)

// DiskStatus is the state of the file system of the data directory, as last polled.
type DiskStatus struct {
	State        string `json:"state"` // one of the Disk… constants
	FreeBytes    uint64 `json:"free_bytes"`
	MinFreeBytes uint64 `json:"min_free_bytes"` // DISK_MIN_FREE
	// size of the ballast, for stating what was missed on a full disk; 0: released
	ReserveBytes int64     `json:"reserve_bytes"`
	Since        time.Time `json:"since,omitzero"` // since when it is low or full
}

// States of a project in [ProjectStatus].
const (
	ProjectStarting = "starting" // not yet connected to the API or the broker
	ProjectRunning  = "running"  // sessions that are announced are recorded
	// could not start or lost something it needs; retries automatically
	ProjectRetrying = "retrying"
	ProjectBroken   = "broken" // its configuration is wrong; needs a change and a reload
)

// ProjectStatus is the state of one configured project.
type ProjectStatus struct {
	Index int    `json:"index"` // n of PROJECTS__n__
	ID    string `json:"id"`
	Name  string `json:"name,omitempty"` // as SyncFlow knows it; absent until it was asked
	State string `json:"state"`          // one of the Project… constants
	Error string `json:"error,omitempty"`

	Broker BrokerStatus `json:"broker"`
	// where recordings are delivered, without secrets
	Bucket string `json:"bucket,omitempty"`
	// sealed recordings that are not yet delivered and verified
	PendingUploads int    `json:"pending_uploads"`
	UploadError    string `json:"upload_error,omitempty"`

	// UnrequestedSessions are running sessions that nobody asked to have recorded.
	UnrequestedSessions []SessionRef `json:"unrequested_sessions"`
	// UnrecordedSessions are running sessions that are not recorded although somebody asked for it.
	UnrecordedSessions []UnrecordedSession `json:"unrecorded_sessions"`
	// when the session list was last compared with what is recorded
	LastReconcile time.Time `json:"last_reconcile,omitzero"`
}

// BrokerStatus is the state of the connection on which sessions are announced.
type BrokerStatus struct {
	Connected bool   `json:"connected"`
	Queue     string `json:"queue,omitempty"`
	// true: the broker refused a durable queue, announcements made while disconnected are lost
	Exclusive bool      `json:"exclusive"`
	Since     time.Time `json:"since,omitzero"`
	Error     string    `json:"error,omitempty"`
}

// SessionRef names a session.
type SessionRef struct {
	SessionID string `json:"session_id"`
	RoomName  string `json:"room_name"`
}

// UnrecordedSession is a running session from which the recorder was removed.
type UnrecordedSession struct {
	SessionRef

	// why it is not recorded any more: "participant_removed", an administrator removed the recorder
	Reason string    `json:"reason"`
	Since  time.Time `json:"since,omitzero"`
}

// RecordingStatus is the state of one recording that is still on this machine.
type RecordingStatus struct {
	EgressID  string `json:"egress_id"`
	ProjectID string `json:"project_id"`
	SessionID string `json:"session_id"`
	RoomName  string `json:"room_name"`

	Status string `json:"status"` // STARTING, ACTIVE, ENDING, COMPLETE, FAILED, ABORTED
	// of the local data: open, sealed, exported, uploaded, removed
	State     string    `json:"state"`
	Reason    string    `json:"reason,omitempty"`
	Connected bool      `json:"connected"` // in the room just now
	Part      int       `json:"part"`
	StartedAt time.Time `json:"started_at,omitzero"`

	Packets      uint64 `json:"packets"`  // data packets received
	Bytes        uint64 `json:"bytes"`    // of those packets
	Recorded     uint64 `json:"recorded"` // frames written: they survive the end of the process
	Durable      uint64 `json:"durable"`  // frames synced: they survive a power loss
	Participants int    `json:"participants"`
	Outages      int    `json:"outages"`
	// the disk failed to make a segment durable: what is there may not survive a loss of power
	Suspect      bool      `json:"suspect"`
	LastPacketAt time.Time `json:"last_packet_at,omitzero"`
	UploadError  string    `json:"upload_error,omitempty"`
}

// withEmptyLists replaces nil lists with empty ones, so that programs need not check for null.
func (s Status) withEmptyLists() Status {
	s.NotReady = nonNil(s.NotReady)
	s.Projects = nonNil(slices.Clone(s.Projects))
	s.Recordings = nonNil(s.Recordings)
	if s.LastReload != nil {
		r := *s.LastReload
		r.Applied, r.NeedsRestart = nonNil(r.Applied), nonNil(r.NeedsRestart)
		s.LastReload = &r
	}
	for i := range s.Projects {
		s.Projects[i].UnrequestedSessions = nonNil(s.Projects[i].UnrequestedSessions)
		s.Projects[i].UnrecordedSessions = nonNil(s.Projects[i].UnrecordedSessions)
	}
	return s
}

func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
