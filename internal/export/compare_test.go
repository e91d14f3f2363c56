package export_test

import (
	"strings"
	"testing"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/export"
)

// What a manifest states beyond what the raw segments say is found, whichever part of it.
func TestCompare(t *testing.T) {
	rec := hostileRecording(t)
	stated, _ := build(t, export.FromSpool(rec))
	derived, err := export.Derive(t.Context(), export.FromSpool(rec), export.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := export.Compare(stated, derived); len(got) != 0 {
		t.Fatalf("the same recording: %q", got)
	}
	one := func(c *textegress.Completeness) { c.Connections[0].Packets++ }
	for name, tt := range map[string]struct {
		change func(m *textegress.Manifest)
		want   string
	}{
		"tail":        {func(m *textegress.Manifest) { m.Completeness.Tail = textegress.TailLeft }, "completeness.tail"},
		"outage":      {func(m *textegress.Manifest) { m.Completeness.Outages = []textegress.Outage{{Cause: "x"}} }, "completeness.outages"},
		"connections": {func(m *textegress.Manifest) { one(&m.Completeness) }, "completeness.connections"},
		"omitted":     {func(m *textegress.Manifest) { m.Completeness.ConnectionsOmitted = &textegress.ConnectionsOmitted{} }, "completeness.connections_omitted"},
		"streams":     {func(m *textegress.Manifest) { m.Completeness.Streams.Complete = 1 }, "completeness.streams"},
		"join":        {func(m *textegress.Manifest) { m.Completeness.Join.JoinedUnixNS-- }, "completeness.join"},
		"counts":      {func(m *textegress.Manifest) { m.Counts.Messages-- }, "counts.messages"},
		"lines":       {func(m *textegress.Manifest) { view(m, textegress.EventsName).SHA256 = "0" }, "events.jsonl"},
		"a view":      {func(m *textegress.Manifest) { view(m, ".txt").Size++ }, "1 text views"},
		"no view":     {func(m *textegress.Manifest) { view(m, ".txt").Key = textegress.RawDir }, "1 text views or files that the raw segments give"},
	} {
		m, _ := build(t, export.FromSpool(rec))
		tt.change(&m)
		got := export.Compare(m, derived)
		if len(got) != 1 || !strings.Contains(got[0], tt.want) {
			t.Errorf("%s: %q, want one with %q", name, got, tt.want)
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
