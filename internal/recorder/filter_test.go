package recorder_test

import (
	"bytes"
	"os"
	"path/filepath"
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

const secret = "MARKER-of-bob"

func says(identity, text string) []byte {
	b, _ := proto.Marshal(&livekit.DataPacket{ParticipantIdentity: identity, ParticipantSid: "PA_" +
		identity, Value: &livekit.DataPacket_User{
		User: &livekit.UserPacket{Payload: []byte(text)},
	}})
	return b
}

// selected runs a recording under rules and returns its events of selection; nothing of bob is
// anywhere on the disk.
func selected(t *testing.T, w *world, rules textegress.SelectionRules) []segment.Event {
	t.Helper()
	o := w.options()
	o.Selection, _ = filter.New(rules)
	w.filter = o.Selection
	if err := recorder.New(w.rec, o).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w.events(textegress.KindSelection, textegress.KindDropped)
}

func nothingOnDisk(t *testing.T, dir, marker string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(marker)) {
			t.Errorf("%s contains %s", filepath.Base(path), marker)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDeniedParticipantsLeaveNoTrace(t *testing.T) {
	rules := textegress.SelectionRules{IdentitiesDeny: []string{"bob"}}
	bob := room.Participant{
		SID: "PA_bob", Identity: "bob", Name: secret, Metadata: secret,
		Attributes: map[string]string{"x": secret},
	}
	in := info("RM_1", ours, "alice")
	in.Participants = append(in.Participants, bob)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, step{
			info: in,
			run: func(h room.Handler, _ <-chan struct{}) room.Reason {
				for range 2 {
					h.Packet(room.Reliable, time.Now(), says("bob", secret))
					h.Packet(room.Lossy, time.Now(), says("alice", "hello"))
				}
				h.Event(room.Event{Type: room.ParticipantUpdated, Participant: bob})
				h.Event(room.Event{Type: room.ParticipantLeft, Participant: bob})
				h.Event(room.Event{Type: room.ParticipantJoined, Participant: bob})
				return room.ReasonRoomDeleted
			},
		})
		got := selected(t, w, rules)
		size := int64(len(says("bob", secret)))
		want := []segment.Event{
			{Kind: textegress.KindSelection, Selection: &rules},
			{Kind: textegress.KindDropped, Dropped: []textegress.Dropped{
				{Reason: textegress.DroppedIdentity, Packets: 2, Bytes: 2 * size},
			}},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("stated (-want +got):\n%s", diff)
		}
		nothingOnDisk(t, w.spool.Dir(), secret)
		nothingOnDisk(t, w.spool.Dir(), "PA_bob")
		alice := 0
		for _, line := range w.story() {
			if line == "participant_joined alice" || bytes.Contains([]byte(line), []byte("hello")) {
				alice++
			}
		}
		if alice != 3 {
			t.Errorf("of alice %d frames, want 3: %q", alice, w.story())
		}
	})
}

// Counts are written seldom: else they would tell when the others were active.
func TestDroppedIsStatedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, step{
			info: info("RM_1", ours, "alice"),
			run: func(h room.Handler, _ <-chan struct{}) room.Reason {
				for range 25 * 60 {
					h.Packet(room.Reliable, time.Now(), says("bob", secret))
					time.Sleep(time.Second)
				}
				return room.ReasonRoomDeleted
			},
		})
		got := selected(t, w, textegress.SelectionRules{IdentitiesAllow: []string{"alice"}})
		total := int64(0)
		for _, ev := range got[1:] {
			total += ev.Dropped[0].Packets
		}
		if len(got) != 4 || total != 25*60 {
			t.Errorf("%d statements of %d packets, want 3 of 1500", len(got)-1, total)
		}
	})
}

