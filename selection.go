package textegress

import "github.com/syncflow/textegress/segment"

// SelectionRules are the allow and deny lists of a project: what may be recorded at all.
type SelectionRules = segment.SelectionRules

// Dropped counts packets that were received and, because of the rules, not recorded.
type Dropped = segment.Dropped

// Reasons of [Dropped].
const (
	DroppedIdentity      = segment.DroppedIdentity
	DroppedTopic         = segment.DroppedTopic
	DroppedStreamUnknown = segment.DroppedStreamUnknown
	DroppedTrackUnknown  = segment.DroppedTrackUnknown
	DroppedEncrypted     = segment.DroppedEncrypted
	DroppedKindUnknown   = segment.DroppedKindUnknown
	DroppedMalformed     = segment.DroppedMalformed
)

// Selection states in a manifest what was not recorded on purpose. While rules
// are in force, numbers that are missing in a sender's sequence may be theirs.
type Selection struct {
	// Rules are those in force, one after the other if they changed while the
	// session was recorded; the last may be empty.
	Rules []SelectionRules `json:"rules"`
	// Dropped is sorted by reason. It says at least so many where AtLeast is set:
	// the recorder died, and with it what it had counted since it last wrote.
	Dropped []Dropped `json:"dropped"`
	AtLeast bool      `json:"at_least,omitempty"`
}

// Forgotten counts what was removed from a recording with participants who were
// forgotten: frames of the segments, and lines of events.jsonl, which are of kind
// "forgotten" now. Frames of damaged ranges, which cannot be searched, are among
// them.
type Forgotten struct {
	Frames int64 `json:"frames"`
	Lines  int64 `json:"lines"`
}
