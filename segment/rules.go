package segment

// SelectionRules are the allow and deny lists of a project. They determine what may be recorded.
// Each entry is a name in the syntax of docs/CONFIGURATION.md: a star at the end matches any
// ending, `""` is the empty name, and a backslash makes a comma, a star, a quote or a backslash
// literal.
type SelectionRules struct {
	// SinceUnixNS is the time at which the rules came into force. It is set in manifests only.
	SinceUnixNS     int64    `json:"since_unix_ns,omitempty"`
	TopicsAllow     []string `json:"topics_allow,omitempty"`
	TopicsDeny      []string `json:"topics_deny,omitempty"`
	IdentitiesAllow []string `json:"identities_allow,omitempty"`
	IdentitiesDeny  []string `json:"identities_deny,omitempty"`
	// IdentitiesAllowCount and IdentitiesDenyCount replace IdentitiesAllow and IdentitiesDeny if a
	// recording is delivered under pseudonyms, because these lists contain identities.
	IdentitiesAllowCount int `json:"identities_allow_count,omitempty"`
	IdentitiesDenyCount  int `json:"identities_deny_count,omitempty"`
	// EncryptedKept allows packets with an encrypted topic even if there are topic lists.
	EncryptedKept bool `json:"encrypted_kept,omitempty"`
	// ExcludeByAttribute excludes participants while their attribute textegress.exclude is "true".
	ExcludeByAttribute bool `json:"exclude_by_attribute,omitempty"`
	// Excluded is the number of participants who are excluded by `textegress exclude`, in the room
	// or not. They are not named, so that they can be removed from the recording altogether.
	Excluded int `json:"excluded,omitempty"`
}

// IsZero reports whether the rules allow everything.
func (r SelectionRules) IsZero() bool {
	return len(r.TopicsAllow)+len(r.TopicsDeny)+len(r.IdentitiesAllow)+len(r.IdentitiesDeny)+
		r.IdentitiesAllowCount+r.IdentitiesDenyCount+r.Excluded == 0 && !r.ExcludeByAttribute
}

// Reasons of [Dropped].
const (
	DroppedIdentity = "identity" // the sender may not be recorded
	DroppedTopic    = "topic"    // the topic may not be recorded
	// a part of a stream whose start, and therefore topic, is unknown
	DroppedStreamUnknown = "stream_unknown"
	// a frame of a data track whose publisher or name the server has not announced
	DroppedTrackUnknown = "track_unknown"
	// the server did not announce the sender in time, so that it was unknown whether an attribute
	// excludes the sender
	DroppedSenderUnknown = "sender_unknown"
	DroppedEncrypted     = "encrypted" // the topic is encrypted
	// a kind of packet for which the position of the topic is unknown
	DroppedKindUnknown = "kind_unknown"
	DroppedMalformed   = "malformed" // sender or topic cannot be determined
)

// Dropped counts packets that were received but not recorded because of the rules. Their senders
// and times are not recorded either.
type Dropped struct {
	Reason  string `json:"reason"`
	Packets int64  `json:"packets"`
	Bytes   int64  `json:"bytes"`
}
