package redact

import (
	"maps"
	"regexp"
	"slices"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/session"
)

// Pseudonyms replaces identities in deliveries. The same identity has the same pseudonym in all
// recordings of a project.
type Pseudonyms interface {
	// Of returns the pseudonym of an identity, "" for "".
	Of(identity string) string
	// ID returns the replacement for an id chosen by a sender, "" for "".
	ID(id string) string
	// Save adds identities to the durable list of those whose pseudonyms are delivered.
	Save(identities []string) error
}

// omitted lists, for the manifest, what a delivery with pseudonyms omits.
var omitted = []string{
	"raw segments", "names, metadata and attributes of participants", "metadata of the room",
	"names and attributes of streams",
	"packets that were not decoded", "lists of identities",
}

// Pseudonymizer converts the messages and the manifest of a recording for delivery with pseudonyms.
// It copies field by field: a field that is not named here is omitted. docs/CONSENT.md lists the
// fields that are kept, with reasons. It is not safe for concurrent use.
type Pseudonymizer struct {
	names Pseudonyms
	seen  map[string]bool // identities that were replaced
}

// NewPseudonymizer returns a Pseudonymizer for one recording.
func NewPseudonymizer(names Pseudonyms) *Pseudonymizer {
	return &Pseudonymizer{names: names, seen: map[string]bool{}}
}

// Save makes the list of replaced identities durable. It must succeed before anything is delivered.
func (p *Pseudonymizer) Save() error {
	return p.names.Save(slices.Sorted(maps.Keys(p.seen)))
}

// Replaced returns the number of identities that were replaced.
func (p *Pseudonymizer) Replaced() int { return len(p.seen) }

// OpenStream returns the delivered forms of a stream's sender and id.
func (p *Pseudonymizer) OpenStream(identity, id string) (delivered, deliveredID string) {
	return p.identity(identity), p.id(id)
}

func (p *Pseudonymizer) identity(s string) string {
	if s != "" {
		p.seen[s] = true
	}
	return p.names.Of(s)
}

func (p *Pseudonymizer) identities(list []string) []string {
	var out []string
	for _, s := range list {
		out = append(out, p.identity(s))
	}
	return out
}

// id keeps ids in the form that LiveKit's SDKs generate. Any other id was chosen by the sender, and
// may be a name.
func (p *Pseudonymizer) id(s string) string {
	if session.IsUUID(s) {
		return s
	}
	return p.names.ID(s)
}

func (p *Pseudonymizer) ids(list []string) []string {
	var out []string
	for _, s := range list {
		out = append(out, p.id(s))
	}
	return out
}

// language matches the forms of a language that are kept, such as en and en-US.
var language = regexp.MustCompile(`^[a-z]{2,3}([-_][A-Z]{2})?$`)

// mimeTypes are the MIME types that are kept; any other one is free text of the sender.
var mimeTypes = []string{
	"application/gzip", "application/json", "application/octet-stream", "application/pdf",
	"application/zip", "audio/mpeg", "audio/mp4",
	"audio/ogg", "audio/wav", "audio/webm", "image/gif", "image/jpeg", "image/png", "image/svg+xml",
	"image/webp", "text/csv", "text/html",
	"text/markdown", "text/plain", "video/mp4", "video/webm",
}

// Message returns the delivered form of a message.
func (p *Pseudonymizer) Message(m textegress.Message) textegress.Message {
	out := textegress.Message{
		N: m.N, Kind: m.Kind, Time: m.Time, UnixNS: m.UnixNS, Identity: p.identity(m.Identity),
		ParticipantSID: m.ParticipantSID,
		Topic:          m.Topic, Reliable: m.Reliable, Sequence: m.Sequence, Epoch: m.Epoch,
		PossibleDuplicate: m.PossibleDuplicate,
		Field:             m.Field, FieldName: m.FieldName,
		DestinationIdentities: p.identities(m.DestinationIdentities), CopyOf: m.CopyOf,
		Event: p.event(m.Kind, m.Event), Stream: p.stream(m.Stream),
		Transcription: p.transcription(m.Transcription), RPC: p.rpc(m.RPC),
	}
	switch m.Kind {
	case textegress.KindData, textegress.KindChat, textegress.KindTranscription,
		textegress.KindTextStream, textegress.KindByteStream,
		textegress.KindRPC, textegress.KindSIPDTMF, textegress.KindDataTrack:
		out.Text, out.Base64 = m.Text, m.Base64
		if e := m.Encryption; e != nil && !e.Decrypted { // of a data track
			out.Text, out.Base64, out.Withheld = nil, nil, int64(len(m.Payload()))
		}
	default: // raw packets, which contain identities
		out.Withheld = int64(len(m.Payload()))
	}
	if t := m.Track; t != nil { // other fields of the header, set by the sender, are omitted
		out.Track = &textegress.TrackInfo{
			SID: t.SID, Handle: t.Handle, Sequence: t.Sequence, Frame: t.Frame, Start: t.Start,
			Final: t.Final, Timestamp: t.Timestamp,
			UserTimestamp: t.UserTimestamp,
		}
	}
	if u := m.User; u != nil {
		out.User = &textegress.UserInfo{ID: p.id(u.ID), StartTime: u.StartTime, EndTime: u.EndTime}
	}
	if c := m.Chat; c != nil {
		out.Chat = &textegress.ChatInfo{
			ID: p.id(c.ID), TimestampMS: c.TimestampMS, EditTimestampMS: c.EditTimestampMS,
			Deleted: c.Deleted, Generated: c.Generated,
		}
	}
	if d := m.SIPDTMF; d != nil {
		out.SIPDTMF = &textegress.SIPDTMFInfo{Code: d.Code}
		if len(d.Digit) == 1 {
			out.SIPDTMF.Digit = d.Digit
		}
	}
	if e := m.Encryption; e != nil {
		out.Encryption = &textegress.EncryptionInfo{
			Type: e.Type, KeyIndex: e.KeyIndex,
			Decrypted: e.Decrypted, Reason: e.Reason,
		}
	}
	return out
}

