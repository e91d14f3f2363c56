package api

import (
	"cmp"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/dataegress"
)

// StatementOf summarises the completeness statement of a manifest without data about participants:
// it adds up the figures of all connections. e is the description of the recording.
func StatementOf(m textegress.Manifest, e *livekit.EgressInfo) *dataegress.Statement {
	c := m.Completeness
	status := livekit.EgressStatus_value["EGRESS_"+string(m.Status)]
	s := &dataegress.Statement{
		EgressId:         m.EgressID,
		Status:           livekit.EgressStatus(status),
		Reason:           m.Reason,
		Final:            true,
		Summary:          e.GetDetails(),
		ManifestLocation: e.GetManifestLocation(),

		AnnouncedAt: c.Join.AnnouncedUnixNS,
		JoinedAt:    c.Join.JoinedUnixNS,
		StartedAt:   cmp.Or(m.StartedUnixNS, e.GetStartedAt()),
		EndedAt:     cmp.Or(m.EndedUnixNS, e.GetEndedAt()),

		Packets:  m.Counts.Packets,
		Messages: m.Counts.Messages,
		Bytes:    m.Counts.Bytes,
		Tail:     c.Tail,

		StreamsComplete:      c.Streams.Complete,
		StreamsIncomplete:    c.Streams.Incomplete,
		UndecodablePackets:   c.UndecodablePackets,
		UndecryptablePackets: c.UndecryptablePackets,

		CorruptRanges: c.CorruptRanges,
		CorruptBytes:  c.CorruptBytes,
		FramesMissing: c.FramesMissing,
		ClockSteps:    int64(len(c.ClockSteps)) + c.ClockStepsOmitted,
		Suspect:       c.Suspect,
		Selection:     m.Selection != nil,
	}
	for _, o := range c.Outages {
		s.Outages = append(s.Outages, &dataegress.Outage{
			Cause: o.Cause, StartedAt: o.StartedUnixNS, EndedAt: o.EndedUnixNS,
		})
	}
	for _, conn := range c.Connections {
		if q := conn.Sequence; q != nil {
			s.MissingNumbers += int64(q.MissingNumbers)
			s.UnexplainedGaps += q.UnexplainedGaps
			s.UnexplainedNumbers += int64(q.UnexplainedNumbers)
		}
	}
	return s
}
