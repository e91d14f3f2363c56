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
//	bytes 2-3    handle of the track, the server's for one connection of a subscriber
//	bytes 4-5    sequence: number of the packet in its track
//	bytes 6-7    number of the frame
//	bytes 8-11   time stamp of the frame, 90 kHz, from a random beginning
//
// Extensions, where they follow, occupy a whole number of words of 4 bytes: the number of words
// less 1 (2 bytes), then id, length and data of each; an id of 0 is padding up to their end.
const (
	trackHeader    = 12
	trackVersion   = 0 // the only one there is
	trackStart     = 1 << 4
	trackFinal     = 1 << 3
	trackExtension = 1 << 2

	// Ids of extensions. livekit.DataTrackExtensionID gives 1 to the participant sid, which no
	// server writes yet; client-sdk-js (packet/extensions.ts) uses it for end-to-end encryption,
	// with 13 bytes. The length tells them apart: a sid that the server makes has 15.
	extParticipantSID = 1
	extE2EE           = 1
	extUserTimestamp  = 2
	sizeE2EE          = 13 // key index, 12 bytes of initialisation vector
	sizeUserTimestamp = 8
	sidPrefix         = "PA_"
)

// trackPacket is a packet of a data track. Its slices are parts of the frame.
type trackPacket struct {
	info    textegress.TrackInfo
	payload []byte
	iv      []byte // nil: it is not encrypted
	key     uint8  // its index, as the sender says
}

// parseTrack reads a packet of a data track. ok is false where it is malformed or of an unknown
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

// track returns the line of a packet of a data track. Each packet is a line, also where several
// make up a frame: a frame that lost one packet would never be complete.
func (d *Decoder) track(f segment.Frame) *Line {
	p, ok := parseTrack(f.Payload)
	if !ok {
		m := raw(f)
		m.Reliable = new(false)
		return &Line{Message: m, Undecodable: true}
	}
	m := base(f, textegress.KindDataTrack)
	m.Reliable = new(false) // the publisher's leg never is, whatever ours is
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
		// It is the frame that is encrypted, before it is cut into packets.
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
			m.Base64 = append([]byte{}, content...) // also where it happens to be UTF-8
			return &Line{Message: m}
		}
	}
	payload(&m, content)
	return &Line{Message: m}
}

// maxTracks bounds the table of tracks. A connection has 65535 handles; participants can use them
// up, with names of 256 bytes each.
const maxTracks = 16_384

// Track is a data track, as an event of kind data_track_subscribed describes it.
type Track struct {
	SID, Name                string // Name is "" where it was not known yet
	Identity, ParticipantSID string // of its publisher
}

// Tracks maps the frames of data tracks to their tracks, as far as the recording has told. The zero
// value is empty.
//
// A handle is the server's name for a track within one connection of the recorder. In a merged
// recording, connections of two recorders run side by side and their handles mean different tracks,
// so handles are kept by epoch. A handle that is announced again belongs to another track from then
// on.
type Tracks struct{ table map[handle]Track }

type handle struct {
	epoch, number uint16
}

// Event updates the table with an event that stood in a frame of this epoch.
func (t *Tracks) Event(epoch uint16, e *textegress.Event) {
	if e == nil {
		return
	}
	switch e.Kind {
	case textegress.KindJoined: // should an epoch come again, its handles do not
		for h := range t.table {
			if h.epoch == epoch {
				delete(t.table, h)
			}
		}
	case textegress.KindDataTrackSubscribed:
		h := handle{epoch, e.Handle}
		if _, known := t.table[h]; !known && len(t.table) >= maxTracks {
			clear(t.table) // then it is not known whose frames are; that is what absent means
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

// Of returns the track of a frame on [segment.ChannelDataTrack]; false where it is not known (yet).
func (t *Tracks) Of(f segment.Frame) (Track, bool) {
	if len(f.Payload) < 4 {
		return Track{}, false
	}
	track, known := t.table[handle{f.Epoch, binary.BigEndian.Uint16(f.Payload[2:])}]
	return track, known
}
