package textegress

// TailUnproved and TailLeft are the values of [Completeness].Tail and
// [Connection].Tail.
const (
	TailUnproved = "unproved" // messages sent shortly before the end may be missing
	// the recorder left; what was sent later was not meant to be recorded
	TailLeft = "left"
)

// Completeness states what was captured and what was not, as far as the record proves it. A gap in
// a sender's numbers does not prove loss, and numbers without a gap do not prove that nothing
// followed them. docs/GUARANTEES.md defines its terms. Positions are indexes of frames, in the
// order of the record, never times.
type Completeness struct {
	Join    Join     `json:"join"`
	Outages []Outage `json:"outages"`
	// ClockSteps are the first 256 steps of the recorder's clock; ClockStepsOmitted counts the
	// others.
	ClockSteps        []ClockStep `json:"clock_steps,omitempty"`
	ClockStepsOmitted int64       `json:"clock_steps_omitted,omitempty"`
	// UndecodablePackets counts the packets that appear in events.jsonl as kind "unknown".
	UndecodablePackets int64 `json:"undecodable_packets"`
	// UndecryptablePackets counts the packets that appear in events.jsonl as kind "encrypted": they
	// were received, but their content is unknown.
	UndecryptablePackets int64 `json:"undecryptable_packets"`
	// CorruptRanges and CorruptBytes count the unreadable parts of the segments; FramesMissing is
	// the number of frames known to be lost with them.
	CorruptRanges int64 `json:"corrupt_ranges"`
	CorruptBytes  int64 `json:"corrupt_bytes"`
	FramesMissing int64 `json:"frames_missing"`
	// Tail is TailUnproved or TailLeft.
	Tail string `json:"tail"`
	// Suspect is set if the disk failed to make a segment durable. The delivered data was readable
	// when the recording was sealed, but the disk may have lost part of what was written.
	Suspect bool `json:"suspect,omitempty"`

	// Connections are the participants' connections in the order of their first mention in the
	// record. ConnectionsOmitted sums up those beyond the limit.
	Connections        []Connection        `json:"connections"`
	ConnectionsOmitted *ConnectionsOmitted `json:"connections_omitted,omitempty"`
	Streams            Streams             `json:"streams"`
	// PossibleDuplicates counts the packets of a merged recording that may be duplicates;
	// events.jsonl marks them.
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
	// EndedUnixNS is absent if the recording ended during the outage.
	EndedUnixNS int64 `json:"ended_unix_ns,omitempty"`
	// StartIndex and EndIndex are the indexes of the frames that state the outage's start and end.
	// StartIndex is 0 if that frame was unreadable, EndIndex is 0 if the recording ended during the
	// outage.
	StartIndex uint64 `json:"start_index,omitempty"`
	EndIndex   uint64 `json:"end_index,omitempty"`
	// Connections gives the boundaries of the outage for each connection that had sent numbered
	// packets and had not left. ConnectionsOmitted counts those beyond the limit.
	Connections        []OutageNeighbour `json:"connections,omitempty"`
	ConnectionsOmitted int64             `json:"connections_omitted,omitempty"`
}

// ClockStep states that the recorder's clock was set, so that times before and after it cannot be
// compared. Frames before Index have times by the earlier clock, the others by the later one.
type ClockStep struct {
	Index uint64 `json:"index"`
	// OffsetNS is the size of the step; negative: the clock was set back.
	OffsetNS int64 `json:"offset_ns"`
	// BeforeUnixNS is the last known time of the earlier clock, AfterUnixNS the first of the later
	// one.
	BeforeUnixNS int64 `json:"before_unix_ns"`
	AfterUnixNS  int64 `json:"after_unix_ns"`
	// AtLeast: the recorder was not running; the clock was set back by at least OffsetNS.
	AtLeast bool `json:"at_least,omitempty"`
	// EgressID names the recording whose clock was set, in a merged recording.
	EgressID string `json:"egress_id,omitempty"`
}

// OutageNeighbour gives the numbers of one connection next to an outage. If FirstAfter is
// LastBefore plus 1, no numbered packet of this connection was missed in the outage.
type OutageNeighbour struct {
	ParticipantSID string `json:"participant_sid"`
	LastBefore     uint32 `json:"last_before"`
	FirstAfter     uint32 `json:"first_after,omitempty"` // 0: no numbered packet followed
}

// Connection is the account of one connection of a participant: one participant sid. Packets
// without a sid (sent through the server's API, or by clients that the server does not number) are
// summed up by identity; those without an identity are summed up together.
type Connection struct {
	ParticipantSID string `json:"participant_sid,omitempty"`
	// Identity is the first identity seen; absent if the server stated none, or one longer than the
	// account keeps.
	Identity string `json:"identity,omitempty"`
	// Packets counts all received packets: Reliable (Unsequenced of them have no number), Lossy and
	// DataTrack.
	Packets  int64 `json:"packets"`
	Reliable int64 `json:"reliable"`
	// Unsequenced, Lossy and DataTrack count received packets. Nothing proves whether others were
	// sent.
	Unsequenced int64 `json:"unsequenced,omitempty"`
	Lossy       int64 `json:"lossy,omitempty"`
	DataTrack   int64 `json:"data_track,omitempty"`
	// Undecodable and Undecryptable packets are included in Packets.
	Undecodable   int64 `json:"undecodable,omitempty"`
	Undecryptable int64 `json:"undecryptable,omitempty"`
	// StreamsComplete and StreamsIncomplete count the streams of this connection.
	StreamsComplete   int64 `json:"streams_complete,omitempty"`
	StreamsIncomplete int64 `json:"streams_incomplete,omitempty"`
	// Sequence accounts for the numbered packets; nil if there are none.
	Sequence *Sequence `json:"sequence,omitempty"`
	// Tail is TailUnproved if the end of the record is unproved or an outage follows the last
	// packet of this connection, otherwise TailLeft.
	Tail string `json:"tail"`
}

