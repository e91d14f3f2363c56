package render

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/spool"
)

var frozenInfo = spool.Info{EgressID: "DE_1", KeyPrefix: "P-1/room/text-egress/all-topics/DE_1/"}

func frozenJSON(change func(*Frozen)) []byte {
	object := func(key string) textegress.Object {
		return textegress.Object{
			Key: key, Size: 3, SHA256: strings.Repeat("ab", 32),
			ContentType: "text/plain",
		}
	}
	f := Frozen{
		FormatVersion: frozenFormat, Exporter: "e", Revision: 1, Prefix: Prefix(frozenInfo, 1),
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

func TestDamagedFrozen(t *testing.T) {
	if _, err := parseFrozen(frozenJSON(nil), frozenInfo, 1); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"empty":            nil,
		"torn":             frozenJSON(nil)[:40],
		"another place":    frozenJSON(func(f *Frozen) { f.Prefix = "elsewhere/" }),
		"another revision": frozenJSON(func(f *Frozen) { f.Revision = 2 }),
		"no objects":       frozenJSON(func(f *Frozen) { f.Objects = nil }),
		"no manifest":      frozenJSON(func(f *Frozen) { f.Objects = f.Objects[:1] }),
		"a key twice": frozenJSON(
			func(f *Frozen) { f.Objects[0].Key = textegress.ManifestName }),
		"no key":            frozenJSON(func(f *Frozen) { f.Objects[0].Key = "" }),
		"no checksum":       frozenJSON(func(f *Frozen) { f.Objects[0].SHA256 = "" }),
		"a negative size":   frozenJSON(func(f *Frozen) { f.Objects[0].Size = -1 }),
		"no format version": frozenJSON(func(f *Frozen) { f.FormatVersion = 0 }),
	} {
		_, err := parseFrozen(data, frozenInfo, 1)
		if d, ok := errors.AsType[*DamagedError](err); !ok || d.Revision != 1 {
			t.Errorf("%s: %v, want a DamagedError", name, err)
		}
	}
	_, err := parseFrozen(frozenJSON(func(f *Frozen) { f.FormatVersion = 2 }), frozenInfo, 1)
	if _, ok := errors.AsType[*DamagedError](err); ok || err == nil {
		t.Errorf("a later format: %v, want an error that is not damage", err)
	}
}

// FuzzFrozen: whatever stands in export.json, nothing is delivered outside of the recording's own
// keys.
func FuzzFrozen(f *testing.F) {
	f.Add(frozenJSON(nil), byte(1))
	f.Add(frozenJSON(nil)[:50], byte(1))
	f.Add(frozenJSON(func(f *Frozen) { f.Revision, f.Prefix = 2, Prefix(frozenInfo, 2) }), byte(2))
	f.Add([]byte("null"), byte(1))
	f.Add([]byte(`{"format_version":1,"revision":1,"objects":[{}]}`), byte(1))
	f.Fuzz(func(t *testing.T, data []byte, number byte) {
		revision := int(number)
		got, err := parseFrozen(data, frozenInfo, revision)
		if err != nil {
			return
		}
		if !strings.HasPrefix(got.Prefix, frozenInfo.KeyPrefix) || got.Revision != revision {
			t.Errorf("accepted: %+v", got)
		}
		again, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		if second, err := parseFrozen(again, frozenInfo, revision); err != nil ||
			!second.Equal(got) {
			t.Errorf("what was read is not read again: %v", err)
		}
	})
}
