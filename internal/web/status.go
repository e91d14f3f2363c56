package web

import (
	"context"
	"slices"
	"time"
)

// Service is the part of the service that this package uses. The composition root implements it.
// Every method may be called at any time and from any goroutine.
type Service interface {
	// Status returns a snapshot. It must not block on the network.
	Status() Status
	// NotReady lists the reasons why the service is not ready, for an operator. It is empty if the
	// service is ready.
	NotReady() []string
	// Record starts the recording of a running session that was not announced, and returns its
	// egress id as soon as the intent to record it is durable. If project is empty, the configured
	// project that has the session is used.
	Record(ctx context.Context, sessionID, project string) (egressID string, err error)
	// StopRecording ends a recording, and with it the recording of its session, durably. id is an
	// egress id, or the id of a session.
	StopRecording(ctx context.Context, id string) (egressID string, err error)
	// Exclude excludes a participant from what is recorded, durably, or includes one again. After
	// an error an exclusion may be in force all the same.
	Exclude(ctx context.Context, q ExcludeRequest) (ExcludeAnswer, error)
	// Forget removes a participant from the recordings. request and answer are JSON of package
	// erasure.
	Forget(ctx context.Context, request []byte) (answer []byte, err error)
	// Rehearse makes a test recording in a project, and reports each step as it ends. If project is
	// empty, the only running project is used. It returns an error if a step failed.
	Rehearse(ctx context.Context, project string, report func(RehearsalStep)) error
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
	// absent if the settings have not been reloaded since the start
	LastReload *ReloadStatus `json:"last_reload,omitempty"`
}

// ReloadStatus is the result of reloading the settings.
type ReloadStatus struct {
	At time.Time `json:"at"`
	// error in the new settings; the old ones then stay in force
	Error string `json:"error,omitempty"`
	// Applied and NeedsRestart name the changed settings: those that are now in force, and those
	// that require a restart.
	Applied      []string `json:"applied"`
	NeedsRestart []string `json:"needs_restart"`
}

// States of the disk in [DiskStatus].
const (
	DiskOK = "ok"
	// less than DISK_MIN_FREE: no new sessions, running recordings continue
	DiskLow  = "low"
	DiskFull = "full" // nothing can be recorded; recording continues when there is space
)

// DiskStatus is the state of the file system of the data directory, as last polled.
type DiskStatus struct {
	State        string `json:"state"` // one of the Disk… constants
	FreeBytes    uint64 `json:"free_bytes"`
	MinFreeBytes uint64 `json:"min_free_bytes"` // DISK_MIN_FREE
	// size of the ballast, which is used to record what was missed on a full disk; 0: released
	ReserveBytes int64     `json:"reserve_bytes"`
	Since        time.Time `json:"since,omitzero"` // start of the state low or full
}

// States of a project in [ProjectStatus].
const (
	ProjectStarting = "starting" // not yet connected to the API or the broker
	ProjectRunning  = "running"  // announced sessions are recorded
	// could not start, or lost a dependency; retries automatically
	ProjectRetrying = "retrying"
	ProjectBroken   = "broken" // its configuration is invalid; needs a change and a reload
)

// ProjectStatus is the state of one configured project.
type ProjectStatus struct {
	Index    int    `json:"index"`              // n of PROJECTS__n__
	Platform string `json:"platform,omitempty"` // "SyncFlow" or "LiveKit"; absent if broken
	ID       string `json:"id"`
	Name     string `json:"name,omitempty"` // from the platform; absent until it is known
	State    string `json:"state"`          // one of the Project… constants
	Error    string `json:"error,omitempty"`

	// Broker repeats the source of a SyncFlow project.
	Broker BrokerStatus `json:"broker,omitzero"`
	// Sources are the ways in which sessions are announced.
	Sources []SourceStatus `json:"sources"`
	// target of deliveries, without secrets
	Bucket string `json:"bucket,omitempty"`
	// sealed recordings not yet delivered and verified
	PendingUploads int    `json:"pending_uploads"`
	UploadError    string `json:"upload_error,omitempty"`

	// UnrequestedSessions are running sessions whose recording was not requested.
	UnrequestedSessions []SessionRef `json:"unrequested_sessions"`
	// UnrecordedSessions are running sessions that are not recorded although this was requested.
	UnrecordedSessions []UnrecordedSession `json:"unrecorded_sessions"`
	// Roster is absent if the project has none.
	Roster *RosterStatus `json:"roster,omitempty"`
	// time of the last comparison of the session list with the recordings
	LastReconcile time.Time `json:"last_reconcile,omitzero"`
}

// RosterStatus is about the people who are expected in the sessions of a project, without names.
type RosterStatus struct {
	Entries int `json:"entries"` // lines of the file in force
	// Absent is how many expected people have not been in the sessions being recorded.
	Absent int    `json:"absent"`
	Error  string `json:"error,omitempty"` // why the file could not be read the last time
}

// BrokerStatus is the state of the connection on which sessions are announced.
type BrokerStatus struct {
	Connected bool   `json:"connected"`
	Queue     string `json:"queue,omitempty"`
	// true: the broker refused a durable queue, so announcements are lost while disconnected
	Exclusive bool      `json:"exclusive"`
	Since     time.Time `json:"since,omitzero"`
	Error     string    `json:"error,omitempty"`
}

// SourceStatus is the state of one way in which sessions are announced.
type SourceStatus struct {
	Name      string    `json:"name"` // "rabbitmq", "poll" or "webhook"
	Connected bool      `json:"connected"`
	Since     time.Time `json:"since,omitzero"`
	Error     string    `json:"error,omitempty"`
	// time of the last verified webhook
	Received time.Time `json:"received,omitzero"`
}

// SessionRef names a session.
type SessionRef struct {
	SessionID string `json:"session_id"`
	RoomName  string `json:"room_name"`
}

// UnrecordedSession is a running session from which the recorder was removed.
type UnrecordedSession struct {
	SessionRef

	// cause: "participant_removed" if an administrator removed the recorder
	Reason string    `json:"reason"`
	Since  time.Time `json:"since,omitzero"`
}

// RecordingStatus is the state of one recording with local data.
type RecordingStatus struct {
	EgressID  string `json:"egress_id"`
	ProjectID string `json:"project_id"`
	SessionID string `json:"session_id"`
	RoomName  string `json:"room_name"`

	Status string `json:"status"` // STARTING, ACTIVE, ENDING, COMPLETE, FAILED, ABORTED
	// of the local data: open, sealed, exported, uploaded, removed
	State     string    `json:"state"`
	Reason    string    `json:"reason,omitempty"`
	Connected bool      `json:"connected"` // currently in the room
	Part      int       `json:"part"`
	StartedAt time.Time `json:"started_at,omitzero"`

	Packets      uint64 `json:"packets"`  // data packets received
	Bytes        uint64 `json:"bytes"`    // of those packets
	Recorded     uint64 `json:"recorded"` // frames written; they survive the end of the process
	Durable      uint64 `json:"durable"`  // frames synced; they survive a power failure
	Participants int    `json:"participants"`
	Outages      int    `json:"outages"`
	// a segment could not be made durable: its data may not survive a power failure
	Suspect      bool      `json:"suspect"`
	LastPacketAt time.Time `json:"last_packet_at,omitzero"`
	UploadError  string    `json:"upload_error,omitempty"`
}

// withEmptyLists replaces nil lists with empty ones, so that clients need not handle null.
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
		s.Projects[i].Sources = nonNil(s.Projects[i].Sources)
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
