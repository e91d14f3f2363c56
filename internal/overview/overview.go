// Package overview describes what the service records at one moment, and what it recorded before,
// for people and programs: the page and the API render the same values. It has no access to
// anything; the composition root implements [Service].
//
// Who was in a session, and what was said, is for viewers with [Rights] only: [Overview.For] and
// [Recording.For] remove the rest. Everything else names sessions and rooms, but no participants.
package overview

import "time"

// Level is how good or bad something is. A view shows it by a word or sign, not by colour alone.
type Level string

// The levels, best first.
const (
	Idle Level = "idle" // nothing to record
	OK   Level = "ok"
	Warn Level = "warn" // needs attention; nothing is lost at present
	Bad  Level = "bad"  // something is not recorded or not delivered
)

// Worse returns the worse of two levels.
func (l Level) Worse(other Level) Level {
	rank := map[Level]int{Idle: 0, OK: 1, Warn: 2, Bad: 3}
	if rank[other] > rank[l] {
		return other
	}
	return l
}

// Rights are what a viewer may see and do. The zero value: sessions, states and counts.
type Rights struct {
	Read bool // names, and text where the project allows it
	Act  bool // stop, record, exclude
}

// Overview is the state of the service at one moment.
type Overview struct {
	At        time.Time `json:"at"`
	StartedAt time.Time `json:"started_at,omitzero"`
	Version   string    `json:"version"`
	Instance  string    `json:"instance"`
	Verdict   Verdict   `json:"verdict"`
	Health    []Health  `json:"health"`
	// Sessions are those being recorded, and those that ended and are not delivered yet, worst
	// first, then by start.
	Sessions []Session `json:"sessions"`
	// Unrequested are running sessions that nobody asked to record.
	Unrequested []SessionRef `json:"unrequested_sessions"`
	// Unrecorded are running sessions that are not recorded although this was requested.
	Unrecorded []UnrecordedRef `json:"unrecorded_sessions"`
	Disk       Disk            `json:"disk"`
	// Projects are those that run, in the order of their numbers.
	Projects []ProjectRef `json:"projects"`
}

// ProjectRef names a project.
type ProjectRef struct {
	ID       string `json:"project_id"`
	Name     string `json:"project_name,omitempty"` // as its platform calls it
	Platform string `json:"platform"`               // such as "LiveKit"
}

// Verdict is the overview in one line.
type Verdict struct {
	Level     Level `json:"level"`
	Recording int   `json:"recording"` // sessions that the recorder is connected to
	// Headline is one sentence, such as "Recording 3 sessions; one of them is cut off".
	Headline string `json:"headline"`
	// Details are what it is about, worst first, such as "class-7b: cut off for 12 s".
	Details []string `json:"details"`
}

// What a [Health] is about.
const (
	HealthPlatform = "platform" // the API that sessions are asked from
	HealthSource   = "source"   // the way in which sessions are announced
	HealthStore    = "store"    // where recordings are delivered
	HealthDisk     = "disk"
	HealthWebhooks = "webhooks"
	HealthRoster   = "roster"
	HealthSettings = "settings"
)

// Health is the state of one thing that recording depends on.
type Health struct {
	What    string `json:"what"` // one of the Health… constants
	Name    string `json:"name"` // for people, such as "SyncFlow", "Bucket", "Disk"
	Project string `json:"project,omitempty"`
	Text    string `json:"text"` // such as "3.1 GB free, enough for about 9 days"
	Level   Level  `json:"level"`
}

// States of a [Session].
const (
	StateStarting   = "starting"   // not in the room yet
	StateRecording  = "recording"  // in the room
	StateCutOff     = "cut_off"    // was in the room; may be missing data
	StateEnding     = "ending"     // out of the room; the recording is being closed
	StateDelivering = "delivering" // closed; not delivered and verified yet
	StateDelivered  = "delivered"
	StateFailed     = "failed" // closed without having been in the room, or given up
)

// SessionRef names a running session.
type SessionRef struct {
	SessionID   string `json:"session_id"`
	Project     string `json:"project_id"`
	ProjectName string `json:"project_name,omitempty"`
	Room        string `json:"room_name"`
}

// UnrecordedRef is a running session that is not recorded although this was requested.
type UnrecordedRef struct {
	SessionRef

	Reason string    `json:"reason"` // a sentence for people
	Since  time.Time `json:"since,omitzero"`
}

