package textegress

// TailUnproved and TailLeft are the values of [Completeness].Tail and
// [Connection].Tail.
const (
	TailUnproved = "unproved" // messages sent shortly before the end may be missing
	// we left by ourselves; what was sent later was never meant to be recorded
	TailLeft = "left"
)

// Completeness states what is known about what was and what was not captured.
// It claims no more than can be proved: a gap in a sender's numbers is not proof
// of loss, and numbers without a gap are not proof that nothing came after them.
// docs/GUARANTEES.md defines its terms. Positions are indexes of frames, in the
// order of the record, never times.
type Completeness struct {
	Join    Join     `json:"join"`
	Outages []Outage `json:"outages"`
	// ClockSteps are when the recorder's clock was set, the first 256 of them;
	// ClockStepsOmitted counts the others.
	ClockSteps        []ClockStep `json:"clock_steps,omitempty"`
	ClockStepsOmitted int64       `json:"clock_steps_omitted,omitempty"`
	// UndecodablePackets are in events.jsonl as kind "unknown".
	UndecodablePackets int64 `json:"undecodable_packets"`
	// UndecryptablePackets are in events.jsonl as kind "encrypted": they were
	// received, and what they say is not known.
	UndecryptablePackets int64 `json:"undecryptable_packets"`
	// CorruptRanges and CorruptBytes are what could not be read in the segments;
	// FramesMissing is how many frames are known to be lost with it.
	CorruptRanges int64 `json:"corrupt_ranges"`
	CorruptBytes  int64 `json:"corrupt_bytes"`
	FramesMissing int64 `json:"frames_missing"`
	// Tail is TailUnproved or TailLeft.
	Tail string `json:"tail"`
	// Suspect is set where the disk failed to make a segment durable: what is
	// delivered was readable when the recording was sealed, but the disk may not
	// have held all that was written.
	Suspect bool `json:"suspect,omitempty"`

	// Connections are those of participants, in the order in which the record
	// came to know of them. ConnectionsOmitted sums up those beyond the limit.
	Connections        []Connection        `json:"connections"`
	ConnectionsOmitted *ConnectionsOmitted `json:"connections_omitted,omitempty"`
	Streams            Streams             `json:"streams"`
	// PossibleDuplicates are packets of a merged recording that may be another
	// one once more; events.jsonl marks them.
	PossibleDuplicates int64 `json:"possible_duplicates,omitempty"`
}

// Join bounds what was sent before the recorder was in the room.
type Join struct {
	AnnouncedUnixNS   int64 `json:"announced_unix_ns,omitempty"`
	JoinedUnixNS      int64 `json:"joined_unix_ns,omitempty"`       // absent: never joined
	RoomCreatedUnixMS int64 `json:"room_created_unix_ms,omitempty"` // by the server's clock
}

// Outage is an interval in which the recorder was not connected and may have
// missed data.
type Outage struct {
	Cause string `json:"cause"`
	// StartedUnixNS is the reception time of the last frame before the outage.
	StartedUnixNS int64 `json:"started_unix_ns"`
	// EndedUnixNS is absent where the recording ended within the outage.
	EndedUnixNS int64 `json:"ended_unix_ns,omitempty"`
	// StartIndex and EndIndex are the indexes of the frames that tell of its
	// beginning and its end; the former is 0 where that frame was not readable,
	// the latter where the recording ended within the outage.
	StartIndex uint64 `json:"start_index,omitempty"`
	EndIndex   uint64 `json:"end_index,omitempty"`
	// Connections are what of each connection lies next to the outage, for those
	// that had sent numbered packets and were not known to have left.
	// ConnectionsOmitted counts those beyond the limit.
	Connections        []OutageNeighbour `json:"connections,omitempty"`
	ConnectionsOmitted int64             `json:"connections_omitted,omitempty"`
}