// Sequence accounts for the numbered packets of one connection. The sender numbers its reliable
// packets 1, 2, 3 …, including those addressed to others, which the server does not forward to the
// recorder. A missing number therefore does not prove loss.
type Sequence struct {
	First    uint32 `json:"first"`    // the lowest number received
	Last     uint32 `json:"last"`     // the highest number received
	Received int64  `json:"received"` // different numbers
	// Contiguous is true if every number from First to Last was received.
	Contiguous bool `json:"contiguous"`
	// BeforeFirst is the gap from 1 to First−1; nil if First is 1.
	BeforeFirst *Gap `json:"before_first,omitempty"`
	// Gaps lists the first of GapCount gaps, ordered by number. All GapCount gaps together contain
	// MissingNumbers numbers.
	Gaps           []Gap  `json:"gaps,omitempty"`
	GapCount       int64  `json:"gap_count"`
	MissingNumbers uint64 `json:"missing_numbers"`
	// UnexplainedGaps counts the gaps that span neither an outage nor a damaged range,
	// UnexplainedNumbers the numbers in them.
	UnexplainedGaps    int64  `json:"unexplained_gaps"`
	UnexplainedNumbers uint64 `json:"unexplained_numbers"`
	// SelectionGaps is the number of unexplained gaps that the filter rules may have caused, see
	// [Gap].Selection.
	SelectionGaps int64 `json:"selection_gaps,omitempty"`
	// Duplicates counts packets that repeated a number, Reordered packets with a lower number than
	// an earlier one. Unjudged counts packets that are one or the other: their numbers are below
	// Last and in no gap that is still kept. If Unjudged is not 0, the figures about gaps are upper
	// bounds.
	Duplicates int64 `json:"duplicates,omitempty"`
	Reordered  int64 `json:"reordered,omitempty"`
	Unjudged   int64 `json:"unjudged,omitempty"`
}

// Gap is a run of numbers that were not received, and the position in the record where they would
// have been.
type Gap struct {
	First uint32 `json:"first"`
	Last  uint32 `json:"last"`
	// AfterIndex is the index of the last frame before the gap (0: the start of the record),
	// BeforeIndex that of the first frame after it.
	AfterIndex  uint64 `json:"after_index"`
	BeforeIndex uint64 `json:"before_index"`
	// Explained is true if the gap spans an outage, a damaged range or, for numbers before the
	// first one, the time before the recorder was in the room.
	Explained bool `json:"explained"`
	// FirstOutage and LastOutage are the outages that the gap spans, as positions in Outages
	// counted from 1; 0: none. Damage is true if the gap spans a damaged range, BeforeJoin if it
	// spans the time before the recorder was in the room.
	FirstOutage int  `json:"first_outage,omitempty"`
	LastOutage  int  `json:"last_outage,omitempty"`
	Damage      bool `json:"damage,omitempty"`
	BeforeJoin  bool `json:"before_join,omitempty"`
	// Selection is true if filter rules were in force at some time within the gap and dropped
	// packets somewhere in the recording, possibly these. It does not explain the gap: the record
	// does not say whose packets were dropped.
	Selection bool `json:"selection,omitempty"`
}

// ConnectionsOmitted sums up the connections beyond the limit and those whose sid is longer than
// the account keeps. Nothing is proved about them.
type ConnectionsOmitted struct {
	Packets int64 `json:"packets"`
}

// Streams accounts for text and byte streams. A stream is complete if its header and trailer were
// received, no chunk between them is missing, and the sender's numbers or the announced length
// prove that there were no others.
type Streams struct {
	Complete   int64 `json:"complete"`
	Incomplete int64 `json:"incomplete"`
	// LatePackets counts packets that arrived after their stream had ended; they are in no line.
	LatePackets int64 `json:"late_packets,omitempty"`
	// List holds the first incomplete streams, in the order of the record.
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

// MergedRecording is one of the recordings that were merged into another.
type MergedRecording struct {
	EgressID      string `json:"egress_id"`
	Instance      string `json:"instance,omitempty"`
	Part          int    `json:"part"`
	Status        Status `json:"status"`
	Reason        string `json:"reason,omitempty"`
	StartedUnixNS int64  `json:"started_unix_ns,omitempty"` // by its own clock, like EndedUnixNS
	EndedUnixNS   int64  `json:"ended_unix_ns,omitempty"`
	// ClockOffsetNS is its clock minus that of the first recording of the list, as the median over
	// packets that both received; nil if there are none.
	ClockOffsetNS *int64 `json:"clock_offset_ns,omitempty"`
	// Epochs are its connections' epochs in the merged record.
	Epochs []int `json:"epochs"`
	// Packets is the number of its packets, Only the number of those missing in the other recording
	// (PossibleDuplicates included).
	Packets            int64 `json:"packets"`
	Only               int64 `json:"only"`
	PossibleDuplicates int64 `json:"possible_duplicates,omitempty"`
	// Outages counts its own outages; the completeness statement lists those of both recordings.
	Outages int64 `json:"outages"`
	// Merged names the recordings that it was merged from.
	Merged []MergedRecording `json:"merged,omitempty"`
}

// fill replaces nil lists by empty ones.
func (c *Completeness) fill() {
	if c.Outages == nil {
		c.Outages = []Outage{}
	}
	if c.Connections == nil {
		c.Connections = []Connection{}
	}
}
