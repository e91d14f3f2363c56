// Package completeness accounts for what was captured and what was not. It reads the frames of a
// recording once and derives the completeness statement of the manifest.
//
// Rendering a recording and verifying a delivery use the same account, from the raw segments alone,
// so anyone can derive a statement again. docs/GUARANTEES.md defines the terms and states what they
// prove.
package completeness

import (
	"slices"
	"strings"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/segment"
)

// Limits bound the account, and so memory and the size of the manifest, regardless of what
// participants send. Beyond them the account keeps only sums: the statement makes no claim about
// anything it does not list. A zero field means the default.
type Limits struct {
	// Connections is the maximum number of listed connections; default 10000.
	Connections int
	// GapsPerConnection and Gaps are the maximum numbers of listed gaps, per connection and in
	// total; defaults 64 and 4096.
	GapsPerConnection, Gaps int
	// Neighbours is the maximum number of entries in all outages together; default 4096.
	Neighbours int
	// Streams and ClockSteps are the maximum numbers of listed incomplete streams and clock steps;
	// default 256 each.
	Streams, ClockSteps int
	// Name is the maximum length in bytes of a listed sid, identity or stream id; default 1024.
	// LiveKit limits identities to 256 by default.
	Name int
}

func (l *Limits) fill() {
	for _, d := range []struct {
		n *int
		v int
	}{
		{&l.Connections, 10_000},
		{&l.GapsPerConnection, 64},
		{&l.Gaps, 4096},
		{&l.Neighbours, 4096},
		{&l.Streams, 256},
		{&l.ClockSteps, 256},
		{&l.Name, 1024},
	} {
		if *d.n == 0 {
			*d.n = d.v
		}
	}
}

// Account is the account of one recording. The Limits bound its memory, which otherwise grows only
// with the number of outages and of the recorder's connections.
type Account struct {
	limits Limits
	c      textegress.Completeness
	damage int64 // damaged ranges so far
	// damagedLast reports that nothing readable follows the last damaged range.
	damagedLast bool
	joinedNS    map[uint16]int64 // time of the joined event of each epoch
	byKey       map[string]*connection
	order       []*connection
	gapsLeft    int
	neighbours  int
	omitted     int64
	// recorders with filter rules in force; key "" in an unmerged recording
	rulesActive map[string]bool
	rulesEpoch  int  // number of times that rules came into force so far
	dropped     bool // the rules dropped something, or may have
}

// New returns an empty account.
func New(l Limits) *Account {
	l.fill()
	return &Account{
		limits: l, joinedNS: map[uint16]int64{}, byKey: map[string]*connection{},
		gapsLeft: l.Gaps, rulesActive: map[string]bool{},
	}
}

// position is a position in the record: a frame and the state before it.
type position struct {
	index       uint64
	outages     int // outages started so far
	damage      int64
	beforeJoin  bool // the recorder has not joined the room
	rulesEpoch  int  // number of times that rules came into force
	rulesActive bool // rules are in force
}

func (a *Account) positionAt(index uint64) position {
	return position{
		index: index, outages: len(a.c.Outages), damage: a.damage,
		beforeJoin: a.c.Join.JoinedUnixNS == 0,
		rulesEpoch: a.rulesEpoch, rulesActive: len(a.rulesActive) > 0,
	}
}

// connection is an unfinished entry of the statement.
type connection struct {
	textegress.Connection

	from        position // earliest possible position of the sender's first packet
	last        position // of the last packet
	numbered    position // of the last numbered packet
	seq         *sequence
	left        bool
	leftOutages int   // outages started before it left
	leftDamage  int64 // damaged ranges before it left
}

// Event adds an event, the next frame of the record. m and ok are the results of [decode.Event].
// Frames are added in the order of [segment.Read].
func (a *Account) Event(f segment.Frame, m textegress.Message, ok bool) {
	if !ok {
		a.c.UndecodablePackets++
	}
	a.event(f, m)
}

// Packet adds a packet, the next frame of the record. The envelope names the sender of a packet of
// a data track too. Its field Encrypted is false if the packet was decrypted.
func (a *Account) Packet(f segment.Frame, e decode.Envelope) {
	a.damagedLast = false
	if e.ParticipantSID == "" {
		e.Sequence = 0 // its sender is unknown
	}
	if !e.Decodable {
		a.c.UndecodablePackets++
	}
	if e.Encrypted {
		a.c.UndecryptablePackets++
	}
	if f.PossibleDuplicate {
		a.c.PossibleDuplicates++
	}
	c := a.connection(e.ParticipantSID, e.Identity, position{beforeJoin: true})
	if c == nil {
		a.omitted++
		return
	}
	c.Packets++
	switch {
	case f.Channel == segment.ChannelDataTrack:
		c.DataTrack++
	case !e.Reliable:
		c.Lossy++
	default:
		c.Reliable++
		if e.Sequence == 0 {
			c.Unsequenced++
		}
	}
	if !e.Decodable {
		c.Undecodable++
	}
	if e.Encrypted {
		c.Undecryptable++
	}
	now := a.positionAt(f.Index)
	if e.Sequence != 0 {
		a.numbered(c, e.Sequence, now)
	}
	c.last = now
}