func (p *Pseudonymizer) transcription(
	t *textegress.TranscriptionInfo,
) *textegress.TranscriptionInfo {
	if t == nil {
		return nil
	}
	out := &textegress.TranscriptionInfo{
		ParticipantIdentity: p.identity(t.ParticipantIdentity),
		TrackID:             p.id(t.TrackID),
	}
	for _, s := range t.Segments {
		seg := textegress.TranscriptionSegment{
			ID: p.id(s.ID), Text: s.Text, StartTime: s.StartTime,
			EndTime: s.EndTime, Final: s.Final,
		}
		if language.MatchString(s.Language) {
			seg.Language = s.Language
		}
		out.Segments = append(out.Segments, seg)
	}
	return out
}

func (p *Pseudonymizer) rpc(r *textegress.RPCInfo) *textegress.RPCInfo {
	if r == nil {
		return nil
	}
	out := &textegress.RPCInfo{
		Type: r.Type, ID: p.id(r.ID), Method: r.Method, TimeoutMS: r.TimeoutMS, Version: r.Version,
		Compressed: r.Compressed,
	}
	if e := r.Error; e != nil { // part of the answer, like a payload
		out.Error = &textegress.RPCError{Code: e.Code, Message: e.Message, Data: e.Data}
	}
	return out
}

func (p *Pseudonymizer) stream(s *textegress.StreamInfo) *textegress.StreamInfo {
	if s == nil {
		return nil
	}
	out := &textegress.StreamInfo{
		ID: p.id(s.ID), TotalLength: s.TotalLength, LengthUnit: s.LengthUnit, Complete: s.Complete,
		Incomplete: s.Incomplete, SentMS: s.SentMS,
		StartedUnixNS: s.StartedUnixNS, Size: s.Size, Operation: s.Operation, Version: s.Version,
		ReplyTo:           p.id(s.ReplyTo),
		AttachedStreamIDs: p.ids(s.AttachedStreamIDs), Generated: s.Generated, Inline: s.Inline,
		Compression: s.Compression,
		Encoding:    s.Encoding, Chunks: s.Chunks, ChunksMissing: s.ChunksMissing,
		ChunksIgnored: s.ChunksIgnored,
		FirstChunk:    s.FirstChunk, ContinuedBy: s.ContinuedBy,
	}
	if slices.Contains(mimeTypes, s.MIMEType) {
		out.MIMEType = s.MIMEType
	}
	return out // its file is created and named later
}

func (p *Pseudonymizer) event(kind textegress.Kind, e *textegress.Event) *textegress.Event {
	if e == nil {
		return nil
	}
	out := &textegress.Event{
		Kind: e.Kind, ParticipantSID: e.ParticipantSID, ParticipantKind: e.ParticipantKind,
		RoomSID: e.RoomSID, ServerVersion: e.ServerVersion, Region: e.Region,
		RoomCreatedUnixMS: e.RoomCreatedUnixMS, ClockOffsetMS: e.ClockOffsetMS,
		Cause: e.Cause, SinceUnixNS: e.SinceUnixNS, EgressID: e.EgressID, Instance: e.Instance,
		Reason: e.Reason, Status: e.Status,
		Source: e.Source, AnnouncedUnixNS: e.AnnouncedUnixNS, Part: e.Part, Previous: e.Previous,
		TrackSID: e.TrackSID, Handle: e.Handle, Segment: e.Segment, Offset: e.Offset,
		Bytes: e.Bytes, FramesMissing: e.FramesMissing, Dropped: p.dropped(e.Dropped),
		OffsetNS: e.OffsetNS, BeforeUnixNS: e.BeforeUnixNS, AfterUnixNS: e.AfterUnixNS,
		AtLeast: e.AtLeast,
	}
	// In a KindJoined event it is the recorder's own identity, which differs between recordings.
	if kind != textegress.KindJoined {
		out.Identity = p.identity(e.Identity)
	}
	// the name of the track, which is the topic of its messages
	if kind == textegress.KindDataTrackSubscribed {
		out.Name = e.Name
	}
	if e.Selection != nil {
		rules := p.rules(*e.Selection)
		out.Selection = &rules
	}
	return out
}

