package room

import "github.com/livekit/protocol/livekit"

// Track is a data track whose frames we receive. A frame identifies its track only by Handle (bytes
// 2 and 3, big endian), which the server assigns for one connection.
type Track struct {
	Handle                   uint16
	SID, Name                string // Name is empty until the server announces it
	Identity, ParticipantSID string // of the publisher
}

// maxTracks bounds the number of names and of tracks that are kept, because participants may
// publish and unpublish without end.
const maxTracks = 4096

// dataTracks combines the server's two messages about a data track: the description of the
// publisher contains the name, and the message about our subscription contains the handle. It
// belongs to the goroutine readSignals.
type dataTracks struct {
	names map[string]string // by the track's sid
	known map[uint16]Track  // by handle
}

func newDataTracks(others []*livekit.ParticipantInfo) *dataTracks {
	d := &dataTracks{names: map[string]string{}, known: map[uint16]Track{}}
	d.update(others)
	return d
}

// update handles descriptions of participants. Names may arrive after the handles.
func (d *dataTracks) update(infos []*livekit.ParticipantInfo) (events []Event) {
	for _, p := range infos {
		for _, t := range p.GetDataTracks() {
			if len(d.names) >= maxTracks {
				clear(d.names)
			}
			d.names[t.GetSid()] = t.GetName()
		}
	}
	for _, t := range d.known {
		if name := d.names[t.SID]; t.Name == "" && name != "" {
			t.Name = name
			events = append(events, d.add(t))
		}
	}
	return events
}

// subscribed handles the list of all tracks to which we are subscribed.
func (d *dataTracks) subscribed(
	handles map[uint32]*livekit.DataTrackSubscriberHandles_PublishedDataTrack,
) (events []Event) {
	for handle, t := range handles {
		now := Track{
			Handle: uint16(handle), SID: t.GetTrackSid(), Name: d.names[t.GetTrackSid()],
			Identity: t.GetPublisherIdentity(), ParticipantSID: t.GetPublisherSid(),
		}
		if old, ok := d.known[now.Handle]; !ok || old.SID != now.SID {
			events = append(events, d.add(now))
		}
	}
	return events
}

func (d *dataTracks) add(t Track) Event {
	if len(d.known) >= maxTracks {
		clear(d.known)
	}
	d.known[t.Handle] = t
	return Event{Type: DataTrackSubscribed, Track: t}
}
