package recorder_test

import (
	"slices"
	"strings"
	"sync"
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

func bobIn() room.Participant {
	return room.Participant{SID: "PA_bob", Identity: "bob", Name: "Bob"}
}

func chunk(identity, text string) []byte {
	b, _ := proto.Marshal(&livekit.DataPacket{
		ParticipantIdentity: identity, Value: &livekit.DataPacket_StreamChunk{
			StreamChunk: &livekit.DataStream_Chunk{StreamId: "s", Content: []byte(text)},
		},
	})
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func names(r *recorder.Recorder) string {
	var out []string
	for _, p := range r.People() {
		out = append(out, p.Identity)
	}
	return strings.Join(out, " ")
}

// Whoever is excluded while the session runs leaves the record: nothing more of theirs, not the
// rest of a stream or of a data track, and not what the server says about them. When that ends they
// are in the record again. With lists and without.
func TestExclude(t *testing.T) {
	for name, rules := range map[string]textegress.SelectionRules{
		"without lists": {}, "with lists": {TopicsDeny: []string{"other"}},
		"with attributes": {ExcludeByAttribute: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testExclude(t, rules) })
		})
	}
}

func testExclude(t *testing.T, rules textegress.SelectionRules) {
	t.Helper()
	var r *recorder.Recorder
	in := info("RM_1", ours, "alice")
	in.Participants = append(in.Participants, bobIn())
	bobs := bobIn()
	bobs.Metadata = "reported while he is excluded"
	w := newWorld(t, nil, step{
		info: in,
		run: func(h room.Handler, _ <-chan struct{}) room.Reason {
			h.Event(room.Event{Type: room.DataTrackSubscribed, Track: room.Track{
				Handle: 1, SID: "DTR_1", Name: "t", Identity: "bob", ParticipantSID: "PA_bob",
			}})
			track := append([]byte{0x18, 0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 1}, secret...)
			h.Packet(room.Reliable, time.Now(), says("bob", "before"))
			must(t, r.Exclude([]string{"bob"}))
			if got := names(r); got != "alice" {
				t.Errorf("people: %s", got)
			}
			h.Packet(room.Reliable, time.Now(), says("bob", secret))
			h.Packet(room.Reliable, time.Now(), chunk("bob", secret))
			h.Packet(room.DataTrack, time.Now(), track)
			h.Event(room.Event{Type: room.ParticipantUpdated, Participant: bobs})
			h.Packet(room.Reliable, time.Now(), says("alice", "between"))
			must(t, r.Exclude([]string{"bob"})) // nothing new to state
			must(t, r.Exclude(nil))
			if got := names(r); got != "alice bob" {
				t.Errorf("people: %s", got)
			}
			h.Packet(room.Reliable, time.Now(), says("bob", "after"))
			return room.ReasonRoomDeleted
		},
	})
	o := w.options()
	o.Selection, _ = filter.New(rules)
	w.filter = o.Selection
	r = recorder.New(w.rec, o)
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	excluded := rules
	excluded.Excluded = 1
	want := []segment.Event{
		{Kind: textegress.KindSelection, Selection: &excluded},
		{Kind: textegress.KindSelection, Selection: &rules},
	}
	if rules.IsZero() {
		want[1].Selection = nil
	} else {
		want = append([]segment.Event{{Kind: textegress.KindSelection, Selection: &rules}}, want...)
	}
	got := w.events(textegress.KindSelection)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stated (-want +got):\n%s", diff)
	}
	for _, ev := range w.events(textegress.KindParticipantLeft) {
		if ev.Identity == "bob" && ev.Cause != segment.CauseExcluded {
			t.Errorf("bob left: %+v", ev)
		}
	}
	var story []string
	for _, line := range w.story() {
		if strings.Contains(line, "bob") || strings.Contains(line, "before") ||
			strings.Contains(line, "between") || strings.Contains(line, "after") {
			story = append(story, strings.Fields(line)[0])
		}
	}
	wantStory := []string{
		"participant_joined", "packet",
		"participant_left", "packet", "participant_joined", "packet",
	}
	if diff := cmp.Diff(wantStory, story); diff != "" {
		t.Errorf("%s\n%q", diff, w.story())
	}
	if joined := w.events(textegress.KindParticipantJoined); joined[len(joined)-1].Metadata !=
		bobs.Metadata {
		t.Errorf("back in the record: %+v", joined[len(joined)-1])
	}
	nothingOnDisk(t, w.spool.Dir(), secret)
	var dropped int64
	for _, ev := range w.events(textegress.KindDropped) {
		for _, d := range ev.Dropped {
			if d.Reason != textegress.DroppedIdentity {
				t.Errorf("dropped for %s", d.Reason)
			}
			dropped += d.Packets
		}
	}
	if dropped != 3 {
		t.Errorf("%d packets dropped, want 3", dropped)
	}
}

