package render

import (
	"slices"
	"strings"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/completeness"
	"github.com/syncflow/textegress/segment"
)

// summary collects the content of the manifest from frames and lines.
type summary struct {
	m          textegress.Manifest
	identities map[string]bool
	lastUnixNS int64
	joined     bool
	hasKeys    bool
	decrypted  int64
	late       int64 // stream packets that are in no line
	account    *completeness.Account
	subject    completeness.Context
}

func newSummary(src Source, o Options) *summary {
	info := src.Info()
	s := &summary{
		hasKeys: o.Keys != nil, identities: map[string]bool{},
		account: completeness.New(completeness.Limits{}),
		subject: completeness.Context{AnnouncedUnixNS: info.AnnouncedUnixNS},
	}
	s.m = textegress.Manifest{
		FormatVersion: textegress.FormatVersion, EgressID: info.EgressID,
		Status:   textegress.StatusActive,
		Exporter: o.Exporter, Revision: o.Revision,
		Project: textegress.Project{ID: info.ProjectID, Name: info.ProjectName},
		Session: textegress.Session{ID: info.SessionID, RoomName: info.RoomName},
		Part:    info.Part, Previous: info.Previous,
		StartedUnixNS: info.CreatedUnixNS, Instance: info.Instance, Merged: info.Merged,
		Counts: textegress.Counts{ByKind: map[textegress.Kind]int64{}},
	}
	if sealed, ok := src.Sealed(); ok {
		s.m.Status, s.m.Reason, s.m.EndedUnixNS = sealed.Status, sealed.Reason, sealed.EndedUnixNS
		s.subject.Reason, s.subject.Suspect = sealed.Reason, sealed.Suspect
	}
	return s
}

// frame accounts for the next frame, which d has just decoded.
func (s *summary) frame(f segment.Frame, d *LineDecoder) {
	switch f.Type {
	case segment.FrameEvent:
		m, ok := d.Event()
		s.account.Event(f, m, ok)
	case segment.FramePacket:
		e := d.Envelope()
		if d.Decrypted() {
			s.decrypted++
			e.Encrypted = false
		}
		s.account.Packet(f, e)
	}
	s.lastUnixNS = max(s.lastUnixNS, f.UnixNS)
	if f.Type == segment.FramePacket {
		s.m.Counts.Packets++
		s.m.Counts.Bytes += int64(len(f.Payload))
	}
}

// add accounts for the next line.
func (s *summary) add(m *textegress.Message) {
	if m.Stream != nil {
		s.account.Stream(*m)
	}
	c := &s.m.Counts
	c.ByKind[m.Kind]++
	if !m.Kind.IsEvent() {
		c.Messages++
	}
	if m.Identity != "" && !s.identities[m.Identity] {
		s.identities[m.Identity] = true
	}
	if m.Kind.IsEvent() {
		s.event(m)
	}
}

func (s *summary) event(m *textegress.Message) {
	e := m.Event
	if e == nil {
		e = &textegress.Event{}
	}
	switch m.Kind {
	case textegress.KindJoined:
		if !s.joined {
			s.joined, s.m.StartedUnixNS = true, m.UnixNS
		}
		addOnce(&s.m.Session.RoomSIDs, e.RoomSID)
		addOnce(&s.m.ServerVersions, e.ServerVersion)
	case textegress.KindSelection:
		s.rules(m.UnixNS, e.Selection)
	case textegress.KindDropped:
		s.dropped(e.Dropped)
	case textegress.KindOutageStarted, textegress.KindRecorderAway:
		if sel := s.m.Selection; e.Cause == "process_died" && sel != nil && len(sel.Rules) > 0 &&
			!sel.Rules[len(sel.Rules)-1].IsZero() {
			sel.AtLeast = true // the recorder's counts are lost
		}
	}
}

func addOnce(list *[]string, s string) {
	if s != "" && !slices.Contains(*list, s) {
		*list = append(*list, s)
	}
}

// manifest returns the manifest without its objects.
func (s *summary) manifest() textegress.Manifest {
	s.times()
	s.m.Counts.Participants = len(s.identities)
	s.m.Completeness = s.account.Statement(s.subject)
	s.m.Completeness.Streams.LatePackets = s.late
	if s.hasKeys && s.decrypted+s.m.Completeness.UndecryptablePackets > 0 {
		s.m.Counts.DecryptedPackets = &s.decrypted
	}
	return s.m
}

func (s *summary) times() {
	if s.m.EndedUnixNS == 0 { // not sealed
		s.m.EndedUnixNS = s.lastUnixNS
	}
	if s.m.StartedUnixNS != 0 {
		s.m.StartedAt = textegress.UnixTimestamp(s.m.StartedUnixNS)
	}
	if s.m.EndedUnixNS != 0 {
		s.m.EndedAt = textegress.UnixTimestamp(s.m.EndedUnixNS)
	}
}

// rules records the rules in force from this time; nil: none.
func (s *summary) rules(unixNS int64, r *textegress.SelectionRules) {
	now := textegress.SelectionRules{}
	if r != nil {
		now = *r
	}
	now.SinceUnixNS = unixNS
	sel := s.selection()
	sel.Rules = append(sel.Rules, now)
}

// dropped adds up what was not recorded.
func (s *summary) dropped(list []textegress.Dropped) {
	sel := s.selection()
	for _, d := range list {
		i, found := slices.BinarySearchFunc(sel.Dropped, d.Reason,
			func(e textegress.Dropped, reason string) int {
				return strings.Compare(e.Reason, reason)
			})
		if !found {
			sel.Dropped = slices.Insert(sel.Dropped, i, textegress.Dropped{Reason: d.Reason})
		}
		sel.Dropped[i].Packets += d.Packets
		sel.Dropped[i].Bytes += d.Bytes
	}
}

func (s *summary) selection() *textegress.Selection {
	if s.m.Selection == nil {
		s.m.Selection = &textegress.Selection{
			Rules:   []textegress.SelectionRules{},
			Dropped: []textegress.Dropped{},
		}
	}
	return s.m.Selection
}

// forgotten records how much was erased.
func (s *summary) forgotten(f textegress.Forgotten) {
	if f.Frames > 0 {
		s.m.Forgotten = &f
	}
}
