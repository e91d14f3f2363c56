package render_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/decode/decodetest"
	"github.com/syncflow/textegress/internal/redact/redacttest"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/verify"
	"github.com/syncflow/textegress/segment"
)

// Markers: SECRETn must not be delivered, STAYn is.
const (
	secretIdentity = "SECRET1-identity"
	secretName     = "SECRET2-name"
	secretMeta     = "SECRET3-metadata"
	secretAttr     = "SECRET4-attribute"
	secretFile     = "SECRET5-file/name"
	secretID       = "SECRET6-id"
	secretRoom     = "SECRET7-room-metadata"
	secretList     = "SECRET8-listed"
	secretReason   = "SECRET9-reason"
	secretMIME     = "x-SECRET0/type"
)

// writeSecrets records something of every kind, with a marker wherever a sender or the server can
// put a name.
func writeSecrets(r *recording) {
	const a = "PA_a"
	r.event(1, segment.Event{Kind: textegress.KindSelection, Selection: &textegress.SelectionRules{
		IdentitiesAllow: []string{secretList, secretIdentity}, IdentitiesDeny: []string{secretList},
		TopicsDeny: []string{"STAY-topic-list"},
	}})
	r.event(1, segment.Event{
		Kind:    textegress.KindDropped,
		Dropped: []textegress.Dropped{{Reason: "identity", Packets: 2, Bytes: 3}},
	})
	r.event(1, segment.Event{
		Kind: textegress.KindJoined, Identity: "SECRET-recorder", ParticipantSID: "PA_us",
		RoomSID: "RM_1", RoomMetadata: secretRoom,
		Name: secretName, Metadata: secretMeta,
		Attributes: map[string]string{secretAttr: secretAttr}, ServerVersion: "1.13.5",
	})
	for _, k := range []textegress.Kind{
		textegress.KindParticipantJoined,
		textegress.KindParticipantUpdated,
	} {
		r.event(1, segment.Event{
			Kind: k, Identity: secretIdentity, ParticipantSID: a, Name: secretName,
			Metadata:   secretMeta,
			Attributes: map[string]string{secretAttr: secretAttr}, ParticipantKind: "standard",
		})
	}
	r.event(1, segment.Event{Kind: textegress.KindRoomUpdated, RoomMetadata: secretRoom})
	r.from(secretIdentity, a, &livekit.DataPacket{
		DestinationIdentities: []string{secretList, secretIdentity},
		Value: &livekit.DataPacket_User{User: &livekit.UserPacket{
			Payload: []byte("STAY-payload"), Topic: new("STAY-topic"), Id: new(secretID),
			Nonce:                 []byte(secretID),
			DestinationIdentities: []string{secretList}, ParticipantIdentity: secretIdentity,
			//nolint:staticcheck // deprecated
		}},
	})
	r.say(secretIdentity, a, "STAY-topic", "\xff\xfeSTAY-binary")
	r.packet(&livekit.DataPacket{Value: &livekit.DataPacket_User{User: &livekit.UserPacket{
		Payload: []byte("old server"), ParticipantIdentity: secretIdentity,
		ParticipantSid: "PA_old", //nolint:staticcheck // deprecated
	}}})
	r.from(secretIdentity, a,
		&livekit.DataPacket{Value: &livekit.DataPacket_ChatMessage{
			ChatMessage: &livekit.ChatMessage{Id: secretID, Message: "STAY-chat"},
		}})
	r.from("agent", "PA_g", &livekit.DataPacket{Value: &livekit.DataPacket_Transcription{
		Transcription: &livekit.Transcription{
			TranscribedParticipantIdentity: secretIdentity, TrackId: secretID,
			Segments: []*livekit.TranscriptionSegment{{
				Id: secretID, Text: "STAY-speech",
				Language: secretName, Final: true,
			}},
		},
	}})
	r.from(secretIdentity, a,
		&livekit.DataPacket{Value: &livekit.DataPacket_SipDtmf{SipDtmf: &livekit.SipDTMF{
			Code:  1,
			Digit: secretName,
		}}})
	r.from(secretIdentity, a,
		&livekit.DataPacket{Value: &livekit.DataPacket_RpcRequest{
			RpcRequest: &livekit.RpcRequest{Id: secretID, Method: "STAY-method", Payload: "{}"},
		}})
	r.from(secretIdentity, a,
		&livekit.DataPacket{Value: &livekit.DataPacket_RpcAck{
			RpcAck: &livekit.RpcAck{RequestId: secretID},
		}})
	r.from(secretIdentity, a,
		&livekit.DataPacket{Value: &livekit.DataPacket_RpcResponse{
			RpcResponse: &livekit.RpcResponse{
				RequestId: secretID, Value: &livekit.RpcResponse_Error{
					Error: &livekit.RpcError{
						Code:    1,
						Message: "STAY-error",
					},
				},
			},
		}})
	h := textHeader(secretID, "STAY-text-topic", 4, "attribute", secretAttr)
	h.GetTextHeader().ReplyToStreamId, h.GetTextHeader().AttachedStreamIds = secretID,
		[]string{secretID}
	h.MimeType = secretMIME
	r.stream(secretIdentity, a, h, "text")
	r.stream(secretIdentity, a, byteHeader(secretID, secretFile, secretMIME, 4), "\xff\x00\x01\x02")
	r.stream("SECRET1/../other", "PA_o", byteHeader("8e7b6d1e-8a47-4c7a-9a7e-0d4f5f0f7c11",
		secretFile, "image/png", 4), "\x89PNG")
	r.from(secretIdentity, a, streamHeader(byteHeader(secretID+"2", secretFile, "", 100)))
	r.from(secretIdentity, a, streamTrailer(secretID+"2", secretReason,
		map[string]string{secretAttr: secretAttr}))
	r.from(secretIdentity, a, streamChunk(secretID+"3", 7, "no header"))
	r.stream(secretIdentity, a, textHeader(secretID+"t", "lk.transcription", 2, "lk.segment_id",
		secretID, "lk.transcribed_track_id", secretID,
		"lk.transcription_final", "true"), "hm")
	r.stream(secretIdentity, a, textHeader(secretID+"q", "lk.rpc_request", 2, "lk.rpc_request_id",
		secretID, "lk.rpc_request_method", "STAY-method"), "{}")
	// What is not decoded.
	r.from(secretIdentity, a,
		&livekit.DataPacket{Value: &livekit.DataPacket_Metrics{
			Metrics: &livekit.MetricsBatch{StrData: []string{secretName}},
		}})
	later, err := proto.Marshal(&livekit.DataPacket{
		ParticipantIdentity: secretIdentity,
		ParticipantSid:      a,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.raw(later)
	r.raw(protowire.AppendBytes(protowire.AppendTag(later, 99, protowire.BytesType),
		[]byte(secretName)))
	r.raw([]byte("\xff\xff" + secretIdentity))
	r.append(segment.Frame{
		Type: segment.FrameEvent, Epoch: 1,
		Payload: []byte(`{"kind":"` + secretIdentity + `"}`),
	})
	r.track(8, 1, 0x18, "before the server told whose it is")
	r.event(1, segment.Event{
		Kind: textegress.KindDataTrackSubscribed, Identity: secretIdentity,
		ParticipantSID: a, Name: "STAY-track", TrackSID: "DTR_1", Handle: 7,
	})
	// with two extensions
	r.track(7, 2, 0x1c, "\x00\x06\x09\x06SECRET\x01\x0fPA_SECRETSECRET\x00STAY-frame")
	r.track(7, 3, 0xff, secretIdentity)
	r.from(secretIdentity, a, decodetest.Encrypt("another secret", 2,
		&livekit.EncryptedPacketPayload{Value: &livekit.EncryptedPacketPayload_User{
			User: &livekit.UserPacket{Payload: []byte("for others")},
		}}))
	r.from(secretIdentity, a, decodetest.Encrypt(passphrase, 1,
		&livekit.EncryptedPacketPayload{Value: &livekit.EncryptedPacketPayload_User{
			User: &livekit.UserPacket{Payload: []byte("STAY-decrypted"), Topic: new("secret")},
		}}))
	r.event(1, segment.Event{
		Kind: textegress.KindOutageStarted, Cause: "connection_lost",
		SinceUnixNS: r.ns - 5e7,
	})
	r.event(2, segment.Event{Kind: textegress.KindOutageEnded})
	r.say(secretIdentity, a, "", "again")
	r.event(2, segment.Event{
		Kind: textegress.KindParticipantLeft, Identity: secretIdentity,
		ParticipantSID: a, Name: secretName,
	})
	// still open at the end
	r.from("SECRET1 only in a list", "PA_l", streamHeader(textHeader(secretID, "lk.chat", 9)))
	r.seal(textegress.StatusComplete, "room_deleted")
}

var (
	notText  = regexp.MustCompile(`[A-Za-z0-9+/]{8,}={0,2}`)
	identity = regexp.MustCompile(`SECRET[^"]{0,20}`)
)

// visible returns all that a reader of some bytes can see: as they are, escapes undone, base64
// decoded.
func visible(b []byte) string {
	all := string(b)
	if s, err := url.PathUnescape(strings.ReplaceAll(all, "% ", "")); err == nil {
		all += "\n" + s
	}
	for _, s := range notText.FindAllString(string(b), -1) {
		for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding} {
			if d, err := enc.DecodeString(s); err == nil {
				all += "\n" + string(d)
			}
		}
	}
	return all
}

func noSecrets(t *testing.T, s *memSink, m textegress.Manifest) {
	t.Helper()
	for key, data := range s.objects {
		if found := identity.FindString(visible([]byte(key)) + visible(data)); found != "" {
			t.Errorf("%q is in %q", found, key)
		}
	}
	for _, o := range m.Objects {
		if strings.HasPrefix(o.Key, textegress.RawDir) ||
			strings.Contains(o.ContentType, "SECRET") {
			t.Errorf("delivered: %+v", o)
		}
	}
}

// TestPseudonyms_NoIdentity records a marker in every place of every kind that can hold a name.
func TestPseudonyms_NoIdentity(t *testing.T) {
	r := newRecording(t, tempSpool(t), spool.Info{Pseudonyms: true}, spool.Options{})
	writeSecrets(r)
	keys, err := render.NewKeys([]byte(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []render.Options{{}, {Keys: keys}} {
		names := &redacttest.Pseudonyms{}
		o.Pseudonyms = names
		s := newMemSink()
		m, err := render.Build(t.Context(), render.FromSpool(r.rec), o, s)
		if err != nil {
			t.Fatal(err)
		}
		noSecrets(t, s, m)
		if !m.Pseudonyms || len(m.LeftOut) == 0 || m.Selection == nil ||
			m.Selection.Rules[0].IdentitiesAllowCount != 2 ||
			m.Selection.Rules[0].IdentitiesDenyCount != 1 {
			t.Errorf("the manifest does not say it: %+v, %+v", m.LeftOut, m.Selection)
		}
		all := string(s.objects[textegress.EventsName])
		for _, want := range []string{
			"STAY-payload", "STAY-topic", "STAY-chat", "STAY-speech", "STAY-method", "STAY-error",
			"STAY-text-topic", "STAY-topic-list", `"track_sid":"DTR_1"`,
			`"identity":"` + names.Known[secretIdentity] + `"`, `"participant_sid":"PA_a"`,
			`"withheld":`, `"file":"files/P-`,
			base64.StdEncoding.EncodeToString([]byte("\xff\xfeSTAY-binary")), `"text":"STAY-frame"`,
			`"topic":"STAY-track"`,
		} {
			if !strings.Contains(all, want) {
				t.Errorf("events.jsonl has no %q", want)
			}
		}
		if got := strings.Contains(all, "STAY-decrypted"); got != (o.Keys != nil) {
			t.Errorf("decrypted: %v", got)
		}
		// Everybody who was replaced is on the list, the recorder itself is not.
		list := strings.Join(names.Saved, ",")
		for _, want := range []string{
			secretIdentity, secretList, "agent", "SECRET1/../other",
			"SECRET1 only in a list",
		} {
			if !strings.Contains(list, want) {
				t.Errorf("%q is not on the list: %s", want, list)
			}
		}
		if strings.Contains(list, "SECRET-recorder") {
			t.Error("the recorder has a pseudonym")
		}
		// The account is the one of the recording: it lists the connections, each under its
		// pseudonym.
		seen := map[string]bool{}
		for _, c := range m.Completeness.Connections {
			seen[c.ParticipantSID+" "+c.Identity] = true
		}
		if !seen["PA_a "+names.Known[secretIdentity]] || !seen["PA_g "+names.Known["agent"]] {
			t.Errorf("connections: %v", seen)
		}
		// The same again gives the same bytes.
		again := newMemSink()
		if _, err := render.Build(t.Context(), render.FromSpool(r.rec), o, again); err != nil {
			t.Fatal(err)
		}
		for key, data := range s.objects {
			if !bytes.Equal(data, again.objects[key]) {
				t.Errorf("%s has other bytes at the next try", key)
			}
		}
	}
}

// TestPseudonyms_Golden: of the recording with everything that LiveKit can carry, no identity or
// name is delivered, and no line is lost.
func TestPseudonyms_Golden(t *testing.T) {
	sp, err := spool.OpenReadOnly(filepath.Join("testdata", "spool"))
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	for _, id := range []string{full, aborted, kinds} {
		rec, _ := sp.Recording(id)
		plain, ps := build(t, render.FromSpool(rec))
		s := newMemSink()
		m, err := render.Build(t.Context(), underPseudonyms{render.FromSpool(rec)},
			render.Options{Pseudonyms: &redacttest.Pseudonyms{}}, s)
		if err != nil {
			t.Fatal(err)
		}
		for key, data := range s.objects {
			for _, who := range []string{
				`"alice`, "alice-", "/alice", "agent-1", "Alice A.", "学生",
				"bob%", "bob/", "phone", "pic\\n", "log.txt",
			} {
				// Payloads that name people stay: {"to":"bob"}, {"user":"alice",…}.
				text := strings.NewReplacer(`{"user":"alice"`, "", `{\"user\":\"alice\"`,
					"").Replace(visible([]byte(key)) + visible(data))
				if strings.Contains(text, who) {
					t.Errorf("%s: %q is in %q", id, who, key)
				}
			}
		}
		if m.Counts.Messages != plain.Counts.Messages ||
			m.Counts.Participants != plain.Counts.Participants {
			t.Errorf("%s: counts %+v, without pseudonyms %+v", id, m.Counts, plain.Counts)
		}
		if got, want := bytes.Count(s.objects[textegress.EventsName], []byte("\n")),
			bytes.Count(ps.objects[textegress.EventsName], []byte("\n")); got != want {
			t.Errorf("%s: %d lines, without pseudonyms %d", id, got, want)
		}
		if len(plain.Completeness.Connections) != len(m.Completeness.Connections) {
			t.Errorf("%s: %d connections, without pseudonyms %d", id,
				len(m.Completeness.Connections), len(plain.Completeness.Connections))
		}
	}
}

// underPseudonyms is a recording that may be delivered under pseudonyms only.
type underPseudonyms struct{ render.Source }

func (v underPseudonyms) Info() spool.Info {
	i := v.Source.Info()
	i.Pseudonyms = true
	return i
}

// TestPseudonyms_NeverWithout: a recording that was begun under pseudonyms is never exported
// without, and where the list of pseudonyms cannot be written nothing is delivered.
func TestPseudonyms_NeverWithout(t *testing.T) {
	r := newRecording(t, tempSpool(t), spool.Info{Pseudonyms: true}, spool.Options{})
	r.say("alice", "PA_a", "", "hello")
	r.seal(textegress.StatusComplete, "room_deleted")
	s := newMemSink()
	if _, err := render.Build(t.Context(), render.FromSpool(r.rec), render.Options{},
		s); err == nil || len(s.objects) > 0 {
		t.Errorf("without pseudonyms: %v, %d objects", err, len(s.objects))
	}
	if _, err := verify.Derive(t.Context(), render.FromSpool(r.rec), render.Options{},
		0); err == nil {
		t.Error("it can be derived without pseudonyms")
	}
	full := errors.New("disk full")
	if _, err := render.Build(t.Context(), render.FromSpool(r.rec),
		render.Options{Pseudonyms: &redacttest.Pseudonyms{Err: full}}, s); !errors.Is(err, full) {
		t.Errorf("the list cannot be written: %v", err)
	}
	if _, ok := s.objects[textegress.ManifestName]; ok {
		t.Error("there is a manifest")
	}
	dir := t.TempDir()
	d, err := render.NewDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := render.Build(t.Context(), render.FromSpool(r.rec),
		render.Options{Pseudonyms: &redacttest.Pseudonyms{}}, d); err != nil {
		t.Fatal(err)
	}
	if _, err := render.FromDelivered(os.DirFS(dir)); !errors.Is(err, render.ErrPseudonyms) {
		t.Errorf("as a source: %v", err)
	}
	// A recording without the mark is not touched, whoever passes pseudonyms.
	plain := newRecording(t, tempSpool(t), spool.Info{}, spool.Options{})
	plain.say("alice", "PA_a", "", "hello")
	plain.seal(textegress.StatusComplete, "room_deleted")
	s = newMemSink()
	if _, err := render.Build(t.Context(), render.FromSpool(plain.rec),
		render.Options{Pseudonyms: &redacttest.Pseudonyms{}}, s); err != nil {
		t.Fatal(err)
	}
	_, without := build(t, render.FromSpool(plain.rec))
	for key, data := range without.objects {
		if !bytes.Equal(data, s.objects[key]) {
			t.Errorf("%s differs", key)
		}
	}
}