// Session is one recording of a session, with the people in it.
type Session struct {
	EgressID    string `json:"egress_id"`
	SessionID   string `json:"session_id"`
	Project     string `json:"project_id"`
	ProjectName string `json:"project_name,omitempty"`
	Room        string `json:"room_name"`
	Status      string `json:"status"` // STARTING, ACTIVE, ENDING, COMPLETE, FAILED, ABORTED
	State       string `json:"state"`  // one of the State… constants
	Level       Level  `json:"level"`
	Part        int    `json:"part"` // 1, or more if the session was recorded before

	Since   time.Time `json:"since,omitzero"` // start of the recording
	EndedAt time.Time `json:"ended_at,omitzero"`

	Messages  uint64  `json:"messages"`
	PerSecond float64 `json:"messages_per_second"` // mean of the last minute
	// DurableUpTo: everything received until then survives a power failure. Zero if nothing was
	// received yet.
	DurableUpTo time.Time `json:"durable_up_to,omitzero"`
	// LastMessageAt is the time of the last message of anybody.
	LastMessageAt time.Time `json:"last_message_at,omitzero"`
	Outages       int       `json:"outages"`
	CutOffSince   time.Time `json:"cut_off_since,omitzero"` // set in state cut_off
	// Reason is why the recording is in its state, for people; empty if all is well.
	Reason string `json:"reason,omitempty"`
	// Delivered and Total are bytes of the objects, in state delivering.
	Delivered int64 `json:"delivered_bytes,omitempty"`
	Total     int64 `json:"total_bytes,omitempty"`

	// TextAllowed is set if LIVE_TEXT allows to show what was said to viewers that may read.
	TextAllowed bool `json:"text_allowed"`
	// Pseudonyms is set if names of participants are replaced by pseudonyms.
	Pseudonyms bool `json:"pseudonyms"`

	Count  int `json:"participants"` // people in the room
	Silent int `json:"silent"`       // of those, without a message for SilentAfter
	Absent int `json:"absent"`       // expected, and not there ROSTER_GRACE after the start
	// Unlisted is how many people are not in People because there are too many.
	Unlisted int `json:"unlisted,omitempty"`
	// People are those in the room, those who left, and those expected; absent and silent ones
	// first. Only with Rights.Read.
	People []Person `json:"people,omitempty"`
}

// SilentAfter is how long somebody in the room sends nothing until the person is silent. Whoever
// never sent anything counts from the arrival.
const SilentAfter = 10 * time.Minute

// States of a [Person].
const (
	PersonPresent = "present"
	PersonSilent  = "silent" // present, without a message for SilentAfter
	PersonLeft    = "left"
	// expected, and has not come ROSTER_GRACE after the start of the recording
	PersonAbsent   = "absent"
	PersonExpected = "expected" // expected, and has not come; ROSTER_GRACE is not over
)

// Person is one participant, or one that the roster expects.
type Person struct {
	Identity string `json:"identity"`       // a pseudonym under pseudonyms
	Name     string `json:"name,omitempty"` // of the roster, or else in the room
	State    string `json:"state"`          // one of the Person… constants
	// Since is the start of the present or last presence, LeftAt its end.
	Since         time.Time `json:"since,omitzero"`
	LeftAt        time.Time `json:"left_at,omitzero"`
	LastMessageAt time.Time `json:"last_message_at,omitzero"`
	Messages      uint64    `json:"messages"`
	// Recent are the messages of the last five minutes in 30 intervals of 10 s, oldest first.
	Recent []uint32 `json:"recent,omitempty"`
	// Excluded is set if this person is not recorded any more, at somebody's request.
	Excluded bool `json:"excluded,omitempty"`
}

// States of [Disk].
const (
	DiskOK   = "ok"
	DiskLow  = "low"  // no new sessions; running recordings continue
	DiskFull = "full" // nothing can be recorded
)

// Disk is the file system of the data directory.
type Disk struct {
	State     string    `json:"state"`
	FreeBytes uint64    `json:"free_bytes"`
	Since     time.Time `json:"since,omitzero"` // start of the state low or full
	// Lasts is for how long it is enough at the observed rate; 0 if that is unknown.
	Lasts Seconds `json:"lasts_seconds,omitempty"`
}

// Seconds is a duration that is a number of seconds in JSON.
type Seconds float64

// Duration returns s as a duration.
func (s Seconds) Duration() time.Duration {
	return time.Duration(float64(s) * float64(time.Second))
}
