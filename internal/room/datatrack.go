package room

import "github.com/livekit/protocol/livekit"

// Track is a data track whose frames we receive. A frame names its track by Handle alone (bytes 2
// and 3, big endian), which is the server's, for one connection.
type Track struct {
	Handle                   uint16
	SID, Name                string // Name is empty as long as the server has not told it
	Identity, ParticipantSID string // of who publishes it
}

// maxTracks bounds what is remembered of participants who publish and unpublish without end.
const maxTracks = 4096

// dataTracks joins the two things that the server tells of a data track: its name, with its
// publisher's description, and its handle, when we are subscribed. It belongs to the goroutine that
// reads the signals.
type dataTracks struct {
	names map[string]string // by the track's sid
	told  map[uint16]Track
}

func newDataTracks(others []*livekit.ParticipantInfo) *dataTracks {
	d := &dataTracks{names: map[string]string{}, told: map[uint16]Track{}}
	d.update(others)
	return d
}

// update learns names, which can come after the handles.
func (d *dataTracks) update(infos []*livekit.ParticipantInfo) (events []Event) {
	for _, p := range infos {
		for _, t := range p.GetDataTracks() {
			if len(d.names) >= maxTracks {
				clear(d.names)
			}
			d.names[t.GetSid()] = t.GetName()
		}
	}
	for _, t := range d.told {
		if name := d.names[t.SID]; t.Name == "" && name != "" {
			t.Name = name
			events = append(events, d.tell(t))
		}
	}
	return events
}

// subscribed takes the list of all tracks that we are subscribed to.
func (d *dataTracks) subscribed(
	handles map[uint32]*livekit.DataTrackSubscriberHandles_PublishedDataTrack,
) (events []Event) {
	for handle, t := range handles {
		now := Track{
			Handle: uint16(handle), SID: t.GetTrackSid(), Name: d.names[t.GetTrackSid()],
			Identity: t.GetPublisherIdentity(), ParticipantSID: t.GetPublisherSid(),
		}
		if old, known := d.told[now.Handle]; !known || old.SID != now.SID {
			events = append(events, d.tell(now))
		}
	}
	return events
}

func (d *dataTracks) tell(t Track) Event {
	if len(d.told) >= maxTracks {
		clear(d.told)
	}
	d.told[t.Handle] = t
	return Event{Type: DataTrackSubscribed, Track: t}
}