// ClockStep says that the recorder's clock was set, so that times before it and
// after it cannot be compared. Frames before Index have times by the earlier clock,
// those from it on by the later one.
type ClockStep struct {
	Index uint64 `json:"index"`
	// OffsetNS is how far it was set forward, or back where it is negative.
	OffsetNS int64 `json:"offset_ns"`
	// BeforeUnixNS is the last time of the earlier clock that is known, AfterUnixNS
	// the first one of the later clock.
	BeforeUnixNS int64 `json:"before_unix_ns"`
	AfterUnixNS  int64 `json:"after_unix_ns"`
	// AtLeast: the recorder was not running, so that it is only known that the
	// clock was set back, and by OffsetNS at least.
	AtLeast bool `json:"at_least,omitempty"`
	// EgressID is which recorder's clock it is, in a merged recording.
	EgressID string `json:"egress_id,omitempty"`
}

// OutageNeighbour is the part of one connection that lies next to an outage. If
// FirstAfter follows LastBefore at once, no numbered packet of this connection
// was missed in the outage.
type OutageNeighbour struct {
	ParticipantSID string `json:"participant_sid"`
	LastBefore     uint32 `json:"last_before"`
	FirstAfter     uint32 `json:"first_after,omitempty"` // 0: nothing numbered came after it
}

// Connection is the account of one connection of a participant: one participant
// sid. Packets without a sid (sent through the server's API, or by clients that
// the server does not number) are summed up by identity, without one too.
type Connection struct {
	ParticipantSID string `json:"participant_sid,omitempty"`
	// Identity is the first one seen; absent where the server stated none, or
	// where it is longer than the account keeps.
	Identity string `json:"identity,omitempty"`
	// Packets are all that were received: Reliable (of them Unsequenced without
	// a number), Lossy and DataTrack.
	Packets  int64 `json:"packets"`
	Reliable int64 `json:"reliable"`
	// Unsequenced, Lossy and DataTrack packets were received. Whether there were
	// others, nothing can prove.
	Unsequenced int64 `json:"unsequenced,omitempty"`
	Lossy       int64 `json:"lossy,omitempty"`
	DataTrack   int64 `json:"data_track,omitempty"`
	// Undecodable and Undecryptable packets are part of Packets.
	Undecodable   int64 `json:"undecodable,omitempty"`
	Undecryptable int64 `json:"undecryptable,omitempty"`
	// StreamsComplete and StreamsIncomplete count the streams of this connection.
	StreamsComplete   int64 `json:"streams_complete,omitempty"`
	StreamsIncomplete int64 `json:"streams_incomplete,omitempty"`
	// Sequence is the account of the numbered packets; nil where there is none.
	Sequence *Sequence `json:"sequence,omitempty"`
	// Tail is TailUnproved where the end of the record is unproved or an outage
	// follows the last packet of this connection; else TailLeft.
	Tail string `json:"tail"`
}

// Sequence is the account of the numbered packets of one connection. The sender
// numbers its reliable packets 1, 2, 3 …; also those that are not for us, which
// the server does not forward. So a number that is missing is no proof of loss.
type Sequence struct {
	First    uint32 `json:"first"`    // the lowest number received
	Last     uint32 `json:"last"`     // the highest number received
	Received int64  `json:"received"` // different numbers
	// Contiguous is true where every number from First to Last was received.
	Contiguous bool `json:"contiguous"`
	// BeforeFirst are the numbers from 1 to First−1; nil where First is 1.
	BeforeFirst *Gap `json:"before_first,omitempty"`
	// Gaps are the first ones of GapCount, ordered by number; together the
	// GapCount gaps have MissingNumbers numbers.
	Gaps           []Gap  `json:"gaps,omitempty"`
	GapCount       int64  `json:"gap_count"`
	MissingNumbers uint64 `json:"missing_numbers"`
	// UnexplainedGaps and UnexplainedNumbers are those of the gaps that span
	// neither an outage nor a damaged range.
	UnexplainedGaps    int64  `json:"unexplained_gaps"`
	UnexplainedNumbers uint64 `json:"unexplained_numbers"`
	// SelectionGaps are how many of the unexplained ones may be packets that were
	// not to be recorded, see [Gap].Selection.
	SelectionGaps int64 `json:"selection_gaps,omitempty"`
	// Duplicates had a number that was there already, Reordered one that is lower
	// than that of a packet before. Unjudged are one or the other: their numbers
	// are lower than Last and no gap that is still remembered holds them; where
	// there are any, the figures about gaps are upper bounds.
	Duplicates int64 `json:"duplicates,omitempty"`
	Reordered  int64 `json:"reordered,omitempty"`
	Unjudged   int64 `json:"unjudged,omitempty"`
}

