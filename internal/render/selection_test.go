package render_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

func TestManifestStatesTheSelection(t *testing.T) {
	r := newRecording(t, tempSpool(t), spool.Info{}, spool.Options{})
	rules := textegress.SelectionRules{TopicsDeny: []string{"secret"}}
	first := r.ns
	r.event(0, segment.Event{Kind: textegress.KindSelection, Selection: &rules})
	r.joined(1, "RM_1")
	r.event(1, segment.Event{
		Kind:    textegress.KindDropped,
		Dropped: []textegress.Dropped{{Reason: "topic", Packets: 2, Bytes: 20}},
	})
	r.event(1, segment.Event{Kind: textegress.KindOutageStarted, Cause: "process_died"})
	second := r.ns
	r.event(1, segment.Event{Kind: textegress.KindSelection})
	r.event(1, segment.Event{Kind: textegress.KindDropped, Dropped: []textegress.Dropped{
		{Reason: "identity", Packets: 1, Bytes: 5}, {Reason: "topic", Packets: 1, Bytes: 10},
	}})
	m, _ := build(t, render.FromSpool(r.seal(textegress.StatusComplete, "room_deleted")))
	rules.SinceUnixNS = first
	want := &textegress.Selection{
		Rules: []textegress.SelectionRules{rules, {SinceUnixNS: second}},
		Dropped: []textegress.Dropped{
			{Reason: "identity", Packets: 1, Bytes: 5},
			{Reason: "topic", Packets: 3, Bytes: 30},
		},
		AtLeast: true,
	}
	if diff := cmp.Diff(want, m.Selection); diff != "" {
		t.Errorf("selection (-want +got):\n%s", diff)
	}
}
