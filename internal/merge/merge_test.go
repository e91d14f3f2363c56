package merge

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/verify"
	"github.com/syncflow/textegress/segment"
)

func fromDelivered(t testing.TB, dir string) render.Source {
	t.Helper()
	src, err := render.FromDelivered(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// two makes two recordings that together have all of a world: they are never away at the same time.
func two(rnd *rand.Rand, w *world) (a, b *source) {
	end := w.packets[len(w.packets)-1].at
	var away [2][]span
	at := start + 1e9
	for at < end {
		s := span{at, at + int64(rnd.IntN(20e9))}
		i := rnd.IntN(2)
		away[i] = append(away[i], s)
		at = s.to + 3e9 + int64(rnd.IntN(30e9))
	}
	var lost [2]map[int]bool
	lost[0], lost[1] = map[int]bool{}, map[int]bool{}
	for i := range w.packets {
		// Not what the other one is not there to hear, nor one of two that are alike and lie within
		// the tolerance: of two such packets of which each recorder heard one, nothing could tell
		// that they are two.
		if w.alike(i) {
			continue
		}
		if k := rnd.IntN(2); rnd.IntN(8) == 0 &&
			!slices.ContainsFunc(away[1-k], func(s span) bool { return s.has(w.packets[i].at) }) {
			lost[k][i] = true
		}
	}
	clock := int64(rnd.IntN(7200)-3600) * 1e9
	return w.hear("DE_aaaaaaaaaaaa", "lab-a", 0, away[0], lost[0]),
		w.hear("DE_bbbbbbbbbbbb", "lab-b", clock, away[1], lost[1])
}

// alike reports whether a packet with the same content was sent at nearly the same time.
func (w *world) alike(i int) bool {
	for j, p := range w.packets {
		if j != i && p.content == w.packets[i].content &&
			abs(p.at-w.packets[i].at) < singleTolerance+10e6 {
			return true
		}
	}
	return false
}

// judge compares a merged record with the truth.
func judge(t *testing.T, w *world, d delivered) (marked int) {
	t.Helper()
	want, certain, all := map[string]int{}, map[string]int{}, map[string]int{}
	for _, p := range w.packets {
		want[p.content]++
	}
	last := map[string]uint32{}
	for _, f := range d.frames(t) {
		if f.Type != segment.FramePacket {
			continue
		}
		it := newItem(f)
		content := f.Channel.String() + sidOf(f) + string(f.Payload)
		if it.class == classNumbered {
			content = fmt.Sprint("n", it.sid, it.seq)
			if it.seq <= last[it.sid] {
				t.Errorf("%s: %d comes after %d", it.sid, it.seq, last[it.sid])
			}
			last[it.sid] = it.seq
			if f.PossibleDuplicate {
				t.Errorf("%s: %d is marked", it.sid, it.seq)
			}
		}
		all[content]++
		if f.PossibleDuplicate {
			marked++
		} else {
			certain[content]++
		}
	}
	for content, n := range want {
		if all[content] < n {
			t.Errorf("%.60q: said %d times, recorded %d times", content, n, all[content])
		}
		if certain[content] > n {
			t.Errorf("%.60q: said %d times, recorded %d times without a mark", content, n,
				certain[content])
		}
	}
	for content := range all {
		if want[content] == 0 {
			t.Errorf("%.60q was not said", content)
		}
	}
	return marked
}

func sidOf(f segment.Frame) string {
	for _, sid := range []string{"PA_0", "PA_1", "PA_2"} {
		if strings.Contains(string(f.Payload), sid) {
			return sid
		}
	}
	return ""
}

// Two recordings that together have everything make one that has everything, once; nothing is an
// outage any more.
func TestMergeIsTheTruth(t *testing.T) {
	rounds := 30
	if testing.Short() {
		rounds = 12
	}
	for seed := range uint64(rounds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			repeat := []float64{0, 0.2, 0.8}[seed%3]
			w := newWorld(rnd, 400, repeat)
			a, b := two(rnd, w)
			d := mergeAll(t, a, b, options{limit: []int{maxItems, 128}[seed%2], segmentSize: 8192})
			marked := judge(t, w, d)
			if repeat == 0 && marked > 0 {
				t.Errorf("%d packets are marked although none is like another", marked)
			}
			t.Logf("%d packets, %d marked", len(w.packets), marked)
			if n := len(d.manifest.Completeness.Outages); n != 0 {
				t.Errorf("%d outages, of which the recorders had none in common: %+v", n,
					d.manifest.Completeness.Outages)
			}
			for _, c := range d.manifest.Completeness.Connections {
				if s := c.Sequence; s != nil && (s.Duplicates > 0 || s.Reordered > 0) {
					t.Errorf("%s: %+v", c.ParticipantSID, s)
				}
			}
		})
	}
}

