package decode_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode"
	"github.com/syncflow/textegress/segment"
)

const (
	single = 0x18 // start and final
	start  = 0x10
	final  = 0x08
)

// trackPacket makes a packet of a data track, with the extensions as they are.
func trackPacket(flags byte, handle uint16, payload string, extensions ...byte) []byte {
	b := []byte{
		flags, 0, byte(handle >> 8), byte(handle), 0x1a, 0x0a, 0x27, 0x0f, 0xde, 0xad, 0xbe,
		0xef,
	}
	if len(extensions) > 0 {
		b[0] |= 4
		for (len(extensions)+2)%4 != 0 {
			extensions = append(extensions, 0)
		}
		b = binary.BigEndian.AppendUint16(b, uint16((len(extensions)+2)/4-1))
		b = append(b, extensions...)
	}
	return append(b, payload...)
}

func extension(id byte, data string) []byte { return append([]byte{id, byte(len(data))}, data...) }

func trackFrame(epoch uint16, payload []byte) segment.Frame {
	return segment.Frame{
		Type: segment.FramePacket, Channel: segment.ChannelDataTrack, Epoch: epoch,
		UnixNS: at, Payload: payload,
	}
}

func told(t testing.TB, epoch uint16, e textegress.Event) segment.Frame {
	t.Helper()
	b, err := segment.EncodeEvent(e)
	if err != nil {
		t.Fatal(err)
	}
	return segment.Frame{Type: segment.FrameEvent, Epoch: epoch, UnixNS: at, Payload: b}
}

func subscribed(t testing.TB, epoch, handle uint16, who, sid, name string) segment.Frame {
	t.Helper()
	return told(t, epoch, textegress.Event{
		Kind: textegress.KindDataTrackSubscribed, Identity: who, ParticipantSID: "PA_" + who,
		TrackSID: sid, Name: name, Handle: handle,
	})
}

func TestDataTrack(t *testing.T) {
	all := extension(1, "\x05123456789012")
	all = append(all, extension(2, "\x00\x00\x00\x00\x00\x00\x01\x00")...)
	for name, tc := range map[string]struct {
		packet []byte
		want   func(*textegress.Message)
	}{
		// The example of livekit-server, pkg/rtc/datatrack/packet_test.go.
		"not UTF-8": {
			[]byte{
				0x18, 0x00, 0x0d, 0x05, 0x1a, 0x0a, 0x27, 0x0f, 0xde, 0xad, 0xbe, 0xef, 0xff,
				0xfe, 0xfd, 0xfc, 0xfb, 0xfa,
			},
			func(m *textegress.Message) { m.Base64 = []byte{0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0xfa} },
		},
		"text": {
			trackPacket(single, 3333, "x: 1"),
			func(m *textegress.Message) { m.Text = new("x: 1") },
		},
		"empty": {
			trackPacket(single, 3333, ""),
			func(m *textegress.Message) { m.Text = new("") },
		},
		"first of a frame": {
			trackPacket(start, 3333, "a"),
			func(m *textegress.Message) { m.Text, m.Track.Final = new("a"), false },
		},
		"middle of a frame": {trackPacket(0, 3333, "b"), func(m *textegress.Message) {
			m.Text,
				m.Track.Start, m.Track.Final = new("b"), false, false
		}},
		"last of a frame": {
			trackPacket(final, 3333, "c"),
			func(m *textegress.Message) { m.Text, m.Track.Start = new("c"), false },
		},
		"user timestamp": {
			trackPacket(single, 3333, "x", extension(2, "\xff\x00\x00\x00\x00\x00\x00\x01")...),
			func(m *textegress.Message) {
				m.Text, m.Track.UserTimestamp = new("x"),
					new(uint64(0xff<<56|1))
			},
		},
		"participant sid": {
			trackPacket(single, 3333, "x", extension(1, "PA_123456789012")...),
			func(m *textegress.Message) {
				m.Text, m.Track.ParticipantSID = new("x"),
					"PA_123456789012"
			},
		},
		"other extensions": {
			trackPacket(single, 3333, "x",
				append(extension(200, "later"), extension(2, "short")...)...),
			func(m *textegress.Message) {
				m.Text, m.Track.Extensions = new("x"), []textegress.TrackExtension{
					{ID: 200, Data: []byte("later")}, {ID: 2, Data: []byte("short")},
				}
			},
		},
		"encrypted": {
			trackPacket(single, 3333, "ciphertext", all...),
			func(m *textegress.Message) {
				m.Base64, m.Track.UserTimestamp = []byte("ciphertext"), new(uint64(256))
				m.Encryption = &textegress.EncryptionInfo{
					Type: "gcm", KeyIndex: 5,
					Reason: textegress.EncryptedNoKey,
				}
			},
		},
	} {
		want := textegress.Message{
			Kind: textegress.KindDataTrack, Time: time.Unix(0, at).UTC(), UnixNS: at, Epoch: 1,
			Reliable: new(false),
			Track: &textegress.TrackInfo{
				Handle: 3333, Sequence: 6666, Frame: 9999, Start: true,
				Final: true, Timestamp: 0xdeadbeef,
			},
		}
		tc.want(&want)
		got, ok := packetMessage(t, trackFrame(1, tc.packet))
		if diff := cmp.Diff(want, got); diff != "" || !ok {
			t.Errorf("%s: ok %v, message (-want +got):\n%s", name, ok, diff)
		}
	}
}

