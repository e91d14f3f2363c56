// Package config reads the settings of the service from the environment, YAML and `.env`, and
// checks them.
//
// docs/CONFIGURATION.md is the manual of every setting. The names of the predecessor are unchanged.
package config

import (
	"log/slog"
	"strings"
	"time"
)

// Config is a checked configuration: every field is usable as it is.
type Config struct {
	ServerURL   string // of the SyncFlow API, http or https, without a slash at the end
	RabbitMQ    RabbitMQ
	DeviceGroup string // sessions created for this group are announced to the service

	Projects []Project       // the usable ones, in the order of their numbers; at least one
	Broken   []BrokenProject // the others: to be reported, the service runs without them

	RecordSessions RecordSessions
	RejoinWindow   time.Duration // how long to wait for a missing room after an unclean loss
	RelayOnly      bool          // LiveKit is reached only through its TURN servers
	Instance       string        // "" = a random name made once in the data directory

	DataDir string
	// SyncInterval: received data is written to the operating system immediately, and to the disk
	// within this time. A power failure costs at most the data of this interval; the end of the
	// process costs nothing at any value.
	SyncInterval time.Duration
	// SegmentSize (bytes) and SegmentAge: a segment file of an open recording that has reached
	// either is closed: synced for the last time and never written again. Damage to the file being
	// written, above all a failed fsync, therefore affects at most this much data and time.
	SegmentSize int64
	SegmentAge  time.Duration
	// DiskMinFree (bytes): while the file system of DataDir has less free space, no new session is
	// taken; running recordings continue, and have at least this much. A sixteenth of it is the
	// ballast, for stating what was missed on a full disk.
	DiskMinFree int64
	// Retention: local data is removed only when every object was verified in the bucket and this
	// time has passed since.
	Retention       time.Duration
	ShutdownTimeout time.Duration

	HTTPAddr  string
	LogLevel  slog.Level
	LogFormat string // "auto" (text on a terminal, else JSON), "text" or "json"

	Warnings []string // things to tell the operator that do not prevent the service from running

	settings []Setting
	values   func() map[string]value // what is set; a function, so that no %v shows the secrets
}

// RabbitMQ says where the broker is. Without Username the service logs in with its project token as
// the user name and the device group as the password.
type RabbitMQ struct {
	Host     string
	Port     int
	VHost    string
	TLS      bool
	CAFile   string // PEM; "" = the system's certificates
	Username string
	Password Secret
}

// RecordSessions says which sessions are recorded.
type RecordSessions string

const (
	// RecordNotified records the sessions that name the device group when they are created.
	RecordNotified RecordSessions = "notified"
	// RecordAll also records every other session of the projects, found by asking SyncFlow.
	RecordAll RecordSessions = "all"
)

// Project is one SyncFlow project and where its recordings go: exactly one of S3 and Directory is
// set.
type Project struct {
	Index     int // the number in PROJECTS__<n>__…
	Key       string
	Secret    Secret
	ProjectID string // UUID, lower case with hyphens: it is part of the routing key
	// LiveKit makes join tokens without SyncFlow; nil: SyncFlow is asked for each.
	LiveKit   *LiveKit
	S3        *S3
	Directory string

	Selection Selection

	// Pseudonyms: recordings are delivered with pseudonyms in the place of identities.
	Pseudonyms bool

	// E2EEKey and E2EEKeys decrypt, at export, what was sent in encrypted rooms: one key, and the
	// content of a file of them. Either may be missing. How they are written is not this package's
	// business.
	E2EEKey, E2EEKeys Secret
}

// Selection are the lists of what is recorded. The entries are as they were written, escapes and
// stars included, and valid.
type Selection struct {
	TopicsAllow, TopicsDeny         []string
	IdentitiesAllow, IdentitiesDeny []string
	// record packets whose topic is encrypted in spite of lists of topics
	KeepEncrypted bool
}

// S3 is a bucket in an S3-compatible store.
type S3 struct {
	AccessKey string
	SecretKey Secret
	Endpoint  string // with scheme, without a slash at the end
	Bucket    string
	Region    string
	PathStyle *bool // nil = not set: the store's package decides by the endpoint
	// ask the store to compute and check SHA-256; off for stores that refuse such requests
	Checksums bool
}

// BrokenProject is a project that cannot be served as it is configured.
type BrokenProject struct {
	Index     int
	ProjectID string // "" if that is what is wrong
	Problems  []Problem
}

// Setting is one line of the effective configuration, fit to be shown.
type Setting struct {
	Key    string // as in the environment
	Value  string // secrets are masked; "" = not set
	Source string // "environment", ".env line 3", "textegress.yaml line 7", "default"
}

// Settings lists the effective configuration in the order of the manual, projects in the order of
// their numbers, broken ones included. Secrets are masked.
func (c *Config) Settings() []Setting { return c.settings }

// String lists the project's problems in one line.
func (b BrokenProject) String() string {
	parts := make([]string, len(b.Problems))
	for i, p := range b.Problems {
		parts[i] = p.String()
	}
	return strings.Join(parts, " | ")
}
