package render_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/render"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/verify"
)

// What a manifest states beyond what the raw segments say is found, whichever part of it.
func TestCompare(t *testing.T) {
	rec := hostileRecording(t)
	stated, _ := build(t, render.FromSpool(rec))
	derived, err := verify.Derive(t.Context(), render.FromSpool(rec), render.Options{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := verify.Compare(stated, derived); len(got) != 0 {
		t.Fatalf("the same recording: %q", got)
	}
	one := func(c *textegress.Completeness) { c.Connections[0].Packets++ }
	for name, tt := range map[string]struct {
		change func(m *textegress.Manifest)
		want   string
	}{
		"tail": {
			func(m *textegress.Manifest) { m.Completeness.Tail = textegress.TailLeft },
			"completeness.tail",
		},
		"outage": {func(m *textegress.Manifest) {
			m.Completeness.Outages = []textegress.Outage{
				{Cause: "x"},
			}
		}, "completeness.outages"},
		"connections": {
			func(m *textegress.Manifest) { one(&m.Completeness) },
			"completeness.connections",
		},
		"omitted": {func(m *textegress.Manifest) {
			m.Completeness.ConnectionsOmitted = &textegress.ConnectionsOmitted{}
		}, "completeness.connections_omitted"},
		"streams": {
			func(m *textegress.Manifest) { m.Completeness.Streams.Complete = 1 },
			"completeness.streams",
		},
		"join": {
			func(m *textegress.Manifest) { m.Completeness.Join.JoinedUnixNS-- },
			"completeness.join",
		},
		"counts": {func(m *textegress.Manifest) { m.Counts.Messages-- }, "counts.messages"},
		"lines": {func(m *textegress.Manifest) {
			view(m, textegress.EventsName).SHA256 = "0"
		}, "events.jsonl"},
		"a view": {func(m *textegress.Manifest) { view(m, ".txt").Size++ }, "1 text views"},
		"no view": {
			func(m *textegress.Manifest) { view(m, ".txt").Key = textegress.RawDir },
			"1 text views or files derived from the raw segments",
		},
	} {
		m, _ := build(t, render.FromSpool(rec))
		tt.change(&m)
		got := verify.Compare(m, derived)
		if len(got) != 1 || !strings.Contains(got[0], tt.want) {
			t.Errorf("%s: %q, want one with %q", name, got, tt.want)
		}
	}
}

// Without the key that a recording was exported with, what depends on it is not compared; the
// numbers are.
func TestCompareWithoutTheKey(t *testing.T) {
	r := newRecording(t, tempSpool(t), spool.Info{}, spool.Options{})
	r.joined(1, "RM_1")
	r.say("alice", "PA_1", "", "x")
	r.packet(&livekit.DataPacket{
		ParticipantSid: "PA_1", Sequence: 2,
		Value: &livekit.DataPacket_EncryptedPacket{EncryptedPacket: &livekit.EncryptedPacket{}},
	})
	rec := r.seal(textegress.StatusComplete, "room_deleted")
	stated, _ := build(t, render.FromSpool(rec))
	derived, err := verify.Derive(t.Context(), render.FromSpool(rec), render.Options{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	// as with a key
	stated.Completeness.UndecryptablePackets, stated.Counts.DecryptedPackets = 0, new(int64(1))
	stated.Completeness.Connections[0].Undecryptable = 0
	stated.Counts.ByKind = map[textegress.Kind]int64{textegress.KindData: 2}
	view(&stated, textegress.EventsName).SHA256 = "other"
	if !verify.Keyed(stated, derived) {
		t.Error("no key is noticed")
	}
	if got := verify.Compare(stated, derived); len(got) != 0 {
		t.Errorf("%q", got)
	}
	stated.Completeness.Connections[0].Sequence.Last = 9
	stated.Counts.Packets++
	if got := verify.Compare(stated, derived); len(got) != 2 {
		t.Errorf("%q, want the connections and the packets", got)
	}
}

// A manifest of an earlier version of the exporter states the same of everything but streams, which
// later versions judge by other rules: testdata/manifest-v4.json is what version 4 made of a
// recording that is in testdata/spool.
func TestCompareWithAnEarlierVersion(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "manifest-v4.json"))
	if err != nil {
		t.Fatal(err)
	}
	sp, err := spool.OpenReadOnly(filepath.Join("testdata", "spool"))
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	rec, _ := sp.Recording(kinds)
	derived, err := verify.Derive(t.Context(), render.FromSpool(rec),
		render.Options{Views: render.FirstViews()}, 0)
	if err != nil {
		t.Fatal(err)
	}
	early := func() textegress.Manifest {
		m, err := textegress.DecodeManifest(data)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if m := early(); m.Exporter == derived.Exporter ||
		m.Completeness.Streams.Complete == derived.Completeness.Streams.Complete {
		t.Fatal("the two versions say the same of streams: this tests nothing")
	}
	if got := verify.Compare(early(), derived); len(got) != 0 {
		t.Errorf("%q", got)
	}
	for want, change := range map[string]func(m *textegress.Manifest){
		"completeness.connections": func(m *textegress.Manifest) {
			m.Completeness.Connections[0].Sequence.Last++
		},
		"completeness.undecodable_packets": func(m *textegress.Manifest) {
			m.Completeness.UndecodablePackets = 0
		},
		"completeness.tail": func(m *textegress.Manifest) {
			m.Completeness.Tail = textegress.TailLeft
		},
		"counts.by_kind": func(m *textegress.Manifest) {
			m.Counts.ByKind[textegress.KindData]++
		},
		"counts.messages": func(m *textegress.Manifest) { m.Counts.Messages++ },
		"counts.packets":  func(m *textegress.Manifest) { m.Counts.Packets++ },
	} {
		m := early()
		change(&m)
		if got := verify.Compare(m, derived); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("%q, want %s", got, want)
		}
	}
}

func view(m *textegress.Manifest, suffix string) *textegress.Object {
	for i, o := range m.Objects {
		if strings.HasSuffix(o.Key, suffix) {
			return &m.Objects[i]
		}
	}
	return nil
}
