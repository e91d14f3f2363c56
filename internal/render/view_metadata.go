package render

import (
	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/internal/spool"
)

// metadataView writes metadata.json, the predecessor's short description of a recording.
type metadataView struct {
	out   *Output
	topic string
}

// Begin implements [View].
func (v *metadataView) Begin(info spool.Info, out *Output) error {
	v.out, v.topic = out, info.Topic
	return nil
}

// Line implements [View].
func (*metadataView) Line(*decode.Line) error { return nil }

// End implements [View].
func (v *metadataView) End(m textegress.Manifest) error {
	d := textegress.Metadata{
		RoomName: m.Session.RoomName, StartedAt: m.StartedUnixNS / 1e9,
		EndedAt:  m.EndedUnixNS / 1e9,
		EgressID: m.EgressID, Status: m.Status, Reason: m.Reason, SessionID: m.Session.ID,
		ProjectID: m.Project.ID, ProjectName: m.Project.Name, RoomSIDs: m.Session.RoomSIDs,
		Part: m.Part, Previous: m.Previous, StartedUnixNS: m.StartedUnixNS,
		EndedUnixNS: m.EndedUnixNS,
	}
	if v.topic != "" {
		d.Topic = &v.topic
	}
	data, err := d.Encode()
	if err != nil {
		return err
	}
	return v.out.WriteObject(textegress.MetadataName, typeJSON, data)
}
