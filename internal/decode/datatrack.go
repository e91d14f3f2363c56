package decode

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/segment"
)

// The header of a packet of a data track (livekit-server, pkg/rtc/datatrack/packet.go;
// client-sdk-js, src/room/data-track/packet). All integers are big endian:
//
//	byte 0       version (3 bits), start of frame, end of frame, extensions follow (1 bit each)
//	byte 1       reserved
//	bytes 2-3    handle of the track, assigned by the server for one connection of a subscriber
//	bytes 4-5    sequence: number of the packet in its track
//	bytes 6-7    number of the frame
//	bytes 8-11   time stamp of the frame, 90 kHz, from a random start
//
// Extensions, if present, occupy a whole number of 4-byte words. They start with the number of
// words minus 1 (2 bytes). The id, length and data of each extension follow. An id of 0 is padding
// up to the end.
const (
	trackHeader    = 12
	trackVersion   = 0 // the only version
	trackStart     = 1 << 4
	trackFinal     = 1 << 3
	trackExtension = 1 << 2

	// Ids of extensions. livekit.DataTrackExtensionID assigns 1 to the participant sid, which no
	// server writes yet. client-sdk-js (packet/extensions.ts) uses 1 for end-to-end encryption,
	// with 13 bytes. The length distinguishes them: a sid assigned by the server has 15 bytes.
	extParticipantSID = 1
	extE2EE           = 1
	extUserTimestamp  = 2
	sizeE2EE          = 13 // key index, 12 bytes of initialisation vector
	sizeUserTimestamp = 8
	sidPrefix         = "PA_"
)

// trackPacket is a packet of a data track. Its slices alias the frame.
type trackPacket struct {
	info    textegress.TrackInfo
	payload []byte
	iv      []byte // nil if not encrypted
	key     uint8  // key index as stated by the sender
}

// parseTrack parses a packet of a data track. ok is false if it is malformed or of an unknown
// version.
func parseTrack(b []byte) (p trackPacket, ok bool) {
	if len(b) < trackHeader || b[0]>>5 != trackVersion {
		return p, false
	}
	p.info = textegress.TrackInfo{
		Handle: binary.BigEndian.Uint16(b[2:]), Sequence: binary.BigEndian.Uint16(b[4:]),
		Frame:     binary.BigEndian.Uint16(b[6:]),
		Timestamp: binary.BigEndian.Uint32(b[8:]), Start: b[0]&trackStart != 0,
		Final: b[0]&trackFinal != 0,
	}
	p.payload = b[trackHeader:]
	if b[0]&trackExtension == 0 {
		return p, true
	}
	if len(p.payload) < 2 {
		return p, false
	}
	size := (int(binary.BigEndian.Uint16(p.payload)) + 1) * 4
	if len(p.payload) < size {
		return p, false
	}
	extensions := p.payload[2:size]
	p.payload = p.payload[size:]
	for len(extensions) > 0 && extensions[0] != 0 {
		if len(extensions) < 2 || len(extensions)-2 < int(extensions[1]) {
			return p, false
		}
		end := 2 + int(extensions[1])
		p.extension(extensions[0], extensions[2:end])
		extensions = extensions[end:]
	}
	return p, true
}

func (p *trackPacket) extension(id uint8, data []byte) {
	switch {
	case id == extE2EE && len(data) == sizeE2EE && p.iv == nil:
		p.key, p.iv = data[0], data[1:]
	case id == extParticipantSID && bytes.HasPrefix(data, []byte(sidPrefix)) &&
		p.info.ParticipantSID == "":
		p.info.ParticipantSID = string(data)
	case id == extUserTimestamp && len(data) == sizeUserTimestamp && p.info.UserTimestamp == nil:
		p.info.UserTimestamp = new(binary.BigEndian.Uint64(data))
	default:
		p.info.Extensions = append(p.info.Extensions,
			textegress.TrackExtension{ID: id, Data: bytes.Clone(data)})
	}
}

// track returns the line of a packet of a data track. Each packet becomes a line, even if several
// make up a frame: a frame that lost one packet would never be complete.
func (d *Decoder) track(f segment.Frame) *Line {
	p, ok := parseTrack(f.Payload)
	if !ok {
		m := raw(f)
		m.Reliable = new(false)
		return &Line{Message: m, Undecodable: true}
	}
	m := base(f, textegress.KindDataTrack)
	// the publisher sends on an unreliable channel, whatever the recorder's channel is
	m.Reliable = new(false)
	m.Track = &p.info
	if t, known := d.tracks.Of(f); known {
		m.Identity, m.ParticipantSID, m.Topic, m.Track.SID = t.Identity, t.ParticipantSID, t.Name,
			t.SID
	}
	content := bytes.Clone(p.payload)
	if p.iv != nil {
		m.Encryption = &textegress.EncryptionInfo{
			Type: strings.ToLower(livekit.Encryption_GCM.String()), KeyIndex: uint32(p.key),
		}
		// The sender encrypts the whole frame, and then splits it into packets.
		switch {
		case d.o.Keys == nil:
			m.Encryption.Reason = textegress.EncryptedNoKey
		case !p.info.Start || !p.info.Final:
			m.Encryption.Reason = textegress.EncryptedPart
		default:
			var plain []byte
			if plain, m.Encryption.Reason = d.o.Keys.decrypt(p.iv, p.payload,
				&d.key); m.Encryption.Reason == "" {
				m.Encryption.Decrypted, d.opened, content = true, true, plain
			}
		}
		if !m.Encryption.Decrypted {
			m.Base64 = append([]byte{}, content...) // even if it happens to be UTF-8
			return &Line{Message: m}
		}
	}
	payload(&m, content)
	return &Line{Message: m}
}

// maxTracks bounds the table of tracks. A connection has 65535 handles. Participants can use all of
// them, with names of 256 bytes each.
const maxTracks = 16_384

// Track describes a data track, as stated by an event of kind data_track_subscribed.
type Track struct {
	SID, Name                string // Name is "" if not yet known
	Identity, ParticipantSID string // of the publisher
}

// Tracks maps the frames of data tracks to their tracks, according to the events so far. The zero
// value is empty.
//
// A handle identifies a track within one connection of the recorder. In a merged recording, the
// connections of two recorders run in parallel and the same handle can refer to different tracks,
// so handles are kept by epoch. A later event for the same handle replaces the track.
type Tracks struct{ table map[handle]Track }

type handle struct {
	epoch, number uint16
}

// Event updates the table with an event from a frame of this epoch.
func (t *Tracks) Event(epoch uint16, e *textegress.Event) {
	if e == nil {
		return
	}
	switch e.Kind {
	case textegress.KindJoined: // handles are not valid in a later connection with the same epoch
		for h := range t.table {
			if h.epoch == epoch {
				delete(t.table, h)
			}
		}
	case textegress.KindDataTrackSubscribed:
		h := handle{epoch, e.Handle}
		if _, known := t.table[h]; !known && len(t.table) >= maxTracks {
			clear(t.table) // the tracks of later frames become unknown, which absence means
		}
		if t.table == nil {
			t.table = map[handle]Track{}
		}
		t.table[h] = Track{
			SID: e.TrackSID, Name: e.Name, Identity: e.Identity,
			ParticipantSID: e.ParticipantSID,
		}
	}
}

// Of returns the track of a frame on [segment.ChannelDataTrack], or false if it is not known (yet).
func (t *Tracks) Of(f segment.Frame) (Track, bool) {
	if len(f.Payload) < 4 {
		return Track{}, false
	}
	track, known := t.table[handle{f.Epoch, binary.BigEndian.Uint16(f.Payload[2:])}]
	return track, known
}
