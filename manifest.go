package textegress

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strings"
)

// Status is the state of a recording, in the words of LiveKit's EgressStatus
// (protobufs/livekit_egress.proto) without the prefix.
type Status string

// The statuses. The last three are final; a manifest of a sealed recording has one of them.
const (
	StatusStarting Status = "STARTING" // announced, not yet in the room
	StatusActive   Status = "ACTIVE"   // in the room
	StatusEnding   Status = "ENDING"   // leaving, sealing
	StatusComplete Status = "COMPLETE" // ended normally
	StatusFailed   Status = "FAILED"   // ended by an error; what was captured is kept
	StatusAborted  Status = "ABORTED"  // ended before it recorded, or the recorder was removed
)

// Names of the objects of a delivered recording, relative to its prefix.
const (
	ManifestName = "manifest.json"
	MetadataName = "metadata.json"
	ReportName   = "report.html"
	EventsName   = "events.jsonl"
	RawDir       = "raw/"   // raw/000001.seg.zst …
	FilesDir     = "files/" // files/<identity>/<stream id>-<name>
)

// Manifest is the content of manifest.json, the object that is written last. It lists the objects
// of one delivered recording and states what was captured and what was not. It contains no upload
// time, so that the same recording yields the same bytes on every attempt.
type Manifest struct {
	FormatVersion int    `json:"format_version"`
	EgressID      string `json:"egress_id"`
	Status        Status `json:"status"`
	Reason        string `json:"reason,omitempty"`
	// Exporter names the program and version that derived the objects.
	Exporter string `json:"exporter"`
	// Views maps the views among the objects to their versions; nil: files, events, text and
	// metadata, each in version 1.
	Views map[string]int `json:"views,omitempty"`
	// Revision numbers the exports of one recording that differ in their bytes: 1, 2, …
	Revision int     `json:"revision"`
	Project  Project `json:"project"`
	Session  Session `json:"session"`
	// Part is 1 for the first recording of a session, Previous the egress id of
	// the part before.
	Part     int    `json:"part"`
	Previous string `json:"previous,omitempty"`

	StartedAt     Timestamp `json:"started_at,omitzero"`
	StartedUnixNS int64     `json:"started_unix_ns,omitempty"`
	EndedAt       Timestamp `json:"ended_at,omitzero"`
	EndedUnixNS   int64     `json:"ended_unix_ns,omitempty"`

	// Instance is the name of the service instance that recorded.
	Instance string `json:"instance,omitempty"`
	// Merged names the recordings that this one was merged from; nil if it was not merged.
	Merged         []MergedRecording `json:"merged,omitempty"`
	ServerVersions []string          `json:"server_versions,omitempty"`

	Counts       Counts       `json:"counts"`
	Completeness Completeness `json:"completeness"`
	// Selection states what was deliberately not recorded; nil if there is no such data.
	Selection *Selection `json:"selection,omitempty"`
	// Forgotten states that participants were removed from the recording.
	Forgotten *Forgotten `json:"forgotten,omitempty"`
	// Pseudonyms is true if every identity is replaced by a pseudonym, also in the keys of objects.
	// LeftOut names what was not delivered for that reason. The text that participants wrote is
	// unchanged.
	Pseudonyms bool     `json:"pseudonyms,omitempty"`
	LeftOut    []string `json:"left_out,omitempty"`
	// Objects are all objects except the manifest itself, sorted by key.
	Objects []Object `json:"objects"`
}

// Project names the SyncFlow project.
type Project struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Session names the session and its room. More than one room sid means that LiveKit lost the room
// and created it again.
type Session struct {
	ID       string   `json:"id"`
	RoomName string   `json:"room_name"`
	RoomSIDs []string `json:"room_sids,omitempty"`
}

// Counts summarises events.jsonl.
type Counts struct {
	Packets  int64 `json:"packets"`  // frames of type packet that were read
	Messages int64 `json:"messages"` // lines that are not events of the recorder
	Bytes    int64 `json:"bytes"`    // sum of the packets' raw sizes
	// DecryptedPackets is the number of end-to-end encrypted packets that were decrypted. nil: no
	// packet was encrypted, or there was no key; 0: no key matched.
	DecryptedPackets *int64 `json:"decrypted_packets,omitempty"`
	// ByKind counts all lines by kind, events included.
	ByKind       map[Kind]int64 `json:"by_kind"`
	Participants int            `json:"participants"` // distinct identities seen
}

