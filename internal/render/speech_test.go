package render_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/segment"
)

// said begins a stream on lk.transcription.
func said(id, segment, final string) *livekit.DataStream_Header {
	h := textHeader(id, "lk.transcription", -1)
	h.Attributes = map[string]string{}
	if segment != "" {
		h.Attributes["lk.segment_id"] = segment
	}
	if final != "" {
		h.Attributes["lk.transcription_final"] = final
	}
	return h
}

// transcribed is a transcription packet with versions of segments: id, text, id, text …
func transcribed(final bool, segments ...string) *livekit.DataPacket {
	t := &livekit.Transcription{TranscribedParticipantIdentity: "alice", TrackId: "TR_1"}
	for i := 0; i < len(segments); i += 2 {
		t.Segments = append(t.Segments, &livekit.TranscriptionSegment{
			Id:   segments[i],
			Text: segments[i+1], Final: final,
		})
	}
	return &livekit.DataPacket{Value: &livekit.DataPacket_Transcription{Transcription: t}}
}

// The text view has the last version of each segment that was said, also where nobody says that it
// is the last.
func TestSpeechInTheViews(t *testing.T) {
	const bot, pa = "agent", "PA_agent"
	cut := func(r *recording, id, segment, text string) {
		r.from(bot, pa, streamHeader(said(id, segment, "false")))
		if text != "" {
			r.from(bot, pa, streamChunk(id, 0, text))
		}
	}
	for name, tc := range map[string]struct {
		record func(r *recording)
		want   []string // the texts of each view, those of one joined
	}{
		"versions, and the final one": {func(r *recording) {
			r.stream(bot, pa, said("1", "SG_1", "false"), "good")
			r.stream(bot, pa, said("2", "SG_1", "false"), "good mor")
			r.say(bot, pa, "log", "between")
			r.stream(bot, pa, said("3", "SG_1", "true"), "Good morning.")
		}, []string{"agent: between, Good morning."}},
		"what an agent in JavaScript says is closed and never final": {func(r *recording) {
			r.stream(bot, pa, said("1", "SG_1", "false"), "One.")
			r.stream(bot, pa, said("2", "SG_2", "false"), "Two.")
		}, []string{"agent: One., Two."}},
		"what an agent in Python says is final in its trailer": {func(r *recording) {
			r.from(bot, pa, streamHeader(said("1", "SG_1", "false")))
			r.from(bot, pa, streamChunk("1", 0, "One."))
			r.from(bot, pa, streamTrailer("1", "",
				map[string]string{"lk.transcription_final": "true"}))
		}, []string{"agent: One."}},
		"cut off": {func(r *recording) {
			cut(r, "1", "SG_1", "I was sa")
			r.event(1, segment.Event{
				Kind: textegress.KindParticipantLeft, Identity: bot,
				ParticipantSID: pa,
			})
		}, []string{"agent: I was sa [incomplete: sender_left]"}},
		"cut off after an earlier version": {func(r *recording) {
			r.stream(bot, pa, said("1", "SG_1", "false"), "I was")
			cut(r, "2", "SG_1", "I was sayi")
		}, []string{"agent: I was sayi [incomplete: recording_ended]"}},
		"cut off before anything came": {func(r *recording) {
			r.stream(bot, pa, said("1", "SG_1", "false"), "I was")
			cut(r, "2", "SG_1", "")
		}, []string{"agent: I was"}},
		"without segments": {func(r *recording) {
			r.stream(bot, pa, said("1", "", "false"), "One.")
			r.stream(bot, pa, said("2", "", ""), "Two.")
		}, []string{"agent: One., Two."}},
		"without segments, a stream again": {func(r *recording) {
			r.stream(bot, pa, said("1", "", "false"), "One")
			r.stream(bot, pa, said("1", "", "true"), "One.")
		}, []string{"agent: One."}},
		"a segment after another connection": {func(r *recording) {
			r.stream(bot, pa, said("1", "SG_1", "false"), "One")
			r.say("alice", "PA_a", "log", "between")
			r.stream(bot, "PA_again", said("2", "SG_1", "true"), "One.")
		}, []string{"agent: One.", "alice: between"}},
		"two who name a segment alike": {func(r *recording) {
			r.stream(bot, pa, said("1", "SG_1", "false"), "One.")
			r.stream("mallory", "PA_m", said("1", "SG_1", "true"), "Two.")
		}, []string{"agent: One.", "mallory: Two."}},
		"packets alone, as from agents before streams": {func(r *recording) {
			r.from(bot, pa, transcribed(false, "SG_1", "good mor"))
			r.say(bot, pa, "log", "between")
			r.from(bot, pa, transcribed(true, "SG_1", "Good", "SG_1", "Good morning.", "SG_2",
				"Well?"))
		}, []string{"agent: between, Good morning., Well?"}},
		"packets that repeat what an agent sends as streams": {func(r *recording) {
			r.from(bot, pa, transcribed(false, "SG_9", "good mor"))
			r.from(bot, pa, transcribed(true, "SG_9", "Good morning."))
			r.stream("alice", pa, said("1", "SG_1", "true"), "Good morning.") // on behalf of alice
		}, []string{"alice: Good morning."}},
		"many, of any length": {func(r *recording) {
			for i := range 400 {
				r.stream(bot, pa, said(fmt.Sprint("a", i), fmt.Sprint("SG_", i/2), "false"),
					strings.Repeat("x", 1000)+fmt.Sprint(i))
			}
		}, []string{"agent: " + many()}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRecording(t, tempSpool(t), spool.Info{}, spool.Options{})
			r.joined(1, "RM_1")
			tc.record(r)
			_, s := build(t, render.FromSpool(r.seal(textegress.StatusComplete, "room_deleted")))
			var got []string
			for _, key := range slices.Sorted(maps.Keys(s.objects)) {
				if who, _, ok := strings.Cut(key, "-all-topics-"); ok {
					got = append(got, who+": "+strings.Join(textsOf(t, key, s.objects[key]), ", "))
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func many() string {
	var texts []string
	for i := 1; i < 400; i += 2 {
		texts = append(texts, strings.Repeat("x", 1000)+fmt.Sprint(i))
	}
	return strings.Join(texts, ", ")
}

// textsOf returns the texts of a view, of which the name must state the time of the first line.
func textsOf(t *testing.T, key string, view []byte) []string {
	t.Helper()
	var texts []string
	for line := range strings.Lines(string(view)) {
		stamp, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "|")
		if len(texts) == 0 && !strings.Contains(key, "-"+stamp+".txt") {
			t.Errorf("%s begins with a line of %s", key, stamp)
		}
		_, text, _ := strings.Cut(rest, "|")
		texts = append(texts, text)
	}
	return texts
}
