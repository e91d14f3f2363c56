package recorder_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/filter"
	"github.com/syncflow/textegress/internal/recorder"
	"github.com/syncflow/textegress/internal/room"
	"github.com/syncflow/textegress/segment"
)

func participant(identity string, excluded bool) room.Participant {
	p := room.Participant{SID: "PA_" + identity, Identity: identity}
	if excluded {
		p.Attributes = map[string]string{filter.ExcludeAttribute: "true"}
	}
	return p
}

func joined(identity string, excluded bool) room.Event {
	return room.Event{Type: room.ParticipantJoined, Participant: participant(identity, excluded)}
}

func updated(identity string, excluded bool) room.Event {
	return room.Event{Type: room.ParticipantUpdated, Participant: participant(identity, excluded)}
}

// recorded runs a recording that excludes by attribute, and returns the texts, participant events
// and counts in it.
func recorded(t *testing.T, w *world) []string {
	t.Helper()
	o := w.options()
	o.Selection, _ = filter.New(textegress.SelectionRules{ExcludeByAttribute: true})
	w.filter = o.Selection
	if err := recorder.New(w.rec, o).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var out []string
	for f, err := range w.rec.Frames() {
		if err != nil {
			t.Fatal(err)
		}
		switch f.Type {
		case segment.FramePacket:
			var p livekit.DataPacket
			if err := proto.Unmarshal(f.Payload, &p); err != nil {
				t.Fatal(err)
			}
			out = append(out, string(p.GetUser().GetPayload()))
		case segment.FrameEvent:
			ev, err := segment.DecodeEvent(f.Payload)
			if err != nil {
				t.Fatal(err)
			}
			switch ev.Kind {
			case textegress.KindParticipantJoined, textegress.KindParticipantLeft:
				out = append(out, strings.TrimSpace(
					string(ev.Kind)+" "+ev.Identity+" "+ev.Cause))
			case textegress.KindDropped:
				for _, d := range ev.Dropped {
					out = append(out, "dropped "+d.Reason)
				}
			}
		}
	}
	return out
}

func TestHeldUntilAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		send := func(h room.Handler, who, text string) {
			h.Packet(room.Reliable, time.Now(), says(who, text))
		}
		w := newWorld(t, nil, step{
			info: info("RM_1", ours, "alice"),
			run: func(h room.Handler, _ <-chan struct{}) room.Reason {
				send(h, "alice", "1")
				send(h, "bob", "2") // not announced yet
				send(h, "carol", secret)
				send(h, "bob", "3")
				send(h, "alice", "4") // a known sender: not held
				time.Sleep(2 * time.Second)
				h.Event(joined("bob", false))
				h.Event(joined("carol", true))
				send(h, "bob", "5")
				send(h, "carol", secret)
				// bob opts out and in again
				h.Event(updated("bob", true))
				send(h, "bob", secret)
				h.Event(updated("bob", false))
				send(h, "bob", "6")
				send(h, "dave", secret) // is never announced
				return room.ReasonRoomDeleted
			},
		})
		want := []string{
			"participant_joined alice", "1", "4", "participant_joined bob", "2", "3", "5",
			"participant_left bob excluded", "participant_joined bob", "6",
			"dropped identity", "dropped sender_unknown",
		}
		if diff := cmp.Diff(want, recorded(t, w)); diff != "" {
			t.Errorf("recorded (-want +got):\n%s", diff)
		}
		nothingOnDisk(t, w.spool.Dir(), secret)
	})
}

// TestHeldIsBounded: the time and the memory of held packets are limited.
func TestHeldIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, step{
			info: info("RM_1", ours, "alice"),
			run: func(h room.Handler, _ <-chan struct{}) room.Reason {
				h.Packet(room.Reliable, time.Now(), says("bob", "too old"))
				time.Sleep(11 * time.Second)
				for range 6 {
					h.Packet(room.Reliable, time.Now(), says("bob", strings.Repeat("x", 1<<20)))
				}
				h.Event(joined("bob", false))
				return room.ReasonRoomDeleted
			},
		})
		kept := map[int]int{} // by length
		for _, line := range recorded(t, w) {
			if !strings.Contains(line, "participant") {
				kept[len(line)]++
			}
		}
		want := map[int]int{1 << 20: 3, len("dropped sender_unknown"): 1}
		if diff := cmp.Diff(want, kept); diff != "" {
			t.Errorf("kept by length (-want +got):\n%s", diff)
		}
	})
}