// Object is one entry of a manifest.
type Object struct {
	Key         string `json:"key"` // relative to the prefix of the recording
	Size        int64  `json:"size"`
	SHA256      string `json:"sha256"` // lower-case hex
	ContentType string `json:"content_type"`
	// Messages counts the lines of a view; nil for other objects.
	Messages *int64 `json:"messages,omitempty"`
}

// Encode returns the manifest in its delivered form: indented JSON with a newline at the end, no
// HTML escaping, lists never null.
func (m Manifest) Encode() ([]byte, error) {
	if m.Objects == nil {
		m.Objects = []Object{}
	}
	m.Completeness.fill()
	if m.Counts.ByKind == nil {
		m.Counts.ByKind = map[Kind]int64{}
	}
	return encodeIndented("manifest", m)
}

// DecodeManifest parses a manifest.json with the rules of [DecodeJSON]. It refuses unknown format
// versions, and objects whose key is repeated or is not a plain relative path, or that lack a size
// or a SHA-256.
func DecodeManifest(b []byte) (Manifest, error) {
	var m Manifest
	if err := DecodeJSON(b, &m); err != nil {
		return Manifest{}, fmt.Errorf("decode manifest: %w", err)
	}
	if m.FormatVersion < 1 || m.FormatVersion > FormatVersion {
		return Manifest{}, fmt.Errorf("decode manifest: format version %d, this reader "+
			"knows 1 to %d",
			m.FormatVersion, FormatVersion)
	}
	seen := make(map[string]bool, len(m.Objects))
	for i, o := range m.Objects {
		if err := o.check(); err != nil {
			return Manifest{}, fmt.Errorf("decode manifest: object %d: %w", i+1, err)
		}
		if seen[o.Key] {
			return Manifest{}, fmt.Errorf("decode manifest: object %d: its key stands twice", i+1)
		}
		seen[o.Key] = true
	}
	return m, nil
}

// check refuses an object that cannot belong to a recording.
func (o Object) check() error {
	sum, err := hex.DecodeString(o.SHA256)
	switch {
	case !fs.ValidPath(o.Key) || o.Key == "." || strings.Contains(o.Key, `\`) ||
		o.Key == ManifestName:
		return fmt.Errorf("%q is not the key of an object of a recording", o.Key)
	case o.Size < 0:
		return fmt.Errorf("%q has the size %d", o.Key, o.Size)
	case err != nil || len(sum) != sha256.Size || strings.ToLower(o.SHA256) != o.SHA256:
		return fmt.Errorf("%q has no SHA-256", o.Key)
	}
	return nil
}

// Metadata is the content of metadata.json. The first four keys are those of this service's
// predecessor, in the same order and units, so that scripts written for its recordings keep
// working.
type Metadata struct {
	RoomName  string  `json:"room_name"`
	Topic     *string `json:"topic"`      // null: all topics
	StartedAt int64   `json:"started_at"` // seconds since 1970
	EndedAt   int64   `json:"ended_at"`   // seconds since 1970

	EgressID      string   `json:"egress_id"`
	Status        Status   `json:"status"`
	Reason        string   `json:"reason,omitempty"`
	SessionID     string   `json:"session_id"`
	ProjectID     string   `json:"project_id"`
	ProjectName   string   `json:"project_name"`
	RoomSIDs      []string `json:"room_sids,omitempty"`
	Part          int      `json:"part"`
	Previous      string   `json:"previous,omitempty"`
	StartedUnixNS int64    `json:"started_unix_ns,omitempty"`
	EndedUnixNS   int64    `json:"ended_unix_ns,omitempty"`
}

// Encode returns the metadata in its delivered form: indented JSON with a newline at the end, no
// HTML escaping.
func (m Metadata) Encode() ([]byte, error) { return encodeIndented("metadata", m) }

func encodeIndented(what string, v any) ([]byte, error) {
	var buf bytes.Buffer
	if err := encodeJSON(&buf, "  ", v); err != nil {
		return nil, fmt.Errorf("encode %s: %w", what, err)
	}
	return buf.Bytes(), nil
}