// The same two recordings give the same bytes, in either order, and the result can be verified and
// exported again.
func TestMergeIsAFunction(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	a, b := two(rnd, newWorld(rnd, 300, 0.3))
	o := options{limit: maxItems, segmentSize: 8192}
	one, again, other := mergeAll(t, a, b, o), mergeAll(t, a, b, o), mergeAll(t, b, a, o)
	want := files(t, one.dir)
	if diff := cmp.Diff(want, files(t, again.dir)); diff != "" {
		t.Error("twice the same gives other bytes")
	}
	if diff := cmp.Diff(want, files(t, other.dir)); diff != "" {
		t.Error("the other order gives other bytes")
	}
	src := fromDelivered(t, one.dir)
	derived, err := verify.Derive(t.Context(), src, render.Options{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := verify.Compare(one.manifest, derived); len(got) > 0 {
		t.Errorf("%q", got)
	}
	m := one.manifest.Merged
	if len(m) != 2 || m[0].Instance != "lab-a" || m[1].Instance != "lab-b" ||
		m[0].EgressID != "DE_aaaaaaaaaaaa" {
		t.Errorf("made of %+v", m)
	}
}

// The clocks of two machines differ; the statement says by how much.
func TestMergeComparesClocks(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 3))
	w := newWorld(rnd, 200, 0)
	const clock = -86_400e9
	a, b := w.hear("DE_a", "a", 0, nil, nil), w.hear("DE_b", "b", clock, nil, nil)
	d := mergeAll(t, a, b, options{limit: 64, segmentSize: 1 << 20})
	judge(t, w, d)
	got := d.manifest.Merged[1].ClockOffsetNS
	if got == nil || abs(*got-int64(clock)) > 3e6 {
		t.Errorf("clock offset %v, want %d", got, int64(clock))
	}
	if only := d.manifest.Merged[0].Only + d.manifest.Merged[1].Only; only != 0 {
		t.Errorf("%d packets are in one only", only)
	}
}

// A recorder whose clock was set meanwhile is compared by the clock as it was at first, so that
// packets without a number are recognised on both sides of the step.
func TestMergeOfAClockThatWasSet(t *testing.T) {
	for _, offset := range []int64{-3600e9, 7e9} {
		w := newWorld(rand.New(rand.NewPCG(3, 3)), 200, 0)
		a, b := w.hear("DE_a", "a", 0, nil, nil), w.hear("DE_b", "b", 0, nil, nil)
		set := newSource("DE_b", "b")
		segments, err := b.Segments(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for f, err := range segment.Read(segments) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n > 100 {
				if n == 101 {
					set.event(1, f.UnixNS+offset, segment.Event{
						Kind:     textegress.KindClockStep,
						OffsetNS: offset, BeforeUnixNS: f.UnixNS, AfterUnixNS: f.UnixNS + offset,
					})
				}
				f.UnixNS += offset
			}
			set.frame(f)
		}
		d := mergeAll(t, a, set, options{limit: 64, segmentSize: 1 << 20})
		if marked := judge(t, w, d); marked != 0 {
			t.Errorf("%d packets are marked", marked)
		}
		if only := d.manifest.Merged[0].Only + d.manifest.Merged[1].Only; only != 0 {
			t.Errorf("%d packets are in one only", only)
		}
		steps := d.manifest.Completeness.ClockSteps
		if len(steps) != 1 || steps[0].OffsetNS != offset || steps[0].EgressID != "DE_b" {
			t.Errorf("steps %+v", steps)
		}
	}
}

