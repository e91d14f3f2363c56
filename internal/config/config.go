// Package config reads and checks the settings of the service, from the environment, YAML and
// `.env`.
//
// docs/CONFIGURATION.md describes every setting. Settings of the predecessor keep their names.
package config

import (
	"log/slog"
	"strings"
	"time"
)

// Config is a checked configuration. Every field is valid.
type Config struct {
	// The SyncFlow settings are complete if there is a SyncFlow project.
	ServerURL   string // of the SyncFlow API, http or https, without a slash at the end
	RabbitMQ    RabbitMQ
	DeviceGroup string // sessions created for this group are announced to the service

	Projects []Project       // the usable ones, in the order of their numbers; at least one
	Broken   []BrokenProject // the others; the service reports them and runs without them

	RecordSessions RecordSessions
	// PollInterval is the time between two lists of the rooms of a LiveKit server, until a webhook
	// of that server has come; PollIntervalWithWebhooks is the time from then on.
	PollInterval, PollIntervalWithWebhooks time.Duration

	RejoinWindow time.Duration // how long to wait for a missing room after an unclean disconnect
	// RosterGrace is how long after the start of a session an expected person may be absent.
	RosterGrace time.Duration
	RelayOnly   bool   // LiveKit is reached only through its TURN servers
	Instance    string // "" = a random name, created once in the data directory

	DataDir string
	// SyncInterval bounds the time until received data, which is written to the operating system
	// immediately, is synced to the disk. A power failure loses at most the data of this interval;
	// an end of the process loses nothing at any value.
	SyncInterval time.Duration
	// SegmentSize (bytes) and SegmentAge bound a segment file of an open recording. A segment that
	// reaches either is closed: synced for the last time and never written again. Damage to the
	// current segment, in particular by a failed fsync, therefore affects at most this much data
	// and time.
	SegmentSize int64
	SegmentAge  time.Duration
	// DiskMinFree (bytes) is the free space of DataDir's file system below which no new session is
	// accepted. Running recordings continue, with at least this much space. A sixteenth of it is
	// the ballast, which is used to record what was missed on a full disk.
	DiskMinFree int64
	// Retention is the time from the verification of every object in the bucket until local data is
	// removed.
	Retention       time.Duration
	ShutdownTimeout time.Duration

	// WebhookAllowPrivate: webhooks may be sent to loopback, link-local and private addresses.
	WebhookAllowPrivate bool
	// WebhookHosts are the host names, in lower case and without a port, that the webhooks of API
	// requests may name.
	WebhookHosts []string

	HTTPAddr  string
	HTTP      HTTP // who may see and do what there
	LogLevel  slog.Level
	LogFormat string // "auto" (text on a terminal, else JSON), "text" or "json"

	Warnings []string // problems for the operator that do not prevent the service from running

	settings []Setting
	// values that are set; a function, so that no %v shows the secrets
	values func() map[string]value
	// LIVEKIT_URL and the like make project 0
	topLevel bool
}

// RabbitMQ is the address and login of the broker. Without Username, the service logs in with its
// project token as the user name and the device group as the password.
type RabbitMQ struct {
	Host     string
	Port     int
	VHost    string
	TLS      bool
	CAFile   string // PEM; "" = the system's certificates
	Username string
	Password Secret
}

// RecordSessions selects the sessions that are recorded.
type RecordSessions string

const (
	// RecordNotified records the sessions that name the device group when they are created.
	RecordNotified RecordSessions = "notified"
	// RecordAll also records every other session of the projects, found in SyncFlow's session list.
	RecordAll RecordSessions = "all"
)

// Platform is what runs the sessions of a project.
type Platform string

// The platforms.
const (
	SyncFlow      Platform = "syncflow"
	LiveKitServer Platform = "livekit" // a LiveKit server by itself
)

// Project is one project and the target of its recordings: exactly one of S3 and Directory is set.
type Project struct {
	Index int // the number in PROJECTS__<n>__…
	// TopLevel: LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET made the project, see
	// [Project.Variable].
	TopLevel bool
	// Name of a project of a LiveKit server, at most 64 letters, digits, dots, underscores and
	// hyphens; "" for a SyncFlow project, whose name SyncFlow knows.
	Name string
	// ProjectID identifies the project. SyncFlow: a UUID, in lower case with hyphens, because it is
	// part of the routing key. LiveKit server: the name. No two projects have the same id, whatever
	// the case of its letters.
	ProjectID string

	// Key and Secret belong to the SyncFlow API; empty for a LiveKit server.
	Key    string
	Secret Secret
	// LiveKit is the LiveKit server, or, for a SyncFlow project, the key for creating join tokens
	// without SyncFlow; nil if SyncFlow provides them.
	LiveKit *LiveKit

	S3        *S3
	Directory string

	// RecordRooms are the patterns of the rooms to record on a LiveKit server, never empty there:
	// names as in Selection, with ! before one that excludes, and \! for a room name that begins
	// with an exclamation mark. The first match decides; a room without one is not recorded.
	RecordRooms []string
	// ExcludeByAttribute: participants may opt out by an attribute.
	ExcludeByAttribute bool
	Selection          Selection

	Webhooks []Webhook // in the order of their numbers

	// Pseudonyms: recordings are delivered with pseudonyms instead of identities.
	Pseudonyms bool
	// LiveText: the page and the API show what participants sent, not only who sent how much.
	LiveText bool
	// RosterFile is a CSV file with the people who are expected in the sessions; "": none. This
	// package does not read it.
	RosterFile string

	// E2EEKey (one key) and E2EEKeys (the content of a file of keys) decrypt data from encrypted
	// rooms at export. Either may be missing. This package does not check their format.
	E2EEKey, E2EEKeys Secret
}

// Platform returns what runs the sessions of the project.
func (p Project) Platform() Platform {
	if p.LiveKit != nil && p.LiveKit.URL != "" {
		return LiveKitServer
	}
	return SyncFlow
}

// Selection holds the lists that select what is recorded. The entries are valid and unmodified,
// with escapes and stars.
type Selection struct {
	TopicsAllow, TopicsDeny         []string
	IdentitiesAllow, IdentitiesDeny []string
	// record packets with an encrypted topic even if there are lists of topics
	KeepEncrypted bool
}

// S3 is a bucket in an S3-compatible store.
type S3 struct {
	AccessKey string
	SecretKey Secret
	Endpoint  string // with scheme, without a slash at the end
	Bucket    string
	Region    string
	PathStyle *bool // nil = not set: derived from the endpoint by the store's package
	// have the store compute and check SHA-256; off for stores that refuse such requests
	Checksums bool
}

// BrokenProject is a project whose configuration is invalid.
type BrokenProject struct {
	Index     int
	ProjectID string // as in Project; "" if it is missing or invalid
	Problems  []Problem
}

// Setting is one line of the effective configuration, for display.
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