func TestDataTrackMalformed(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing":                     {},
		"no header":                   trackPacket(single, 1, "")[:11],
		"a later version":             trackPacket(1<<5|single, 1, "x"),
		"no extensions":               append(trackPacket(single|4, 1, ""), 0),
		"extensions beyond the end":   append(trackPacket(single|4, 1, ""), 0xff, 0xff, 1, 0),
		"extension beyond the others": trackPacket(single, 1, "payload", 9, 200),
		"extension without a length": trackPacket(single, 1, "payload", 9, 4, 1, 2, 3, 4,
			9+0)[:18:18],
	} {
		got, ok := packetMessage(t, trackFrame(1, b))
		if ok || got.Kind != textegress.KindUnknown || !bytes.Equal(got.Base64, b) ||
			got.Track != nil || *got.Reliable {
			t.Errorf("%s: %+v, ok %v", name, got, ok)
		}
		if e := decode.Inspect(trackFrame(1, b)); e.Decodable || e.Encrypted {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

// Handles are the server's, for one connection: the same number is another track in another epoch,
// and can become another one within it.
func TestDataTrackSender(t *testing.T) {
	frame := func(epoch uint16) segment.Frame {
		return trackFrame(epoch,
			trackPacket(single, 7, "x"))
	}
	joined := func(epoch uint16) segment.Frame {
		return told(t, epoch, textegress.Event{Kind: textegress.KindJoined, RoomSID: "RM"})
	}
	type who struct{ Identity, ParticipantSID, Topic, SID string }
	var got []who
	for _, l := range lines(t, decode.Options{},
		joined(1), frame(1), // before the server has told
		subscribed(t, 1, 7, "alice", "DTR_1", ""), frame(1), // and before it has told the name
		subscribed(t, 1, 7, "alice", "DTR_1", "positions"), frame(1),
		subscribed(t, 1, 8, "carol", "DTR_3", "gaze"), frame(1),
		joined(2), frame(2), frame(1), // of a merged recording: the first connection goes on
		subscribed(t, 2, 7, "bob", "DTR_2", "gaze"), frame(2), frame(1),
		subscribed(t, 1, 7, "bob", "DTR_2", "gaze"), frame(1), // the handle is used again
	) {
		if l.Kind == textegress.KindDataTrack {
			got = append(got, who{l.Identity, l.ParticipantSID, l.Topic, l.Track.SID})
		}
	}
	alice, bob, unknown := who{"alice", "PA_alice", "positions", "DTR_1"},
		who{"bob", "PA_bob", "gaze", "DTR_2"}, who{}
	want := []who{
		unknown,
		{"alice", "PA_alice", "", "DTR_1"},
		alice, alice, unknown, alice, bob,
		alice, bob,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("senders (-want +got):\n%s", diff)
	}
}

// A frame is encrypted as a whole, with the key of everything else, and then cut into packets.
func TestDataTrackEncrypted(t *testing.T) {
	e2ee := extension(1, "\x03\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c")
	ciphertext := string(unhex(ofPassphrase))
	keys := map[string]*decode.Keys{}
	for _, key := range []string{"correct horse", "wrong horse"} {
		k, err := decode.NewKeys([]byte(key))
		if err != nil {
			t.Fatal(err)
		}
		keys[key] = k
	}
	for name, tc := range map[string]struct {
		key    string
		packet []byte
		want   string // why it is not decrypted
	}{
		"with the key": {"correct horse", trackPacket(single, 1, ciphertext, e2ee...), ""},
		"another key": {
			"wrong horse", trackPacket(single, 1, ciphertext, e2ee...),
			textegress.EncryptedWrongKey,
		},
		"too short": {
			"correct horse", trackPacket(single, 1, "short", e2ee...),
			textegress.EncryptedMalformed,
		},
		"one of several": {
			"correct horse", trackPacket(start, 1, ciphertext, e2ee...),
			textegress.EncryptedPart,
		},
		"the last of all": {
			"correct horse", trackPacket(final, 1, ciphertext, e2ee...),
			textegress.EncryptedPart,
		},
	} {
		f := trackFrame(1, tc.packet)
		if e := decode.Inspect(f); !e.Encrypted || !e.Decodable {
			t.Errorf("%s: %+v", name, e)
		}
		d := decode.New(decode.Options{Keys: keys[tc.key]})
		defer d.Close()
		err := d.Frame(f, func(l *decode.Line) error {
			want := "\n\x04\x12\x02hi"
			if tc.want != "" {
				want = string(tc.packet[12+20:])
			}
			if l.Kind != textegress.KindDataTrack || l.Encryption.Reason != tc.want ||
				l.Encryption.KeyIndex != 3 || string(l.Payload()) != want {
				t.Errorf("%s: %+v, encryption %+v", name, l.Message, *l.Encryption)
			}
			return nil
		})
		if err != nil || d.Decrypted() != (tc.want == "") {
			t.Errorf("%s: %v, decrypted %v", name, err, d.Decrypted())
		}
	}
}

// FuzzDataTrack: no panic; what is decoded has all bytes, in header, extensions and payload; what
// is not is kept as it is.
func FuzzDataTrack(f *testing.F) {
	f.Add(trackPacket(single, 7, "x"))
	f.Add(trackPacket(start, 7, "\xff", extension(2, "\x00\x00\x00\x00\x00\x00\x00\x01")...))
	f.Add(trackPacket(0, 0xffff, "", append(extension(1, "PA_123456789012"),
		extension(77, "")...)...))
	f.Add(trackPacket(final, 1, "ciphertext",
		extension(1, "\x03\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c")...))
	f.Add(trackPacket(single|4, 1, "\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		fr := trackFrame(1, bytes.Clone(b))
		e := decode.Inspect(fr)
		m, ok := packetMessage(t, fr)
		if ok != e.Decodable || e.Encrypted != (m.Encryption != nil) {
			t.Fatalf("%x: decoded %v, %+v; the envelope says %+v", b, ok, m, e)
		}
		line, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var back textegress.Message
		if err := json.Unmarshal(line, &back); err != nil {
			t.Fatal(err)
		}
		if !ok {
			if back.Kind != textegress.KindUnknown || !bytes.Equal(back.Base64, b) {
				t.Fatalf("%x became %s", b, line)
			}
			return
		}
		h := back.Track
		flags := b[0] & 4 // what the line does not say
		for _, bit := range []struct {
			set bool
			bit byte
		}{{h.Start, start}, {h.Final, final}} {
			if bit.set {
				flags |= bit.bit
			}
		}
		again := binary.BigEndian.AppendUint16([]byte{flags | b[0]&3, b[1]}, h.Handle)
		again = binary.BigEndian.AppendUint16(again, h.Sequence)
		again = binary.BigEndian.AppendUint16(again, h.Frame)
		again = binary.BigEndian.AppendUint32(again, h.Timestamp)
		if !bytes.Equal(again, b[:12]) || !bytes.HasSuffix(b, back.Payload()) || b[0]&4 == 0 &&
			len(back.Payload()) != len(b)-12 {
			t.Fatalf("%x became %s", b, line)
		}
		if back.Text != nil && (!utf8.ValidString(*back.Text) || e.Encrypted) {
			t.Fatalf("%x became text %s", b, line)
		}
	})
}