// Only what both missed at the same time stays an outage.
func TestMergeCommonOutage(t *testing.T) {
	s := func(from, to int64) span { return span{start + from*1e9, start + to*1e9} }
	for name, tt := range map[string]struct {
		a, b []span
		want int
	}{
		"none":                       {nil, nil, 0},
		"of the first":               {[]span{s(5, 9)}, nil, 0},
		"of the second":              {nil, []span{s(5, 9)}, 0},
		"one after the other":        {[]span{s(2, 5)}, []span{s(9, 12)}, 0},
		"the same":                   {[]span{s(5, 9)}, []span{s(5, 9)}, 1},
		"one within the other":       {[]span{s(3, 12)}, []span{s(5, 9)}, 1},
		"overlapping":                {[]span{s(3, 8)}, []span{s(6, 11)}, 1},
		"two in common":              {[]span{s(3, 6), s(9, 12)}, []span{s(4, 5), s(10, 14)}, 2},
		"two of one in one of other": {[]span{s(3, 14)}, []span{s(4, 6), s(9, 11)}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(5, 5))
			w := &world{rnd: rnd, sids: []string{"PA_0"}}
			for i := range 200 {
				w.packets = append(w.packets, packet{
					at: start + int64(i)*100e6, sid: "PA_0", seq: uint32(i + 1),
					channel: segment.ChannelReliable,
					payload: userPacket("PA_0", uint32(i+1), segment.ChannelReliable,
						fmt.Sprint(i)),
					content: fmt.Sprint("nPA_0", i+1),
				})
			}
			a, b := w.hear("DE_a", "a", 0, tt.a, nil), w.hear("DE_b", "b", 17e9, tt.b, nil)
			d := mergeAll(t, a, b, options{limit: 64, segmentSize: 1 << 20})
			c := d.manifest.Completeness
			if len(c.Outages) != tt.want {
				t.Fatalf("%d outages, want %d: %+v", len(c.Outages), tt.want, c.Outages)
			}
			seq := c.Connections[0].Sequence
			if seq.Contiguous != (tt.want == 0) || seq.UnexplainedGaps != 0 ||
				seq.GapCount != int64(tt.want) {
				t.Errorf("%+v", seq)
			}
			for _, o := range c.Outages {
				if o.EndedUnixNS == 0 || o.Cause != "process_died" {
					t.Errorf("%+v", o)
				}
			}
			away := 0
			for _, m := range d.messages {
				if m.Kind == textegress.KindRecorderAway {
					away++
					if m.Event.EgressID == "" || m.Event.Instance == "" {
						t.Errorf("nobody is away: %+v", m.Event)
					}
				}
			}
			if away != len(tt.a)+len(tt.b) {
				t.Errorf("%d times a recorder was away, want %d", away, len(tt.a)+len(tt.b))
			}
		})
	}
}

// A deployment that is stopped in mid-session makes two parts. They are merged with the recording
// of the other one after another.
func TestMergeOfAMerge(t *testing.T) {
	rnd := rand.New(rand.NewPCG(11, 11))
	w := newWorld(rnd, 300, 0)
	middle := w.packets[150].at
	end := w.packets[299].at + 1
	b := w.hear("DE_b", "b", 5e9, nil, nil)
	a1 := w.hear("DE_a1", "a", 0, []span{{middle, end}}, nil)
	a1.sealed.Reason = "service_stopped"
	a2 := w.hear("DE_a2", "a", 0, []span{{start, middle + 1e9}}, nil)
	a2.info.Part = 2
	first := mergeAll(t, a1, b, options{limit: 64, segmentSize: 1 << 20})
	dir := filepath.Join(t.TempDir(), "out")
	m, err := Merge(t.Context(), fromDelivered(t, first.dir), a2, dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	d := delivered{manifest: m, dir: dir}
	if n := judge(t, w, d); n > 0 {
		t.Errorf("%d are marked", n)
	}
	if len(m.Completeness.Outages) != 0 {
		t.Errorf("outages %+v", m.Completeness.Outages)
	}
	// Again with a part that is in it already.
	if _, err := Merge(t.Context(), fromDelivered(t, dir), b, filepath.Join(t.TempDir(), "x"),
		0); !errors.As(err, new(*InputError)) {
		t.Errorf("error %v", err)
	}
}

func TestWrongInput(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(a, b *source)
		want   string
	}{
		"the same recording twice": {func(_, b *source) { b.info.EgressID = "DE_a" }, "part of both"},
		"another session": {
			func(_, b *source) { b.info.SessionID = "s-2" },
			"different sessions: s-1 of project p-1, and s-2",
		},
		"another project": {
			func(_, b *source) { b.info.ProjectID = "p-2" },
			"different sessions",
		},
		"the same instance": {
			func(_, b *source) { b.info.Instance = "a" },
			`both made by instance "a"`,
		},
		"not sealed": {func(a, _ *source) { a.open = true }, "DE_a is not sealed"},
		"another topic": {
			func(a, _ *source) { a.info.Topic = "chat" },
			"different topics",
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := newSource("DE_a", "a"), newSource("DE_b", "b")
			tt.change(a, b)
			dir := filepath.Join(t.TempDir(), "out")
			_, err := Merge(t.Context(), a, b, dir, 0)
			if !errors.As(err, new(*InputError)) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want an InputError with %q", err, tt.want)
			}
			if _, err := os.Stat(dir); err == nil {
				t.Error("the directory was made all the same")
			}
		})
	}
}