// A continued recording follows the rules of the process that continues it, and says so.
func TestRulesOfAContinuedRecording(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil,
			step{
				info: info("RM_1", ours, "alice", "bob"),
				run:  send(room.ReasonRoomDeleted, string(says("bob", secret))),
			})
		wr, err := w.rec.Writer()
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range []segment.Event{
			{Kind: textegress.KindRecordingStarted},
			{
				Kind:      textegress.KindSelection,
				Selection: &textegress.SelectionRules{TopicsDeny: []string{"x"}},
			},
			{Kind: textegress.KindJoined, RoomSID: "RM_1"},
			{Kind: textegress.KindParticipantJoined, Identity: "bob", ParticipantSID: "PA_bob"},
		} {
			if err := wr.Append(eventFrame(t, 0, ev)); err != nil {
				t.Fatal(err)
			}
		}
		if err := wr.Close(); err != nil {
			t.Fatal(err)
		}
		rules := textegress.SelectionRules{IdentitiesDeny: []string{"bob"}}
		got := selected(t, w, rules)
		if len(got) != 3 || got[1].Selection == nil || !cmp.Equal(*got[1].Selection, rules) {
			t.Errorf("stated: %+v", got)
		}
		nothingOnDisk(t, w.spool.Dir(), secret)
		for _, line := range w.story() {
			if line == "participant_left bob" {
				t.Error("bob's leaving is recorded under rules that deny him")
			}
		}
	})
}

// The frames of a data track name a handle, which is the server's for one connection. What is not
// known to be allowed does not reach the disk.
func TestDataTracksUnderRules(t *testing.T) {
	frame := func(handle byte, text string) []byte {
		return append([]byte{0x18, 0, 0, handle, 0, 1, 0, 1, 0, 0, 0, 1}, text...)
	}
	subscribed := func(handle uint16, who, name string) room.Event {
		return room.Event{Type: room.DataTrackSubscribed, Track: room.Track{
			Handle: handle,
			SID:    "DTR_" + who + name, Name: name, Identity: who, ParticipantSID: "PA_" + who,
		}}
	}
	synctest.Test(t, func(t *testing.T) {
		run := func(reason room.Reason, alice, bob byte) func(room.Handler,
			<-chan struct{}) room.Reason {
			return func(h room.Handler, _ <-chan struct{}) room.Reason {
				push := func(handle byte, text string) {
					h.Packet(room.DataTrack, time.Now(),
						frame(handle, text))
				}
				push(alice, secret+" before it is told")
				push(bob, secret)
				h.Event(subscribed(uint16(alice), "alice", ""))
				push(alice, secret+" before its name is told")
				h.Event(subscribed(uint16(alice), "alice", "open"))
				h.Event(subscribed(uint16(bob), "bob", secret))
				push(alice, "kept")
				push(bob, secret)
				h.Event(subscribed(9, "alice", "closed"))
				push(9, secret)
				h.Event(subscribed(9, "alice", "open"))
				push(9, "kept")
				h.Event(subscribed(9, "bob", secret)) // used again
				push(9, secret)
				h.Packet(room.DataTrack, time.Now(), []byte{0x18})
				return reason
			}
		}
		w := newWorld(t, nil,
			step{info: info("RM_1", ours, "alice"), run: run(room.ReasonConnectionLost, 1, 2)},
			// the other way round
			step{info: info("RM_1", ours, "alice"), run: run(room.ReasonRoomDeleted, 2, 1)})
		got := selected(t, w, textegress.SelectionRules{
			IdentitiesDeny: []string{"bob"},
			TopicsDeny:     []string{"closed"},
		})
		nothingOnDisk(t, w.spool.Dir(), secret)
		nothingOnDisk(t, w.spool.Dir(), "PA_bob")
		kept := 0
		for _, line := range w.story() {
			if bytes.Contains([]byte(line), []byte("kept")) {
				kept++
			}
		}
		sum := map[string]int64{}
		for _, ev := range got {
			for _, d := range ev.Dropped {
				sum[d.Reason] += d.Packets
			}
		}
		want := map[string]int64{
			textegress.DroppedIdentity: 4, textegress.DroppedTopic: 2,
			textegress.DroppedTrackUnknown: 8,
		}
		if diff := cmp.Diff(want, sum); diff != "" || kept != 4 {
			t.Errorf("kept %d, dropped (-want +got):\n%s", kept, diff)
		}
	})
}
