package filter_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress"
)

// Rules that come into force while the session runs exclude what they name, from the next packet
// on, and end again; what the rules of the start exclude stays excluded.
func TestSetRules(t *testing.T) {
	f := newFilter(t, textegress.SelectionRules{TopicsDeny: []string{"secret"}})
	// A packet is judged when it arrives, and when it is written, maybe more than once.
	judge := func(p *livekit.DataPacket) string {
		b := marshal(t, p)
		if reason := f.Packet(b); reason != "" {
			return reason
		}
		first := f.DropNow(b, false)
		if second := f.DropNow(b, false); second != first {
			t.Errorf("judged again: %q, before %q", second, first)
		}
		return first
	}
	want := func(when string, p *livekit.DataPacket, reason string) {
		t.Helper()
		if got := judge(p); got != reason {
			t.Errorf("%s: dropped because of %q, want %q", when, got, reason)
		}
	}
	set := func(rules textegress.SelectionRules) {
		t.Helper()
		if err := f.SetRules(rules); err != nil {
			t.Fatal(err)
		}
	}
	f.Track(1, "PA_bob", "bob", "log")
	frame := []byte{0, 0, 0, 1, 0, 0}
	want("at the start", user("bob", "log"), "")
	want("at the start", user("bob", "secret"), textegress.DroppedTopic)
	want("a stream begins", header("alice", "s", "chat"), "")

	set(textegress.SelectionRules{IdentitiesDeny: []string{"bob"}})
	want("bob is denied", user("bob", "log"), textegress.DroppedIdentity)
	want("bob is denied", user("alice", "log"), "")
	want("the stream of another goes on", chunk("alice", "s"), "")
	if !f.Excluded("bob") || f.Excluded("alice") || f.Identity("bob") || !f.Identity("alice") {
		t.Error("the wrong participants are excluded")
	}
	if reason := f.DropNow(frame, true); reason != textegress.DroppedIdentity {
		t.Errorf("a track of bob that has begun: %q", reason)
	}
	if f.Track(2, "PA_bob", "bob", "log") {
		t.Error("a new track of bob may be recorded")
	}
	rules := f.Rules()
	if diff := cmp.Diff(textegress.SelectionRules{
		TopicsDeny: []string{"secret"}, IdentitiesDeny: []string{"bob"},
	}, rules); diff != "" {
		t.Errorf("the rules in force (-want +got):\n%s", diff)
	}

	set(textegress.SelectionRules{TopicsAllow: []string{"log"}})
	want("only log", user("bob", "log"), "")
	want("only log", user("bob", "chat"), textegress.DroppedTopic)
	want("a stream of unknown topic", chunk("alice", "s"), textegress.DroppedStreamUnknown)
	want("a stream that begins", header("alice", "t", "log"), "")
	want("its chunk", chunk("alice", "t"), "")
	want("its trailer", trailer("alice", "t"), "")
	if reason := f.DropNow(frame, true); reason != "" {
		t.Errorf("a track of bob, who is not denied any more: %q", reason)
	}

	set(textegress.SelectionRules{})
	want("no lists", user("bob", "chat"), "")
	want("no lists", user("bob", "secret"), textegress.DroppedTopic)
	if err := f.SetRules(textegress.SelectionRules{TopicsAllow: []string{"a*b"}}); err == nil {
		t.Error("a malformed list is accepted")
	}
	want("after a malformed list", user("bob", "chat"), "")
}
