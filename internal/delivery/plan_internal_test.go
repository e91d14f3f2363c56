package delivery

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/spool"
	"github.com/syncflow/textegress/internal/statement"
)

var planInfo = spool.Info{EgressID: "DE_1", KeyPrefix: "P-1/room/text-egress/all-topics/DE_1/"}

func planJSON(change func(*Plan)) []byte {
	object := func(key string) textegress.Object {
		return textegress.Object{
			Key: key, Size: 3, SHA256: strings.Repeat("ab", 32),
			ContentType: "text/plain",
		}
	}
	f := Plan{
		FormatVersion: planFormat, Exporter: "e", Revision: 1, Prefix: Prefix(planInfo, 1),
		Objects: []textegress.Object{object("events.jsonl"), object(textegress.ManifestName)},
	}
	if change != nil {
		change(&f)
	}
	b, err := json.Marshal(f)
	if err != nil {
		panic(err)
	}
	return b
}

func TestDamagedPlan(t *testing.T) {
	if _, err := parsePlan(planJSON(nil), planInfo, 1); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"empty":            nil,
		"torn":             planJSON(nil)[:40],
		"another place":    planJSON(func(f *Plan) { f.Prefix = "elsewhere/" }),
		"another revision": planJSON(func(f *Plan) { f.Revision = 2 }),
		"no objects":       planJSON(func(f *Plan) { f.Objects = nil }),
		"no manifest":      planJSON(func(f *Plan) { f.Objects = f.Objects[:1] }),
		"a key twice": planJSON(
			func(f *Plan) { f.Objects[0].Key = textegress.ManifestName }),
		"no key":            planJSON(func(f *Plan) { f.Objects[0].Key = "" }),
		"no checksum":       planJSON(func(f *Plan) { f.Objects[0].SHA256 = "" }),
		"a negative size":   planJSON(func(f *Plan) { f.Objects[0].Size = -1 }),
		"no format version": planJSON(func(f *Plan) { f.FormatVersion = 0 }),
	} {
		_, err := parsePlan(data, planInfo, 1)
		if d, ok := errors.AsType[*DamagedPlanError](err); !ok || d.Revision != 1 {
			t.Errorf("%s: %v, want a DamagedPlanError", name, err)
		}
	}
	_, err := parsePlan(planJSON(func(f *Plan) { f.FormatVersion = 2 }), planInfo, 1)
	if _, ok := errors.AsType[*DamagedPlanError](err); ok || err == nil {
		t.Errorf("a later format: %v, want an error that is not damage", err)
	}
}

// FuzzPlan: whatever stands in a plan, nothing is delivered outside of the recording's own
// keys.
func FuzzPlan(f *testing.F) {
	f.Add(planJSON(nil), byte(1))
	f.Add(planJSON(nil)[:50], byte(1))
	f.Add(planJSON(func(f *Plan) { f.Revision, f.Prefix = 2, Prefix(planInfo, 2) }), byte(2))
	f.Add([]byte("null"), byte(1))
	f.Add([]byte(`{"format_version":1,"revision":1,"objects":[{}]}`), byte(1))
	f.Fuzz(func(t *testing.T, data []byte, number byte) {
		revision := int(number)
		got, err := parsePlan(data, planInfo, revision)
		if err != nil {
			return
		}
		if !strings.HasPrefix(got.Prefix, planInfo.KeyPrefix) || got.Revision != revision {
			t.Errorf("accepted: %+v", got)
		}
		again, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		if second, err := parsePlan(again, planInfo, revision); err != nil ||
			!second.Equal(got) {
			t.Errorf("what was read is not read again: %v", err)
		}
	})
}

func TestSummary(t *testing.T) {
	m := textegress.Manifest{
		Counts: textegress.Counts{Messages: 7, Participants: 2},
		Completeness: textegress.Completeness{
			Join:    textegress.Join{JoinedUnixNS: 1},
			Outages: []textegress.Outage{{Cause: "signal_lost", StartedUnixNS: 1, EndedUnixNS: 2e9}},
		},
		Objects: []textegress.Object{{Key: "events.jsonl"}, {Key: "files/alice/ST_1-a.png"}},
	}
	s := NewSummary(m)
	if s.Messages != 7 || s.Participants != 2 || s.Outages != 1 || s.Files != 1 ||
		s.Captured == "" || s.Level != statement.Warn {
		t.Errorf("%+v", s)
	}
}