// What one recorder's disk lost, the other has; that something was lost is told.
func TestMergeOfADamagedRecording(t *testing.T) {
	rnd := rand.New(rand.NewPCG(13, 13))
	w := newWorld(rnd, 200, 0)
	a, b := w.hear("DE_a", "a", 0, nil, nil), w.hear("DE_b", "b", 1e9, nil, nil)
	a.cut = a.data.Len() / 2
	d := mergeAll(t, a, b, options{limit: 64, segmentSize: 1 << 20})
	judge(t, w, d)
	if d.manifest.Completeness.CorruptRanges == 0 {
		t.Error("the damage is not stated")
	}
	found := false
	for _, m := range d.messages {
		found = found || m.Kind == textegress.KindCorrupt &&
			strings.HasPrefix(m.Event.Segment, "DE_a/")
	}
	if !found {
		t.Error("the damage is not in the record")
	}
}

// each merges without files.
func each(t testing.TB, a, b *source, limit int, write func(segment.Frame)) {
	t.Helper()
	offset, _, err := clocks(frames(t.Context(), a, nil), frames(t.Context(), b, nil))
	if err != nil {
		t.Fatal(err)
	}
	x, y := newInput(frames(t.Context(), a, nil), limit),
		newInput(frames(t.Context(), b, nil), limit)
	defer x.stop()
	defer y.stop()
	al := newAligner(x, y, offset)
	r := newRecord(al, [2]textegress.MergedRecording{describe(a), describe(b)},
		func(f segment.Frame) error {
			write(f)
			return nil
		})
	for {
		it, i, err := al.next()
		if err != nil {
			t.Fatal(err)
		}
		if it == nil {
			return
		}
		if err := r.add(i, it); err != nil {
			t.Fatal(err)
		}
	}
}

// Nothing is lost and nothing is invented, whatever the two recordings hold.
func FuzzAlign(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4}, []byte{2, 3, 9})
	f.Add([]byte{0x81, 0x82, 0x42, 0x42, 0x43}, []byte{0x42, 0x82, 0xc1})
	f.Fuzz(func(t *testing.T, x, y []byte) {
		if len(x) > 300 || len(y) > 300 {
			return
		}
		mk := func(id string, script []byte) (*source, map[string]int) {
			s, said := newSource("DE_"+id, id), map[string]int{}
			at := start
			s.event(1, at, segment.Event{Kind: textegress.KindJoined})
			for _, c := range script {
				at += int64(c>>5) * 40e6
				n := uint32(c & 7)
				var payload []byte
				channel := segment.ChannelReliable
				switch c >> 3 & 3 {
				case 0:
					payload = userPacket("PA_0", n+1, channel, "x")
				case 1:
					channel = segment.ChannelLossy
					payload = userPacket("PA_0", 0, channel, fmt.Sprint(n))
				case 2:
					payload = userPacket("", 0, channel, fmt.Sprint(n))
				case 3:
					s.event(1, at, segment.Event{
						Kind:        textegress.KindOutageStarted,
						SinceUnixNS: at - int64(n)*1e9,
					})
					continue
				}
				said[channel.String()+string(payload)]++
				s.frame(segment.Frame{
					Type: segment.FramePacket, Channel: channel, Epoch: 1, UnixNS: at,
					Payload: payload,
				})
			}
			return s, said
		}
		a, inA := mk("a", x)
		b, inB := mk("b", y)
		got := map[string]int{}
		each(t, a, b, 8, func(f segment.Frame) {
			if f.Type != segment.FramePacket {
				return
			}
			k := f.Channel.String() + string(f.Payload)
			got[k]++
			if newItem(f).class == classNumbered && got[k] > 1 {
				t.Errorf("a numbered packet is there twice")
			}
		})
		for _, in := range []map[string]int{inA, inB} {
			for k, n := range in {
				numbered := newItem(segment.Frame{
					Type:    segment.FramePacket,
					Channel: segment.ChannelReliable,
					Payload: []byte(strings.TrimPrefix(k, "reliable")),
				}).class == classNumbered
				if got[k] < n && !numbered || got[k] == 0 {
					t.Errorf("%q: %d in one recording, %d in the merged one", k, n, got[k])
				}
			}
		}
		for k, n := range got {
			if n > inA[k]+inB[k] {
				t.Errorf("%q: %d in the merged one, %d and %d in the two", k, n, inA[k], inB[k])
			}
		}
	})
}