// No packet of an excluded participant stands behind the event that states the exclusion, however
// many are under way.
func TestExclude_Concurrently(t *testing.T) {
	t.Run("excluded", func(t *testing.T) {
		testConcurrently(t, func(r *recorder.Recorder) error {
			return r.Exclude([]string{"bob"})
		})
	})
	t.Run("new lists", func(t *testing.T) {
		testConcurrently(t, func(r *recorder.Recorder) error {
			return r.Select(textegress.SelectionRules{IdentitiesDeny: []string{"bob"}})
		})
	})
}

func testConcurrently(t *testing.T, exclude func(*recorder.Recorder) error) {
	t.Helper()
	var r *recorder.Recorder
	in := info("RM_1", ours, "alice")
	in.Participants = append(in.Participants, bobIn())
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, step{
			info: in,
			run: func(h room.Handler, _ <-chan struct{}) room.Reason {
				var wg sync.WaitGroup
				started := make(chan struct{}, 2)
				for _, ch := range []room.Channel{room.Reliable, room.Lossy} {
					wg.Go(func() {
						for i := range 2000 {
							if i == 500 {
								started <- struct{}{}
							}
							h.Packet(ch, time.Now(), says("bob", "said"))
						}
					})
				}
				<-started
				must(t, exclude(r))
				wg.Wait()
				return room.ReasonRoomDeleted
			},
		})
		r = recorder.New(w.rec, w.options())
		if err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		story := w.story()
		at := slices.Index(story, "selection")
		if at < 500 {
			t.Fatalf("excluded at frame %d of %d", at, len(story))
		}
		for _, line := range story[at:] {
			if strings.Contains(line, "said") {
				t.Fatal("a packet follows the exclusion")
			}
		}
	})
}

// An exclusion that the process before could not state is stated by the next one: that the
// participant has left the record, and the rules.
func TestExclude_AfterACrash(t *testing.T) {
	in := info("RM_1", ours, "alice")
	in.Participants = append(in.Participants, bobIn())
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, step{
			info: in, run: send(room.ReasonRoomDeleted, string(says("bob", secret))),
		})
		wr, err := w.rec.Writer()
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range []segment.Event{
			{Kind: textegress.KindRecordingStarted},
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
		o := w.options()
		o.Selection, _ = filter.New(textegress.SelectionRules{})
		r := recorder.New(w.rec, o)
		must(t, r.Exclude([]string{"bob"})) // as the controller does before Run
		if err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		nothingOnDisk(t, w.spool.Dir(), secret)
		left := w.events(textegress.KindParticipantLeft)
		if len(left) == 0 || left[0].Identity != "bob" || left[0].Cause != segment.CauseExcluded {
			t.Errorf("left: %+v", left)
		}
		rules := w.events(textegress.KindSelection)
		if len(rules) != 1 || rules[0].Selection == nil || rules[0].Selection.Excluded != 1 {
			t.Errorf("rules: %+v", rules)
		}
	})
}
