package filter_test

import (
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/filter"
)

var (
	byAttribute = textegress.SelectionRules{ExcludeByAttribute: true}
	optedOut    = map[string]string{filter.ExcludeAttribute: "true"}
)

// TestExcludedByAttribute checks the verdict on packets of one participant through their stay.
func TestExcludedByAttribute(t *testing.T) {
	f := newFilter(t, byAttribute)
	packet := marshal(t, user("bob", "chat"))
	for _, step := range []struct {
		name string
		do   func() bool // what Participant returns
		want string
	}{
		{"not announced", func() bool { return true }, filter.Held},
		{"announced", func() bool { return f.Participant("PA_bob", "bob", nil) }, ""},
		{"another value of the attribute", func() bool {
			return f.Participant("PA_bob", "bob", map[string]string{filter.ExcludeAttribute: "false"})
		}, ""},
		{
			"opted out", func() bool { return !f.Participant("PA_bob", "bob", optedOut) },
			textegress.DroppedIdentity,
		},
		{"gone", func() bool { f.ParticipantLeft("PA_bob"); return true }, textegress.DroppedIdentity},
		{
			"opted in again", func() bool { return f.Participant("PA_bob", "bob", nil) }, "",
		},
		{"gone again", func() bool { f.ParticipantLeft("PA_bob"); return true }, ""},
	} {
		if !step.do() {
			t.Errorf("%s: Participant is wrong", step.name)
		}
		if got := f.Packet(packet); got != step.want {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
	}
	want := []textegress.Dropped{{
		Reason: textegress.DroppedIdentity, Packets: 2, Bytes: 2 * int64(len(packet)),
	}}
	if diff := cmp.Diff(want, f.Take()); diff != "" {
		t.Errorf("held packets are not counted (-want +got):\n%s", diff)
	}
	f.DropHeld(7)
	want = []textegress.Dropped{{Reason: textegress.DroppedSenderUnknown, Packets: 1, Bytes: 7}}
	if diff := cmp.Diff(want, f.Take()); diff != "" {
		t.Error(diff)
	}
}

// TestNextConnectionIsAnnouncedAnew: a participant who opts out between two connections is not
// recorded before the server reports the new attributes.
func TestNextConnectionIsAnnouncedAnew(t *testing.T) {
	f := newFilter(t, byAttribute)
	f.Participant("PA_bob", "bob", nil)
	again := user("bob", "chat")
	again.ParticipantSid = "PA_bob2"
	if got := f.Packet(marshal(t, again)); got != filter.Held {
		t.Errorf("%q, want it held", got)
	}
}

// TestOthersByAttribute covers packets that name no participant, a speaker, or only an identity.
func TestOthersByAttribute(t *testing.T) {
	f := newFilter(t, byAttribute)
	f.Participant("PA_agent", "agent", nil)
	f.Participant("PA_bob", "bob", optedOut)
	f.Participant("PA_alice", "alice", nil)
	transcription := func(speaker string) []byte {
		return marshal(t, &livekit.DataPacket{
			ParticipantIdentity: "agent", ParticipantSid: "PA_agent",
			Value: &livekit.DataPacket_Transcription{
				Transcription: &livekit.Transcription{TranscribedParticipantIdentity: speaker},
			},
		})
	}
	bare := user("bob", "chat")
	bare.ParticipantSid = ""
	for name, c := range map[string]struct {
		packet []byte
		want   string
	}{
		"from the server's API": {marshal(t, user("", "chat")), ""},
		"speaker":               {transcription("alice"), ""},
		"excluded speaker":      {transcription("bob"), textegress.DroppedIdentity},
		"unknown speaker":       {transcription("carol"), filter.Held},
		"no sid":                {marshal(t, bare), textegress.DroppedIdentity},
	} {
		p := c.packet
		if name == "from the server's API" {
			api := user("", "chat")
			api.ParticipantSid = ""
			p = marshal(t, api)
		}
		if got := f.Packet(p); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestListsByAttribute: what a list excludes need not be held, and topics still count.
func TestListsByAttribute(t *testing.T) {
	f := newFilter(t, textegress.SelectionRules{
		ExcludeByAttribute: true, IdentitiesDeny: []string{"bob"}, TopicsAllow: []string{"chat"},
	})
	if got := f.Packet(marshal(t, user("bob", "chat"))); got != textegress.DroppedIdentity {
		t.Errorf("%q", got)
	}
	if f.Participant("PA_bob", "bob", nil) {
		t.Error("an announcement lifts the deny list")
	}
	f.Participant("PA_alice", "alice", nil)
	if got := f.Packet(marshal(t, user("alice", "other"))); got != textegress.DroppedTopic {
		t.Errorf("%q", got)
	}
	if got := f.Packet(marshal(t, user("alice", "chat"))); got != "" {
		t.Errorf("%q", got)
	}
}

// TestTracksByAttribute: the attributes of the publisher decide about frames.
func TestTracksByAttribute(t *testing.T) {
	f := newFilter(t, byAttribute)
	if f.Track(1, "PA_bob", "bob", "pose") || f.Frame(1, 9) != textegress.DroppedTrackUnknown {
		t.Error("the track of an unannounced publisher is kept")
	}
	f.Participant("PA_bob", "bob", nil)
	if f.Frame(1, 9) != textegress.DroppedTrackUnknown {
		t.Error("frames of a track that the record does not state")
	}
	if !f.Track(1, "PA_bob", "bob", "pose") || f.Frame(1, 9) != "" {
		t.Error("the track of an announced publisher is dropped")
	}
	f.Participant("PA_bob", "bob", optedOut)
	if f.Frame(1, 9) != textegress.DroppedIdentity {
		t.Error("the publisher opted out, the frames are kept")
	}
}

// TestRosterIsBounded: participants who left are removed in the end, those present are not.
func TestRosterIsBounded(t *testing.T) {
	f := newFilter(t, byAttribute)
	f.Participant("PA_alice", "alice", nil)
	for i := range 5000 {
		sid := "PA_" + strconv.Itoa(i)
		f.Participant(sid, "bob", nil)
		f.ParticipantLeft(sid)
	}
	old := user("bob", "chat")
	old.ParticipantSid = "PA_1"
	if got := f.Packet(marshal(t, old)); got != filter.Held {
		t.Errorf("%q: a participant who left long ago is still known", got)
	}
	if got := f.Packet(marshal(t, user("alice", "chat"))); got != "" {
		t.Errorf("%q: a participant who is present was removed", got)
	}
}

// Participants can be excluded and included at any time, with rules and without. A packet that was
// allowed before is judged again.
func TestSetExcluded(t *testing.T) {
	for name, rules := range map[string]textegress.SelectionRules{
		"no rules": {}, "rules": {IdentitiesDeny: []string{"eve"}},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := filter.New(rules)
			if err != nil {
				t.Fatal(err)
			}
			packet := func(identity string) []byte {
				b, err := proto.Marshal(&livekit.DataPacket{
					ParticipantIdentity: identity,
					Value:               &livekit.DataPacket_User{User: &livekit.UserPacket{}},
				})
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
			frame := []byte{0x18, 0, 0, 7}
			f.Track(7, "PA_bob", "bob", "t")
			check := func(excluded bool) {
				t.Helper()
				want := ""
				if excluded {
					want = textegress.DroppedIdentity
				}
				for what, got := range map[string]string{
					"packet": f.Packet(packet("bob")), "frame": f.Frame(7, 4),
					"packet again": f.DropNow(packet("bob"), false),
					"frame again":  f.DropNow(frame, true),
				} {
					if got != want {
						t.Errorf("%s: %q, want %q", what, got, want)
					}
				}
				if f.Identity("bob") == excluded || f.Allows("bob") == excluded ||
					!f.Identity("ann") || f.Packet(packet("ann")) != "" {
					t.Error("the wrong identities are excluded")
				}
				if n := f.Rules().Excluded; n == 1 != excluded {
					t.Errorf("%d are stated", n)
				}
			}
			check(false)
			f.SetExcluded([]string{"bob", ""})
			check(true)
			f.SetExcluded(nil)
			check(false)
			if f.Packet(packet("")) != "" {
				t.Error("the server's API is excluded")
			}
		})
	}
}
