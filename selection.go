package textegress

import "github.com/syncflow/textegress/segment"

// SelectionRules are the allow and deny lists of a project: what may be recorded at all.
type SelectionRules = segment.SelectionRules

// Dropped counts packets that were received but not recorded because of the rules.
type Dropped = segment.Dropped

// Reasons of [Dropped].
const (
	DroppedIdentity      = segment.DroppedIdentity
	DroppedTopic         = segment.DroppedTopic
	DroppedStreamUnknown = segment.DroppedStreamUnknown
	DroppedTrackUnknown  = segment.DroppedTrackUnknown
	DroppedSenderUnknown = segment.DroppedSenderUnknown
	DroppedEncrypted     = segment.DroppedEncrypted
	DroppedKindUnknown   = segment.DroppedKindUnknown
	DroppedMalformed     = segment.DroppedMalformed
)

// Selection states in a manifest what was deliberately not recorded. While rules are in force,
// missing numbers in a sender's sequence may be due to them.
type Selection struct {
	// Rules are the rules in force, in order if they changed during the recording; the last may be
	// empty.
	Rules []SelectionRules `json:"rules"`
	// Dropped is sorted by reason. The counts are lower bounds if AtLeast is set: the recorder was
	// killed, and its counts since its last write were lost.
	Dropped []Dropped `json:"dropped"`
	AtLeast bool      `json:"at_least,omitempty"`
}

// Forgotten counts what was removed from a recording with erased participants: frames of the
// segments, and lines of events.jsonl, which are now of kind "forgotten". Frames of damaged ranges,
// which cannot be searched, are included.
type Forgotten struct {
	Frames int64 `json:"frames"`
	Lines  int64 `json:"lines"`
}