func (p *Pseudonymizer) rules(r textegress.SelectionRules) textegress.SelectionRules {
	return textegress.SelectionRules{
		SinceUnixNS: r.SinceUnixNS, TopicsAllow: r.TopicsAllow, TopicsDeny: r.TopicsDeny,
		EncryptedKept:        r.EncryptedKept,
		IdentitiesAllowCount: len(r.IdentitiesAllow), IdentitiesDenyCount: len(r.IdentitiesDeny),
		ExcludeByAttribute: r.ExcludeByAttribute, Excluded: r.Excluded,
	}
}

func (p *Pseudonymizer) dropped(list []textegress.Dropped) []textegress.Dropped {
	var out []textegress.Dropped
	for _, d := range list {
		out = append(out, textegress.Dropped{Reason: d.Reason, Packets: d.Packets, Bytes: d.Bytes})
	}
	return out
}

// Manifest returns the delivered form of a manifest. Its objects must be derived from messages that
// [Pseudonymizer.Message] returned.
func (p *Pseudonymizer) Manifest(m textegress.Manifest) textegress.Manifest {
	out := textegress.Manifest{
		FormatVersion: m.FormatVersion, EgressID: m.EgressID, Status: m.Status, Reason: m.Reason,
		Exporter: m.Exporter, Views: m.Views, Revision: m.Revision,
		Project: textegress.Project{ID: m.Project.ID, Name: m.Project.Name},
		Session: textegress.Session{
			ID: m.Session.ID, RoomName: m.Session.RoomName,
			RoomSIDs: m.Session.RoomSIDs,
		},
		Part: m.Part, Previous: m.Previous, StartedAt: m.StartedAt,
		StartedUnixNS: m.StartedUnixNS, EndedAt: m.EndedAt, EndedUnixNS: m.EndedUnixNS,
		Instance: m.Instance, ServerVersions: m.ServerVersions,
		Counts: textegress.Counts{
			Packets: m.Counts.Packets, Messages: m.Counts.Messages, Bytes: m.Counts.Bytes,
			DecryptedPackets: m.Counts.DecryptedPackets,
			ByKind:           m.Counts.ByKind, Participants: m.Counts.Participants,
		},
		Completeness: p.completeness(m.Completeness), Pseudonyms: true, LeftOut: omitted,
	}
	if s := m.Selection; s != nil {
		out.Selection = &textegress.Selection{
			Rules:   []textegress.SelectionRules{},
			Dropped: []textegress.Dropped{}, AtLeast: s.AtLeast,
		}
		for _, r := range s.Rules {
			out.Selection.Rules = append(out.Selection.Rules, p.rules(r))
		}
		out.Selection.Dropped = append(out.Selection.Dropped, p.dropped(s.Dropped)...)
	}
	if f := m.Forgotten; f != nil {
		out.Forgotten = &textegress.Forgotten{Frames: f.Frames, Lines: f.Lines}
	}
	for _, o := range m.Objects {
		out.Objects = append(out.Objects, textegress.Object{
			Key: o.Key, Size: o.Size,
			SHA256: o.SHA256, ContentType: o.ContentType, Messages: o.Messages,
		})
	}
	return out
}

func (p *Pseudonymizer) completeness(c textegress.Completeness) textegress.Completeness {
	out := textegress.Completeness{
		Join: c.Join, UndecodablePackets: c.UndecodablePackets,
		UndecryptablePackets: c.UndecryptablePackets,
		CorruptRanges:        c.CorruptRanges, CorruptBytes: c.CorruptBytes,
		FramesMissing: c.FramesMissing, Tail: c.Tail, Suspect: c.Suspect,
		Outages: c.Outages, ClockSteps: c.ClockSteps, ClockStepsOmitted: c.ClockStepsOmitted,
		ConnectionsOmitted: c.ConnectionsOmitted, PossibleDuplicates: c.PossibleDuplicates,
		Streams: textegress.Streams{
			Complete: c.Streams.Complete, Incomplete: c.Streams.Incomplete,
			LatePackets: c.Streams.LatePackets,
		},
	}
	for _, n := range c.Connections {
		out.Connections = append(out.Connections, textegress.Connection{
			ParticipantSID: n.ParticipantSID, Identity: p.identity(n.Identity), Packets: n.Packets,
			Reliable:    n.Reliable,
			Unsequenced: n.Unsequenced, Lossy: n.Lossy, DataTrack: n.DataTrack,
			Undecodable: n.Undecodable, Undecryptable: n.Undecryptable,
			StreamsComplete: n.StreamsComplete, StreamsIncomplete: n.StreamsIncomplete,
			Sequence: n.Sequence, Tail: n.Tail,
		})
	}
	for _, s := range c.Streams.List {
		out.Streams.List = append(out.Streams.List, textegress.IncompleteStream{
			N: s.N, ID: p.id(s.ID), Kind: s.Kind, Identity: p.identity(s.Identity),
			ParticipantSID: s.ParticipantSID,
			TotalLength:    s.TotalLength, Incomplete: s.Incomplete,
		})
	}
	return out
}