// Gap is a run of numbers that were not received, and the place in the record
// where they would have been.
type Gap struct {
	First uint32 `json:"first"`
	Last  uint32 `json:"last"`
	// AfterIndex is the index of the frame after which they are missing (0: the
	// beginning), BeforeIndex that of the one before which they are.
	AfterIndex  uint64 `json:"after_index"`
	BeforeIndex uint64 `json:"before_index"`
	// Explained: this place spans an outage, a damaged range or, of numbers
	// before the first one, the time before the recorder was in the room.
	Explained bool `json:"explained"`
	// FirstOutage and LastOutage are the outages that it spans, as positions in
	// Outages from 1; 0: none. Damage: it spans a damaged range. BeforeJoin: it
	// spans the time before the recorder was in the room.
	FirstOutage int  `json:"first_outage,omitempty"`
	LastOutage  int  `json:"last_outage,omitempty"`
	Damage      bool `json:"damage,omitempty"`
	BeforeJoin  bool `json:"before_join,omitempty"`
	// Selection: rules of what is recorded were in force at some time within this
	// place, and packets were dropped because of them somewhere in the recording,
	// so these may have been. It is no explanation: who was dropped is not known.
	Selection bool `json:"selection,omitempty"`
}

// ConnectionsOmitted sums up the connections that were too many to be listed, or
// whose sid is longer than the account keeps. Nothing is proved of them.
type ConnectionsOmitted struct {
	Packets int64 `json:"packets"`
}

// Streams is the account of text and byte streams. A stream is complete where
// header and trailer were received, no chunk between them is missing, and the
// sender's numbers or the announced length prove that there were no others.
type Streams struct {
	Complete   int64 `json:"complete"`
	Incomplete int64 `json:"incomplete"`
	// LatePackets came when their stream had ended, and are in no line.
	LatePackets int64 `json:"late_packets,omitempty"`
	// List are the first incomplete ones, in the order of the record.
	List []IncompleteStream `json:"list,omitempty"`
}

// IncompleteStream is a stream that is not proved to be complete.
type IncompleteStream struct {
	N              int64   `json:"n"` // its line in events.jsonl
	ID             string  `json:"id,omitempty"`
	Kind           Kind    `json:"kind"`
	Identity       string  `json:"identity,omitempty"`
	ParticipantSID string  `json:"participant_sid,omitempty"`
	TotalLength    *uint64 `json:"total_length,omitempty"` // as announced
	Incomplete     string  `json:"incomplete,omitempty"`   // why, see [StreamInfo].Incomplete
}

// MergedRecording is one of the recordings of which another was made.
type MergedRecording struct {
	EgressID      string `json:"egress_id"`
	Instance      string `json:"instance,omitempty"`
	Part          int    `json:"part"`
	Status        Status `json:"status"`
	Reason        string `json:"reason,omitempty"`
	StartedUnixNS int64  `json:"started_unix_ns,omitempty"` // by its own clock, like EndedUnixNS
	EndedUnixNS   int64  `json:"ended_unix_ns,omitempty"`
	// ClockOffsetNS is its clock minus that of the first recording of the list,
	// as the median over packets that both received; nil where there are none.
	ClockOffsetNS *int64 `json:"clock_offset_ns,omitempty"`
	// Epochs are those in the merged record that are its connections.
	Epochs []int `json:"epochs"`
	// Packets is how many of its packets were read, Only how many of them the
	// other recording does not have (PossibleDuplicates included).
	Packets            int64 `json:"packets"`
	Only               int64 `json:"only"`
	PossibleDuplicates int64 `json:"possible_duplicates,omitempty"`
	// Outages are its own ones; those that both had are in the completeness
	// statement.
	Outages int64 `json:"outages"`
	// Merged names the recordings of which it was made itself.
	Merged []MergedRecording `json:"merged,omitempty"`
}

// fill makes lists that are never null.
func (c *Completeness) fill() {
	if c.Outages == nil {
		c.Outages = []Outage{}
	}
	if c.Connections == nil {
		c.Connections = []Connection{}
	}
}