// connection returns the entry of a sender, or nil if the limits leave no room for it. A new entry
// starts at from.
func (a *Account) connection(sid, identity string, from position) *connection {
	key := sid
	if sid == "" {
		key = "\x00" + identity // no sid starts with a zero byte
	}
	if c := a.byKey[key]; c != nil {
		if c.Identity == "" && len(identity) <= a.limits.Name {
			c.Identity = strings.Clone(identity)
		}
		return c
	}
	if len(a.order) >= a.limits.Connections || len(key) > a.limits.Name+1 {
		return nil
	}
	c := &connection{from: from}
	c.ParticipantSID = strings.Clone(sid)
	if len(identity) <= a.limits.Name {
		c.Identity = strings.Clone(identity)
	}
	a.byKey[strings.Clone(key)] = c
	a.order = append(a.order, c)
	return c
}

// numbered adds a numbered packet.
func (a *Account) numbered(c *connection, n uint32, now position) {
	if c.seq == nil {
		c.seq = &sequence{}
		a.firstNumber(c, n, now)
	} else {
		for k := c.numbered.outages; k < now.outages; k++ {
			a.addBoundary(k, textegress.OutageNeighbour{
				ParticipantSID: c.ParticipantSID,
				LastBefore:     c.seq.recent, FirstAfter: n,
			})
		}
		a.nextNumber(c.seq, n, c.numbered, now)
	}
	c.seq.recent = n
	c.numbered = now
}

// addBoundary adds the sequence numbers next to outage k, counted from 0.
func (a *Account) addBoundary(k int, n textegress.OutageNeighbour) {
	o := &a.c.Outages[k]
	if a.neighbours >= a.limits.Neighbours {
		o.ConnectionsOmitted++
		return
	}
	a.neighbours++
	o.Connections = append(o.Connections, n)
}

// Stream adds a line of events.jsonl. It ignores lines other than those of streams.
func (a *Account) Stream(m textegress.Message) {
	if m.Kind != textegress.KindTextStream && m.Kind != textegress.KindByteStream ||
		m.Stream == nil {
		return
	}
	s := &a.c.Streams
	c := a.connection(m.ParticipantSID, m.Identity, position{beforeJoin: true})
	if m.Stream.Complete {
		s.Complete++
		if c != nil {
			c.StreamsComplete++
		}
		return
	}
	s.Incomplete++
	if c != nil {
		c.StreamsIncomplete++
	}
	if len(s.List) >= a.limits.Streams {
		return
	}
	entry := textegress.IncompleteStream{
		N: m.N, Kind: m.Kind, TotalLength: m.Stream.TotalLength,
		Incomplete: m.Stream.Incomplete,
	}
	for _, name := range []struct {
		to   *string
		from string
	}{
		{&entry.ID, m.Stream.ID},
		{&entry.Identity, m.Identity},
		{&entry.ParticipantSID, m.ParticipantSID},
	} {
		if len(name.from) <= a.limits.Name {
			*name.to = strings.Clone(name.from)
		}
	}
	s.List = append(s.List, entry)
}

// Context is the part of a statement that the frames do not contain.
type Context struct {
	AnnouncedUnixNS int64
	Reason          string // why the recording ended; empty while it is open
	Suspect         bool
}

// Statement returns the statement about the frames added so far. More frames can be added
// afterwards.
func (a *Account) Statement(s Context) textegress.Completeness {
	out := a.c
	out.Join.AnnouncedUnixNS = s.AnnouncedUnixNS
	out.Suspect = s.Suspect
	out.Tail = tail(s.Reason)
	if n := len(out.Outages); n > 0 && out.Outages[n-1].EndedUnixNS == 0 || a.damagedLast {
		out.Tail = textegress.TailUnproved
	}
	out.Outages = make([]textegress.Outage, len(a.c.Outages))
	for i, o := range a.c.Outages {
		o.Connections = append([]textegress.OutageNeighbour(nil), o.Connections...)
		out.Outages[i] = o
	}
	out.ClockSteps = slices.Clone(a.c.ClockSteps)
	out.Streams.List = append([]textegress.IncompleteStream(nil), a.c.Streams.List...)
	room := a.limits.Neighbours - a.neighbours
	out.Connections = make([]textegress.Connection, 0, len(a.order))
	for _, c := range a.order {
		entry := c.Connection
		entry.Sequence = c.seq.statement(a.dropped)
		entry.Tail = out.Tail
		if c.outagesAfter(c.last.outages, len(out.Outages)) > 0 ||
			c.damageAfter(c.last.damage, a.damage) {
			entry.Tail = textegress.TailUnproved
		}
		if c.seq != nil {
			for k := c.numbered.outages; k < c.numbered.outages+c.outagesAfter(c.numbered.outages,
				len(out.Outages)); k++ {
				if room == 0 {
					out.Outages[k].ConnectionsOmitted++
					continue
				}
				room--
				out.Outages[k].Connections = append(out.Outages[k].Connections,
					textegress.OutageNeighbour{
						ParticipantSID: c.ParticipantSID,
						LastBefore:     c.seq.recent,
					})
			}
		}
		out.Connections = append(out.Connections, entry)
	}
	if a.omitted > 0 {
		out.ConnectionsOmitted = &textegress.ConnectionsOmitted{Packets: a.omitted}
	}
	return out
}

// tail returns what the reason implies about the last messages sent; [Account.Statement] adds
// outages and damage. If the server ended the room, messages that it had not forwarded may be lost
// without any trace in the recording. If the recorder left, the question does not arise.
func tail(reason string) string {
	switch reason {
	case "left", "service_stopped", "stopped", "opted_out":
		return textegress.TailLeft
	}
	return textegress.TailUnproved
}
