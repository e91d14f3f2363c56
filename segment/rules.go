package segment

// SelectionRules are the allow and deny lists of a project: what may be
// recorded at all. Each entry is a name as docs/CONFIGURATION.md writes it: a
// star at its end stands for any ending, `""` is the empty name, and a backslash
// takes the meaning from a comma, a star, a quote or a backslash.
type SelectionRules struct {
	// SinceUnixNS is when the rules came into force, where they are in a manifest.
	SinceUnixNS     int64    `json:"since_unix_ns,omitempty"`
	TopicsAllow     []string `json:"topics_allow,omitempty"`
	TopicsDeny      []string `json:"topics_deny,omitempty"`
	IdentitiesAllow []string `json:"identities_allow,omitempty"`
	IdentitiesDeny  []string `json:"identities_deny,omitempty"`
	// IdentitiesAllowCount and IdentitiesDenyCount stand for those two lists where
	// a recording is delivered under pseudonyms, for the lists name identities.
	IdentitiesAllowCount int `json:"identities_allow_count,omitempty"`
	IdentitiesDenyCount  int `json:"identities_deny_count,omitempty"`
	// EncryptedKept says that packets whose topic is encrypted are recorded in
	// spite of lists of topics.
	EncryptedKept bool `json:"encrypted_kept,omitempty"`
}

// IsZero reports whether the rules let everything through.
func (r SelectionRules) IsZero() bool {
	return len(r.TopicsAllow)+len(r.TopicsDeny)+len(r.IdentitiesAllow)+len(r.IdentitiesDeny)+
		r.IdentitiesAllowCount+r.IdentitiesDenyCount == 0
}

// Reasons of [Dropped].
const (
	DroppedIdentity = "identity" // the sender may not be recorded
	DroppedTopic    = "topic"    // the topic may not be recorded
	// part of a stream whose beginning, and so its topic, we do not know
	DroppedStreamUnknown = "stream_unknown"
	// frame of a data track of which the server has not told us whose it is, or its name
	DroppedTrackUnknown = "track_unknown"
	DroppedEncrypted    = "encrypted" // the topic is encrypted
	// a kind of packet of which we do not know where its topic is
	DroppedKindUnknown = "kind_unknown"
	DroppedMalformed   = "malformed" // sender or topic cannot be told
)

// Dropped counts packets that were received and, because of the rules, not
// recorded. Nothing says whose they were, or when they came.
type Dropped struct {
	Reason  string `json:"reason"`
	Packets int64  `json:"packets"`
	Bytes   int64  `json:"bytes"`
}
