package filter_test

import (
	"testing"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/filter"
)

// Streams that rules let through are recorded further by a later process that has not seen their
// beginning, as long as the rules are the same.
func TestOpenStreams(t *testing.T) {
	rules := textegress.SelectionRules{TopicsAllow: []string{"essay"}}
	packet := func(f *filter.Filter, p *livekit.DataPacket) string {
		return f.Packet(marshal(t, p))
	}
	before := newFilter(t, rules)
	packet(before, header("alice", "open", "essay"))
	packet(before, header("alice", "ended", "essay"))
	packet(before, trailer("alice", "ended"))
	packet(before, header("alice", "denied", "secret"))
	state := before.OpenStreams()

	for _, c := range []struct {
		name   string
		rules  textegress.SelectionRules
		stream string
		want   string
	}{
		{"open", rules, "open", ""},
		{"ended", rules, "ended", textegress.DroppedStreamUnknown},
		{"denied", rules, "denied", textegress.DroppedStreamUnknown},
		{
			"open, and the rules have changed",
			textegress.SelectionRules{TopicsDeny: []string{"essay"}},
			"open", textegress.DroppedStreamUnknown,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			after := newFilter(t, c.rules)
			after.Restore(state)
			if got := packet(after, chunk("alice", c.stream)); got != c.want {
				t.Errorf("dropped because of %q, want %q", got, c.want)
			}
		})
	}

	t.Run("over two processes", func(t *testing.T) {
		second := newFilter(t, rules)
		second.Restore(state)
		packet(second, header("bob", "second", "essay"))
		third := newFilter(t, rules)
		third.Restore(second.OpenStreams())
		for _, p := range []*livekit.DataPacket{chunk("alice", "open"), chunk("bob", "second")} {
			if got := packet(third, p); got != "" {
				t.Errorf("dropped because of %q", got)
			}
		}
	})
}
