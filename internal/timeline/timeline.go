// Package timeline shows a recording over time: who was in the room when, when each participant
// sent something, and in which intervals the recorder was not connected.
//
// A [Collector] reads the lines of events.jsonl in order and keeps a bounded [Data], however long
// the recording is. [Data.Figure] writes it as HTML.
package timeline

import "time"

// Data is a recording over time.
type Data struct {
	// From is the first join of the recorder, or the first line if it never joined. To is the end.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Part is the interval that each entry of the lanes' Counts stands for. The first begins at
	// From; the last may reach beyond To.
	Part time.Duration `json:"part_ns"`
	// Lanes are the participants in the order of their first mention, at most as many as the limit.
	Lanes []Lane `json:"lanes"`
	// Outages are ordered by their start. Presence and messages within them are not known.
	Outages []Interval `json:"outages"`
	// OutagesOmitted counts the outages beyond the limit.
	OutagesOmitted int `json:"outages_omitted,omitempty"`
	// Omitted counts the participants without a lane, OmittedMessages their messages.
	Omitted         int    `json:"omitted,omitempty"`
	OmittedMessages uint64 `json:"omitted_messages,omitempty"`
	// ClockSet is true if the recorder's clock was set during the recording. All times are then
	// those of its clock at the start.
	ClockSet bool `json:"clock_set,omitempty"`
}

// Lane is one participant: all connections of one identity.
type Lane struct {
	// Who is the identity, or the pseudonym that replaces it; empty: messages without a sender,
	// which came through the server's API.
	Who string `json:"who"`
	// Name is the name that the participant has in the room, Kind what LiveKit calls the kind of
	// participant ("agent" …); empty: not known, a person.
	Name string `json:"name,omitempty"`
	Kind string `json:"kind,omitempty"`
	// Present are the intervals in the room, as far as the server told the recorder.
	Present []Interval `json:"present"`
	// Counts are the messages in each Part; trailing zeros may be missing.
	Counts []uint32 `json:"counts"`
	// Messages counts the lines of this sender without copies for old clients, which are counted
	// by Copies.
	Messages uint64    `json:"messages"`
	Copies   uint64    `json:"copies,omitempty"`
	First    time.Time `json:"first,omitzero"` // of Messages
	Last     time.Time `json:"last,omitzero"`
}

// Interval is an interval of time.
type Interval struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Open: it had not ended at the end of the data.
	Open bool `json:"open,omitempty"`
	// Cause is that of an outage (docs/FORMAT.md, Causes of outages), Text the same in words.
	Cause string `json:"cause,omitempty"`
	Text  string `json:"text,omitempty"`
}
