package textegress

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMessage_JSON(t *testing.T) {
	const at = 1749673841000000001
	yes, start := true, uint64(0)
	for _, tt := range []struct {
		name string
		in   Message
		want string
	}{
		{
			"data",
			Message{
				N: 1, Kind: KindData, UnixNS: at, Identity: "alice", ParticipantSID: "PA_a",
				Topic: "t", Reliable: &yes,
				Sequence: 7, Epoch: 1, Text: new("<b> & \u2028 \x00 \ufffd"),
				User: &UserInfo{ID: "i", Nonce: []byte{1}, StartTime: &start},
			},
			`{"n":1,"kind":"data","time":"2025-06-11T20:30:41.000000001Z","unix_ns":1749673841000000001,"identity":"alice",` +
				`"participant_sid":"PA_a","topic":"t","reliable":true,"sequence":7,"epoch":1,"text":"<b> & \u2028 \u0000 ` + "\ufffd" + `",` +
				`"user":{"id":"i","nonce":"AQ==","start_time":0}}`,
		},
		{
			"empty payload",
			Message{N: 2, Kind: KindData, UnixNS: at, Reliable: new(bool), Text: new(string)},
			`{"n":2,"kind":"data","time":"2025-06-11T20:30:41.000000001Z","unix_ns":1749673841000000001,"reliable":false,"text":""}`,
		},
		{
			"not UTF-8",
			Message{
				N: 3, Kind: KindUnknown, UnixNS: at, Base64: []byte{0xff, 0}, Field: 9,
				FieldName: "rpc_request",
			},
			`{"n":3,"kind":"unknown","time":"2025-06-11T20:30:41.000000001Z","unix_ns":1749673841000000001,"base64":"/wA=","field":9,"field_name":"rpc_request"}`,
		},
		{
			"event",
			Message{
				N: 4, Kind: KindOutageStarted, UnixNS: at,
				Event: &Event{Kind: KindOutageStarted, Cause: "connection_lost", SinceUnixNS: 5},
			},
			`{"n":4,"kind":"outage_started","time":"2025-06-11T20:30:41.000000001Z","unix_ns":1749673841000000001,"event":{"cause":"connection_lost","since_unix_ns":5}}`,
		},
		{
			"whole second",
			Message{
				N: 5, Kind: KindChat, UnixNS: 1749673841e9,
				Chat: &ChatInfo{ID: "c", Deleted: true},
			},
			`{"n":5,"kind":"chat","time":"2025-06-11T20:30:41.000000000Z","unix_ns":1749673841000000000,"chat":{"id":"c","deleted":true}}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.in.AppendJSON([]byte("before "))
			if d := cmp.Diff("before "+tt.want, string(got)); d != "" {
				t.Error(d)
			}
			var back Message
			if err := json.Unmarshal([]byte(tt.want), &back); err != nil {
				t.Fatal(err)
			}
			want := tt.in
			want.Time = time.Unix(0, want.UnixNS).UTC()
			if d := cmp.Diff(want, back); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestMessage_TimeAlone(t *testing.T) {
	m := Message{Time: time.Date(2025, 1, 2, 4, 4, 5, 6, time.FixedZone("x", 3600))}
	b := m.AppendJSON(nil)
	if !strings.Contains(string(b),
		`"time":"2025-01-02T03:04:05.000000006Z","unix_ns":1735787045000000006`) {
		t.Errorf("%s", b)
	}
}

func TestMessage_Payload(t *testing.T) {
	for _, tt := range []struct {
		in   Message
		want []byte
	}{
		{Message{}, nil},
		{Message{Text: new(string)}, []byte{}},
		{Message{Text: new("a")}, []byte("a")},
		{Message{Base64: []byte{0xff}}, []byte{0xff}},
	} {
		if d := cmp.Diff(tt.want, tt.in.Payload()); d != "" {
			t.Error(d)
		}
	}
}

func TestMetadata_PredecessorsKeysFirst(t *testing.T) {
	b, err := Metadata{RoomName: "a<b", StartedAt: 1, EndedAt: 2, EgressID: "DE_x"}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	want := "{\n  \"room_name\": \"a<b\",\n  \"topic\": null,\n  \"started_at\": 1,\n  " +
		"\"ended_at\": 2,\n  \"egress_id\": \"DE_x\","
	if !strings.HasPrefix(string(b), want) {
		t.Errorf("%s", b)
	}
}

func TestManifest_ListsAreNeverNull(t *testing.T) {
	b, err := Manifest{FormatVersion: FormatVersion}.Encode()
	if err != nil || strings.Contains(string(b), "null") {
		t.Errorf("%s, %v", b, err)
	}
	if _, err := DecodeManifest(b); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "{}", `{"format_version":2}`} {
		if _, err := DecodeManifest([]byte(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}
